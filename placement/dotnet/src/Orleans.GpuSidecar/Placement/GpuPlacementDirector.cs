using Orleans.GpuSidecar.Diagnostics;
using Orleans.Runtime;
using Orleans.Runtime.Placement;

namespace Orleans.GpuSidecar;

/// <summary>
/// Decides from the local cache alone, so that placing a grain never makes a call. Among the silos
/// with a free slot it looks at two, drawn at random, and takes the less loaded: all silos decide at
/// the same time on nearly the same data, and would otherwise all run to the same one.
/// </summary>
internal sealed class GpuPlacementDirector(GpuCapacityCache cache, GpuSidecarInstruments instruments) : IPlacementDirector
{
    /// <summary>Draws a number from 0 to below its argument.</summary>
    internal Func<int, int> Draw { get; init; } = Random.Shared.Next;

    public Task<SiloAddress> OnAddActivation(PlacementStrategy strategy, PlacementTarget target, IPlacementContext context)
    {
        var compatible = context.GetCompatibleSilos(target);
        if (IPlacementDirector.GetPlacementHint(target.RequestContextData, compatible) is { } hint)
        {
            instruments.Placed("hint");
            return Task.FromResult(hint);
        }

        var requireGpu = strategy is GpuPlacementStrategy { RequireGpu: true };
        var gpus = new List<GpuCapacityCache.Candidate>();
        var cpus = new List<GpuCapacityCache.Candidate>();
        foreach (var silo in compatible)
        {
            if (cache.TryGetFree(silo) is { } candidate)
            {
                (candidate.IsGpu ? gpus : cpus).Add(candidate);
            }
        }

        if (gpus.Count > 0)
        {
            return Task.FromResult(Take(gpus, context.LocalSilo, "gpu"));
        }

        if (requireGpu)
        {
            instruments.Placed("none");
            throw new GpuUnavailableException(
                $"place {target.GrainIdentity}: needs a GPU, and none of {compatible.Length} compatible silos has one that is ready and has a free slot");
        }

        return Task.FromResult(cpus.Count > 0 ? Take(cpus, context.LocalSilo, "cpu") : TakeAny(compatible));
    }

    private SiloAddress Take(List<GpuCapacityCache.Candidate> candidates, SiloAddress local, string reason)
    {
        var chosen = candidates[0];
        if (candidates.Count > 1)
        {
            var first = Draw(candidates.Count);
            var second = Draw(candidates.Count - 1);
            chosen = Better(candidates[first], candidates[second < first ? second : second + 1], local);
        }

        cache.Reserve(chosen.Silo);
        instruments.Placed(reason);
        return chosen.Silo;
    }

    private static GpuCapacityCache.Candidate Better(GpuCapacityCache.Candidate a, GpuCapacityCache.Candidate b, SiloAddress local)
    {
        var order = a.Load.CompareTo(b.Load);
        if (order == 0)
        {
            order = a.P95Microseconds.CompareTo(b.P95Microseconds);
        }

        if (order == 0)
        {
            return b.Silo.Equals(local) ? b : a;
        }

        return order < 0 ? a : b;
    }

    /// <summary>No sidecar is known to have room: any silo, but rather one that has not said that it is on its way down.</summary>
    private SiloAddress TakeAny(SiloAddress[] compatible)
    {
        instruments.Placed("any");
        var staying = Array.FindAll(compatible, silo => !cache.IsLeaving(silo));
        var from = staying.Length > 0 ? staying : compatible;
        return from[Draw(from.Length)];
    }
}
