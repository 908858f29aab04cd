using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Concurrency;
using Orleans.GpuSidecar.Diagnostics;
using Orleans.Runtime;
using Orleans.Streams;

namespace Orleans.GpuSidecar;

/// <summary>Runs on the silo that the daemon is connected to; holds nothing but what it learnt of providers.</summary>
[GrainType("gpu-publisher"), StatelessWorker, Reentrant]
internal sealed class KStreamPublisherGrain(GpuSidecarInstruments instruments) : Grain, IKStreamPublisher
{
    private const int EncodingBytes = 0;
    private const int EncodingUtf8 = 1;

    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Providers that refused a batch.</summary>
    private readonly HashSet<string> _oneByOne = new(StringComparer.Ordinal);

    public async Task PublishAsync(string provider, string ns, string key, int encoding, byte[][] events)
    {
        ArgumentException.ThrowIfNullOrEmpty(provider);
        ArgumentNullException.ThrowIfNull(events);
        var streams = ServiceProvider.GetKeyedService<IStreamProvider>(provider)
            ?? throw new ArgumentException($"This silo has no stream provider \"{provider}\".", nameof(provider));
        var id = StreamId.Create(ns ?? "", key);
        switch (encoding)
        {
            case EncodingBytes:
                await PublishAsync(provider, streams.GetStream<byte[]>(id), events);
                break;
            case EncodingUtf8:
                await PublishAsync(provider, streams.GetStream<string>(id), Array.ConvertAll(events, StrictUtf8.GetString));
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(encoding), encoding, "0 is bytes, 1 is UTF-8 text.");
        }

        instruments.Published(provider, events.Length);
    }

    private async Task PublishAsync<T>(string provider, IAsyncStream<T> stream, T[] events)
    {
        if (events.Length > 1 && !_oneByOne.Contains(provider))
        {
            try
            {
                await stream.OnNextBatchAsync(events);
                return;
            }
            catch (Exception exception) when (exception is NotSupportedException or NotImplementedException)
            {
                _oneByOne.Add(provider);
            }
        }

        foreach (var item in events)
        {
            await stream.OnNextAsync(item);
        }
    }
}
