using Orleans.Metadata;
using Orleans.Runtime;

namespace Orleans.GpuSidecar;

/// <summary>Names the kernel that handles the messages of a <see cref="KGrain"/>.</summary>
/// <param name="kernel">The kernel's id in the daemon's catalog.</param>
[AttributeUsage(AttributeTargets.Class, AllowMultiple = false)]
public sealed class KGrainAttribute(string kernel) : Attribute, IGrainPropertiesProviderAttribute
{
    /// <summary>The grain property that holds the kernel's id.</summary>
    public const string KernelProperty = "gpu.kernel";

    /// <summary>
    /// Orleans' property for grains that its rebalancers must not move, and the value for all of
    /// them: a number from 9.0 on; 8.x takes whatever is not "false".
    /// </summary>
    private const string ImmovableProperty = "immovable";
    private const string ImmovableByAny = "3";

    /// <summary>The kernel's id in the daemon's catalog.</summary>
    public string Kernel { get; } = kernel ?? throw new ArgumentNullException(nameof(kernel));

    /// <summary>The size of the state on the device; 0 takes the size of the kernel's manifest.</summary>
    public int StateBytes { get; init; }

    /// <summary>Keeps the K-Grain on the device when its activation in the silo goes.</summary>
    public bool KeepOnDevice { get; init; }

    /// <summary>
    /// What happens to a call that finds the K-Grain gone from the device, because the device's worker
    /// or the daemon was started anew. True, the default: the K-Grain is activated again, once, and the
    /// call goes on; right where <see cref="KGrain.GetInitAsync"/> gives a state that the K-Grain can go
    /// on from. False: the call fails with <see cref="KGrainNotActiveException"/> and the grain is
    /// deactivated, so that the next call starts with <see cref="KGrain.OnActivateAsync"/>.
    /// </summary>
    public bool Reactivate { get; init; } = true;

    /// <inheritdoc/>
    public void Populate(IServiceProvider services, Type grainClass, GrainType grainType, Dictionary<string, string> properties)
    {
        properties[KernelProperty] = Kernel;
        properties[ImmovableProperty] = ImmovableByAny;
    }
}
