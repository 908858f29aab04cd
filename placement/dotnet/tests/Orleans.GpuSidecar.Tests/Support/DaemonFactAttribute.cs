using Xunit;

namespace Orleans.GpuSidecar.Tests.Support;

/// <summary>A test that needs the real daemon: its binary is named by <c>GPU_SIDECAR_BIN</c>.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class DaemonFactAttribute : FactAttribute
{
    public DaemonFactAttribute()
    {
        if (RealDaemon.Binary is null)
        {
            Skip = "GPU_SIDECAR_BIN does not name a gpu-sidecar binary";
        }
        else if (RealDaemon.Kernels is null)
        {
            Skip = "no folder gpu/kernels above the tests, and GPU_SIDECAR_KERNELS_ROOT does not name one";
        }
    }
}
