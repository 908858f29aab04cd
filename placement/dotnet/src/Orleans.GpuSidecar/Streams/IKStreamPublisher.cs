namespace Orleans.GpuSidecar;

/// <summary>
/// Publishes what kernels emit to an Orleans stream of any provider. The daemon calls the grain
/// <c>gpu-publisher/0</c> through its silo's gateway; the names on the wire are fixed.
/// </summary>
[Alias("gpu.publisher")]
public interface IKStreamPublisher : IGrainWithIntegerKey
{
    /// <summary>Publishes events to one stream, in order.</summary>
    /// <param name="provider">The stream provider's name.</param>
    /// <param name="ns">The stream's namespace.</param>
    /// <param name="key">The stream's key.</param>
    /// <param name="encoding">0: events are published as byte arrays; 1: as strings, from UTF-8.</param>
    /// <param name="events">The events.</param>
    /// <returns>A task that ends when the provider has taken all of them.</returns>
    [Alias("publish")]
    Task PublishAsync(string provider, string ns, string key, int encoding, byte[][] events);
}
