using Orleans.Metadata;
using Orleans.Placement;
using Orleans.Runtime;

namespace Orleans.GpuSidecar;

/// <summary>
/// Places a grain on a silo whose sidecar is ready and has a free slot: on a GPU where there is one,
/// else on CPU threads, else on any silo that can hold the grain.
/// </summary>
[GenerateSerializer, Immutable, Alias("gpu.placement")]
public sealed class GpuPlacementStrategy : PlacementStrategy
{
    /// <summary>The grain property that is "true" where only a GPU will do.</summary>
    public const string RequireGpuProperty = "gpu.require";

    /// <summary>Refuses placement rather than to take CPU threads, or a silo whose sidecar is not known to be ready.</summary>
    [Id(0)]
    public bool RequireGpu { get; internal set; }

    /// <inheritdoc/>
    public override void Initialize(GrainProperties properties)
    {
        base.Initialize(properties);
        RequireGpu = properties.Properties.TryGetValue(RequireGpuProperty, out var value) && value == "true";
    }

    /// <inheritdoc/>
    public override void PopulateGrainProperties(IServiceProvider services, Type grainClass, GrainType grainType, Dictionary<string, string> properties)
    {
        base.PopulateGrainProperties(services, grainClass, grainType, properties);
        properties[RequireGpuProperty] = RequireGpu ? "true" : "false";
    }
}

/// <summary>
/// Places a grain class by <see cref="GpuPlacementStrategy"/>. <see cref="KGrain"/> has it already; a
/// derived class repeats it to say more.
/// </summary>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false)]
public sealed class GpuPlacementAttribute : PlacementAttribute
{
    /// <summary>Creates an instance.</summary>
    public GpuPlacementAttribute()
        : base(new GpuPlacementStrategy())
    {
    }

    /// <summary>Refuses placement rather than to take CPU threads, or a silo whose sidecar is not known to be ready.</summary>
    public bool RequireGpu
    {
        get => ((GpuPlacementStrategy)PlacementStrategy).RequireGpu;
        init => ((GpuPlacementStrategy)PlacementStrategy).RequireGpu = value;
    }
}
