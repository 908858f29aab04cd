using Orleans.Runtime;

namespace Orleans.GpuSidecar;

/// <summary>What one silo tells the others of its sidecar.</summary>
[GenerateSerializer, Immutable, Alias("gpu.silo-capacity")]
internal sealed record SiloGpuCapacity
{
    [Id(0)]
    public required SiloAddress Silo { get; init; }

    /// <summary>Grows with each report of a silo; a report that comes late is told by it.</summary>
    [Id(1)]
    public required long Sequence { get; init; }

    /// <summary>The silo is on its way down: nothing more may be placed there.</summary>
    [Id(2)]
    public bool Withdrawn { get; init; }

    /// <summary>What the daemon reported; null while it is away.</summary>
    [Id(3)]
    public GpuCapacity? Capacity { get; init; }
}
