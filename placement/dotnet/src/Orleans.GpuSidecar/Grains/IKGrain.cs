using Orleans.Concurrency;

namespace Orleans.GpuSidecar;

/// <summary>
/// What every K-Grain answers to, whoever calls: other grains, Orleans clients, the daemon itself.
/// The names on the wire are fixed, and the daemon's built-in gateway serves the same interface, so
/// a client calls a K-Grain in the same way with a silo and without one.
/// </summary>
[Alias("gpu.kgrain")]
public interface IKGrain : IGrainWithStringKey
{
    /// <summary>Sends a message and waits for the kernel's reply.</summary>
    /// <param name="type">The message type of the kernel's manifest, 0 to 65535.</param>
    /// <param name="payload">The message.</param>
    /// <returns>The reply.</returns>
    [Alias("call")]
    Task<byte[]> CallAsync(int type, byte[] payload);

    /// <summary>Sends a message that has no reply.</summary>
    /// <param name="type">The message type of the kernel's manifest, 0 to 65535.</param>
    /// <param name="payload">The message.</param>
    /// <returns>A task that ends when the message is on its way; it does not report failures.</returns>
    [Alias("send"), OneWay]
    Task SendAsync(int type, byte[] payload);
}
