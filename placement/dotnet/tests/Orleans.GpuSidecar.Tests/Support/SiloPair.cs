using System.Collections.Concurrent;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Orleans.Hosting;
using Orleans.Runtime;
using Orleans.TestingHost;

namespace Orleans.GpuSidecar.Tests.Support;

/// <summary>Two silos that talk over TCP, each with a socket of its own for its sidecar.</summary>
internal sealed class SiloPair : IAsyncDisposable
{
    public const string Streams = "StreamProvider";

    private const string FolderKey = "Test:SocketFolder";
    private static readonly ConcurrentDictionary<string, int> SilosOf = new();

    private readonly SocketFolder _folder;

    private SiloPair(TestCluster cluster, SocketFolder folder)
    {
        Cluster = cluster;
        _folder = folder;
    }

    public TestCluster Cluster { get; }

    public IClusterClient Client => (IClusterClient)Cluster.Client;

    public IReadOnlyList<InProcessSiloHandle> Silos => [.. Cluster.Silos.Cast<InProcessSiloHandle>().OrderBy(SocketOf, StringComparer.Ordinal)];

    public static string SocketOf(InProcessSiloHandle silo) =>
        silo.SiloHost.Services.GetRequiredService<IOptions<GpuSidecarOptions>>().Value.SocketPath;

    public static T Service<T>(InProcessSiloHandle silo)
        where T : notnull => silo.SiloHost.Services.GetRequiredService<T>();

    /// <summary>Starts the silos; their sockets are <c>0.sock</c> and <c>1.sock</c> in the folder.</summary>
    public static async Task<SiloPair> StartAsync(SocketFolder folder)
    {
        var builder = new TestClusterBuilder(2);
        builder.Options.ConnectionTransport = ConnectionTransportType.TcpSocket;
        builder.ConfigureHostConfiguration(configuration =>
            configuration.AddInMemoryCollection(new Dictionary<string, string?> { [FolderKey] = folder.Path }));
        builder.AddSiloBuilderConfigurator<SiloConfigurator>();
        builder.AddClientBuilderConfigurator<ClientConfigurator>();
        var cluster = builder.Build();
        await cluster.DeployAsync();
        return new SiloPair(cluster, folder);
    }

    /// <summary>Waits until every silo holds a fresh report of every silo for which the condition holds.</summary>
    public Task KnowAsync(Func<string, GpuCapacity?, bool> condition, string what) =>
        Eventually.HoldsAsync(
            () => Silos.All(knower => Silos.All(known =>
                Service<GpuCapacityCache>(knower).TryGet(known.SiloAddress) is { } report && condition(SocketOf(known), report.Capacity))),
            what);

    public Task KnowReadyAsync() => KnowAsync(static (_, capacity) => capacity is { Ready: true }, "all silos know of all that they are ready");

    public async ValueTask DisposeAsync()
    {
        await Cluster.StopAllSilosAsync();
        await Cluster.DisposeAsync();
        SilosOf.TryRemove(_folder.Path, out _);
    }

    private sealed class SiloConfigurator : ISiloConfigurator
    {
        public void Configure(ISiloBuilder siloBuilder)
        {
            var folder = siloBuilder.Configuration[FolderKey]!;
            var number = SilosOf.AddOrUpdate(folder, 0, static (_, last) => last + 1);
            siloBuilder
                .AddMemoryGrainStorage("PubSubStore")
                .AddMemoryStreams(Streams)
                .AddGpuSidecar(options =>
                {
                    options.SocketPath = Path.Combine(folder, $"{number}.sock");
                    options.DefaultDeadline = TimeSpan.FromSeconds(3);
                    options.ReconnectDelay = TimeSpan.FromMilliseconds(20);
                    options.MaxReconnectDelay = TimeSpan.FromMilliseconds(100);
                    options.CapacityPeriod = TimeSpan.FromMilliseconds(100);
                    options.CapacityStaleAfter = TimeSpan.FromSeconds(3);
                });
        }
    }

    private sealed class ClientConfigurator : IClientBuilderConfigurator
    {
        public void Configure(IConfiguration configuration, IClientBuilder clientBuilder) => clientBuilder.AddMemoryStreams(Streams);
    }
}
