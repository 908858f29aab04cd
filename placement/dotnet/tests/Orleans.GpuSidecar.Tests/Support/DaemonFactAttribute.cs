using Xunit;

namespace Orleans.GpuSidecar.Tests.Support;

/// <summary>A test that needs the real daemon: its binary is named by <c>GPU_SIDECAR_BIN</c>.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class DaemonFactAttribute : FactAttribute
{
    /// <summary>A text that the binary holds when it can do what the test is about.</summary>
    public string? Needs { get; init; }

    /// <summary>The reason to skip where it does not.</summary>
    public string? Otherwise { get; init; }

    /// <inheritdoc/>
    public override string? Skip
    {
        get => RealDaemon.Binary is null ? "GPU_SIDECAR_BIN does not name a gpu-sidecar binary"
            : RealDaemon.Kernels is null ? "no folder gpu/kernels above the tests, and GPU_SIDECAR_KERNELS_ROOT does not name one"
            : Needs is not null && !RealDaemon.Holds(Needs) ? Otherwise
            : base.Skip;
        set => base.Skip = value;
    }
}
