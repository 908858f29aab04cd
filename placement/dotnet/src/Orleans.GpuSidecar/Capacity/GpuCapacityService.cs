using Microsoft.Extensions.Logging;
using Orleans.Runtime;
using Orleans.Runtime.Services;
using Orleans.Services;

namespace Orleans.GpuSidecar;

/// <summary>The part of every silo that other silos tell their capacity to.</summary>
[Alias("gpu.capacity-service")]
internal interface IGpuCapacityService : IGrainService
{
    /// <summary>Takes the sender's report.</summary>
    /// <returns>The receiver's own last report, or null: a silo that joins knows all others after its first round.</returns>
    [Alias("report")]
    Task<SiloGpuCapacity?> ReportAsync(SiloGpuCapacity report);
}

/// <inheritdoc cref="IGpuCapacityService"/>
internal sealed class GpuCapacityService(GrainId id, Silo silo, ILoggerFactory loggerFactory, GpuCapacityCache cache, ISiloStatusOracle silos)
    : GrainService(id, silo, loggerFactory), IGpuCapacityService
{
    public Task<SiloGpuCapacity?> ReportAsync(SiloGpuCapacity report)
    {
        // What a silo said before it died must not bring it back.
        if (!silos.GetApproximateSiloStatus(report.Silo).IsTerminating())
        {
            cache.Offer(report);
        }

        return Task.FromResult(cache.TryGet(silos.SiloAddress));
    }
}

/// <summary>Reaches the capacity service of a given silo.</summary>
internal sealed class GpuCapacityServiceClient(IServiceProvider services) : GrainServiceClient<IGpuCapacityService>(services)
{
    public IGpuCapacityService Of(SiloAddress silo) => GetGrainService(silo);
}
