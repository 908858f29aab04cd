using System.Text;
using Microsoft.Extensions.Options;
using Orleans.Runtime;

namespace Orleans.GpuSidecar;

/// <summary>
/// How a silo reaches its gpu-sidecar daemon and what it tells other silos about it. Bound from the
/// configuration section <c>Orleans:GpuSidecar</c>.
/// </summary>
public sealed class GpuSidecarOptions
{
    /// <summary>The configuration section the options are bound from.</summary>
    public const string SectionName = "Orleans:GpuSidecar";

    /// <summary>The default of <see cref="SocketPath"/>.</summary>
    public const string DefaultSocketPath = "/run/gpu-sidecar/gpu-sidecar.sock";

    /// <summary>The daemon's Unix socket.</summary>
    public string SocketPath { get; set; } = DefaultSocketPath;

    /// <summary>The tenant the daemon accounts this silo's K-Grains to; empty for none.</summary>
    public string Tenant { get; set; } = "";

    /// <summary>
    /// The time a call may take, waiting for the daemon included, when the caller names none. Keep it
    /// below Orleans' response timeout (30 s), or callers see that one instead.
    /// </summary>
    public TimeSpan DefaultDeadline { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>The most requests in flight to the daemon; the daemon's own limit holds where it is lower.</summary>
    public int CallCredits { get; set; } = 1024;

    /// <summary>The time to connect and be greeted by the daemon.</summary>
    public TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>The pause before the first attempt to connect again; doubled at each failure, with jitter.</summary>
    public TimeSpan ReconnectDelay { get; set; } = TimeSpan.FromMilliseconds(100);

    /// <summary>The longest pause between two attempts to connect.</summary>
    public TimeSpan MaxReconnectDelay { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>The bytes that may wait to be written to the daemon before senders wait as well.</summary>
    public int OutputBufferBytes { get; set; } = 1 << 20;

    /// <summary>The largest frame to send or to accept; the daemon's own limit holds where it is lower.</summary>
    public int MaxFrameBytes { get; set; } = (16 << 20) - 1;

    /// <summary>How often the daemon is asked for its capacity and the other silos are told.</summary>
    public TimeSpan CapacityPeriod { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>The age at which another silo's capacity no longer counts in placement.</summary>
    public TimeSpan CapacityStaleAfter { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Keeps K-Grains on the device when their activation in the silo goes: for K-Grains that other
    /// clients of the daemon use as well. <see cref="KGrainAttribute.KeepOnDevice"/> says it for one class.
    /// </summary>
    public bool KeepOnDevice { get; set; }
}

/// <summary>Refuses a silo whose <see cref="GpuSidecarOptions"/> cannot work, before it joins its cluster.</summary>
public sealed class GpuSidecarOptionsValidator(IOptions<GpuSidecarOptions> options) : IConfigurationValidator
{
    /// <summary>The most bytes of a path that the address of a Unix socket holds.</summary>
    private const int SocketPathMax = 107;

    private readonly GpuSidecarOptions _options = options.Value;

    /// <inheritdoc/>
    public void ValidateConfiguration()
    {
        Check(!string.IsNullOrWhiteSpace(_options.SocketPath), nameof(GpuSidecarOptions.SocketPath), "is empty");
        Check(Encoding.UTF8.GetByteCount(_options.SocketPath) <= SocketPathMax, nameof(GpuSidecarOptions.SocketPath), $"is over {SocketPathMax} bytes, the most a Unix socket's address holds");
        Check(_options.Tenant is not null, nameof(GpuSidecarOptions.Tenant), "is null");
        Check(_options.CallCredits > 0, nameof(GpuSidecarOptions.CallCredits), "must be positive");
        Check(_options.OutputBufferBytes >= 4096, nameof(GpuSidecarOptions.OutputBufferBytes), "must be 4096 or more");
        Check(_options.MaxFrameBytes >= 65536, nameof(GpuSidecarOptions.MaxFrameBytes), "must be 65536 or more");
        CheckTime(_options.DefaultDeadline, nameof(GpuSidecarOptions.DefaultDeadline));
        CheckTime(_options.ConnectTimeout, nameof(GpuSidecarOptions.ConnectTimeout));
        CheckTime(_options.ReconnectDelay, nameof(GpuSidecarOptions.ReconnectDelay));
        CheckTime(_options.CapacityPeriod, nameof(GpuSidecarOptions.CapacityPeriod));
        Check(_options.MaxReconnectDelay >= _options.ReconnectDelay, nameof(GpuSidecarOptions.MaxReconnectDelay), $"is shorter than {nameof(GpuSidecarOptions.ReconnectDelay)}");
        CheckTime(_options.MaxReconnectDelay, nameof(GpuSidecarOptions.MaxReconnectDelay));
        Check(_options.CapacityStaleAfter > _options.CapacityPeriod, nameof(GpuSidecarOptions.CapacityStaleAfter), $"must be longer than {nameof(GpuSidecarOptions.CapacityPeriod)}, or every report is stale when it arrives");
    }

    private static void CheckTime(TimeSpan value, string option) =>
        Check(value > TimeSpan.Zero && value <= TimeSpan.FromDays(1), option, "must be positive and no longer than a day");

    private static void Check(bool holds, string option, string problem)
    {
        if (!holds)
        {
            throw new OrleansConfigurationException($"{nameof(GpuSidecarOptions)}.{option} {problem}.");
        }
    }
}
