using System.Collections.Concurrent;
using Microsoft.Extensions.Options;
using Orleans.Runtime;

namespace Orleans.GpuSidecar;

/// <summary>
/// The last report of every silo, as placement reads it. A report counts until it is stale or a
/// later one came; each placement since then takes a slot of it. Any thread.
/// </summary>
internal sealed class GpuCapacityCache(IOptions<GpuSidecarOptions> options, TimeProvider time)
{
    private readonly TimeSpan _staleAfter = options.Value.CapacityStaleAfter;
    private readonly ConcurrentDictionary<SiloAddress, Entry> _entries = new();

    /// <summary>Takes a report, unless a later one is there.</summary>
    /// <returns>False where it came too late.</returns>
    public bool Offer(SiloGpuCapacity report)
    {
        var entry = new Entry(report, time.GetTimestamp());
        var held = _entries.AddOrUpdate(
            report.Silo,
            static (_, offered) => offered,
            static (_, old, offered) => offered.Report.Sequence > old.Report.Sequence ? offered : old,
            entry);
        return ReferenceEquals(held, entry);
    }

    public void Remove(SiloAddress silo) => _entries.TryRemove(silo, out _);

    /// <summary>The report of a silo, or null where there is none that is fresh.</summary>
    public SiloGpuCapacity? TryGet(SiloAddress silo) => Fresh(silo)?.Report;

    /// <summary>The silo as a candidate, or null where no free slot is known there.</summary>
    public Candidate? TryGetFree(SiloAddress silo)
    {
        if (Fresh(silo) is not { Report: { Withdrawn: false, Capacity: { HasFreeSlot: true } capacity } } entry)
        {
            return null;
        }

        var taken = (long)capacity.Grains + entry.Reserved;
        if (taken >= capacity.GrainsMax)
        {
            return null;
        }

        var calls = capacity.CallsMax == 0 ? 0 : (double)capacity.Calls / capacity.CallsMax;
        return new Candidate(silo, capacity.IsGpu, Math.Max((double)taken / capacity.GrainsMax, calls), capacity.P95Microseconds);
    }

    /// <summary>The silo, or its sidecar, has said that it is on its way down.</summary>
    public bool IsLeaving(SiloAddress silo) =>
        _entries.TryGetValue(silo, out var entry) && (entry.Report.Withdrawn || entry.Report.Capacity is { Draining: true });

    /// <summary>Counts a slot as taken until the silo's next report.</summary>
    public void Reserve(SiloAddress silo)
    {
        if (_entries.TryGetValue(silo, out var entry))
        {
            entry.Reserve();
        }
    }

    private Entry? Fresh(SiloAddress silo) =>
        _entries.TryGetValue(silo, out var entry) && time.GetElapsedTime(entry.At) < _staleAfter ? entry : null;

    /// <summary>A silo with a free slot.</summary>
    internal readonly record struct Candidate(SiloAddress Silo, bool IsGpu, double Load, uint P95Microseconds);

    private sealed class Entry(SiloGpuCapacity report, long at)
    {
        private int _reserved;

        public SiloGpuCapacity Report { get; } = report;

        public long At { get; } = at;

        public int Reserved => Volatile.Read(ref _reserved);

        public void Reserve() => Interlocked.Increment(ref _reserved);
    }
}
