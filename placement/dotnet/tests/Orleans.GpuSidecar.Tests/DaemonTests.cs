using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Orleans.GpuSidecar.Diagnostics;
using Orleans.GpuSidecar.Tests.Support;
using Orleans.Runtime;
using Orleans.Streams;
using Xunit;
using Xunit.Abstractions;

namespace Orleans.GpuSidecar.Tests;

/// <summary>Two real silos, each with a real daemon.</summary>
public sealed class DaemonTests(ITestOutputHelper output) : IAsyncLifetime
{
    private const int EchoMessage = 1;
    private const int TallyAdd = 1;
    private const int ImpactQuestion = 1;
    private const int ImpactLoad = 2;

    private readonly SocketFolder _folder = new();
    private readonly List<RealDaemon> _daemons = [];
    private SiloPair _pair = null!;

    public async Task InitializeAsync() => _pair = await SiloPair.StartAsync(_folder);

    public async Task DisposeAsync()
    {
        await _pair.DisposeAsync();
        foreach (var daemon in _daemons)
        {
            await daemon.DisposeAsync();
            output.WriteLine(daemon.Log);
        }

        _folder.Dispose();
    }

    [DaemonFact]
    public async Task A_k_grain_is_called_through_orleans()
    {
        StartDaemon(0);
        StartDaemon(1);
        await _pair.KnowReadyAsync();
        for (var i = 0; i < 20; i++)
        {
            var payload = Encoding.UTF8.GetBytes($"hello {i}");
            Assert.Equal(payload, await Grain("k-echo", $"g{i}").CallAsync(EchoMessage, payload));
        }

        var calls = Enumerable.Range(0, 500).Select(i => Grain("tally", "sum").CallAsync(TallyAdd, Number(1)));
        var sums = (await Task.WhenAll(calls)).Select(static reply => BinaryPrimitives.ReadUInt64LittleEndian(reply));
        Assert.Equal(Enumerable.Range(1, 500).Select(static n => (ulong)n), sums.Order());
        var fault = await Assert.ThrowsAsync<KernelFaultException>(() => Grain("tally", "sum").CallAsync(TallyAdd, [1]));
        Assert.Contains("tally/sum", fault.Message);
        await Assert.ThrowsAsync<KernelNotFoundException>(() => Grain("k-unknown", "x").CallAsync(1, []));
    }

    [DaemonFact]
    public async Task A_killed_sidecar_ends_calls_typed_and_a_new_one_serves()
    {
        var daemons = new[] { StartDaemon(0), StartDaemon(1) };
        await _pair.KnowReadyAsync();
        var grain = Grain("k-echo", "survivor");
        await grain.CallAsync(EchoMessage, [1]);
        var silo = await grain.SiloAsync();
        var at = _pair.Silos.ToList().FindIndex(s => s.SiloAddress.ToString() == silo);
        await daemons[at].KillAsync();
        await Assert.ThrowsAsync<GpuUnavailableException>(async () =>
        {
            await grain.CallAsync(EchoMessage, [2]);
            await grain.CallAsync(EchoMessage, [3]);
        });
        daemons[at].Restart();
        Assert.Equal([4], await Eventually.SucceedsAsync<byte[], GpuSidecarException>(() => grain.CallAsync(EchoMessage, [4])));
    }

    [DaemonFact]
    public async Task A_killed_worker_is_replaced_and_calls_go_on()
    {
        var daemon = StartDaemon(0);
        await _pair.KnowAsync((socket, capacity) => socket != _folder.Socket("0") || capacity is { Ready: true }, "daemon 0 is ready");
        var grain = Grain("k-echo", "phoenix");
        await grain.CallAsync(EchoMessage, [1]);
        daemon.KillWorker();
        Assert.Equal([2], await Eventually.SucceedsAsync<byte[], GpuSidecarException>(() => grain.CallAsync(EchoMessage, [2])));
    }

    [DaemonFact]
    public async Task Placement_prefers_the_silo_whose_sidecar_has_a_free_slot()
    {
        StartDaemon(0, "--device.grains_max=4");
        StartDaemon(1);
        await _pair.KnowReadyAsync();
        await using var owner = Connect(0);
        IGpuSidecarConnection connection = owner;
        for (var i = 0; (await connection.GetCapacityAsync()).HasFreeSlot; i++)
        {
            await connection.ActivateAsync("echo", $"filler{i}");
        }

        await _pair.KnowAsync((socket, capacity) => capacity!.HasFreeSlot == (socket == _folder.Socket("1")), "daemon 0 is full");
        for (var i = 0; i < 10; i++)
        {
            Assert.Equal(_pair.Silos[1].SiloAddress.ToString(), await Grain("k-echo", $"p{i}").SiloAsync());
        }
    }

    [DaemonFact]
    public async Task A_graph_that_another_client_loaded_is_asked_through_orleans()
    {
        StartDaemon(0);
        await _pair.KnowAsync((socket, capacity) => socket != _folder.Socket("0") || capacity is { Ready: true }, "daemon 0 is ready");
        await using var owner = Connect(0);
        IGpuSidecarConnection connection = owner;
        var waves = await connection.ActivateAsync("impact", "#waves", 512 + 24 * 16, Pack(3u, 1024u));

        // suite needs app, app needs libc; editor needs libc or musl.
        var suite = await PackageAsync("suite", [1], edges: 0);
        var app = await PackageAsync("app", [1], edges: 1);
        var editor = await PackageAsync("editor", [2], edges: 0);
        var libc = await PackageAsync("libc", [], edges: 2);
        await connection.CallAsync(app, ImpactLoad, Pack(0u, 1u, suite.Address, 0u, 0u));
        await connection.CallAsync(libc, ImpactLoad, Pack(0u, 2u, app.Address, 0u, 0u, editor.Address, 0u, 0u));

        var reply = await Grain("impact", "libc").CallAsync(ImpactQuestion, []);
        Assert.Equal(2u, BinaryPrimitives.ReadUInt32LittleEndian(reply));
        await Grain("impact", "libc").DropAsync();
        reply = await Grain("impact", "libc").CallAsync(ImpactQuestion, []);
        Assert.Equal(2u, BinaryPrimitives.ReadUInt32LittleEndian(reply));

        Task<KGrainHandle> PackageAsync(string name, ushort[] alternatives, int edges)
        {
            var state = (512 + 10 * alternatives.Length + 7) / 8 * 8 + 16 * edges;
            var init = Pack(1u, (uint)name.Length, (uint)alternatives.Length, (uint)edges, waves.Address, alternatives, Encoding.UTF8.GetBytes(name));
            return connection.ActivateAsync("impact", name, state, init);
        }
    }

    [DaemonFact(Needs = "gpu.publisher", Otherwise = "this gpu-sidecar does not publish to streams")]
    public async Task Events_of_a_kernel_reach_a_stream_subscriber()
    {
        var events = new ConcurrentQueue<ulong>();
        var stream = _pair.Client.GetStreamProvider(SiloPair.Streams).GetStream<byte[]>(StreamId.Create("tally", "sum"));
        await stream.SubscribeAsync((item, _) =>
        {
            events.Enqueue(BinaryPrimitives.ReadUInt64LittleEndian(item));
            return Task.CompletedTask;
        });
        for (var i = 0; i < 2; i++)
        {
            StartDaemon(
                i,
                $"--silo.endpoint={_pair.Silos[i].GatewayAddress.Endpoint}",
                $"--silo.cluster_id={_pair.Cluster.Options.ClusterId}",
                $"--stream.provider={SiloPair.Streams}");
        }

        await _pair.KnowReadyAsync();
        for (var i = 0; i < 5; i++)
        {
            await Grain("tally", "sum").CallAsync(TallyAdd, Number(1000));
        }

        await Eventually.HoldsAsync(() => events.Count >= 5, "five events arrived");
        Assert.Equal([1000ul, 2000ul, 3000ul, 4000ul, 5000ul], events);
    }

    /// <summary>Measures and prints; passes whatever the figures are.</summary>
    [DaemonFact]
    public async Task Figures()
    {
        StartDaemon(0);
        await _pair.KnowAsync((socket, capacity) => socket != _folder.Socket("0") || capacity is { Ready: true }, "daemon 0 is ready");
        await using var owner = Connect(0);
        IGpuSidecarConnection connection = owner;
        var handle = await connection.ActivateAsync("echo", "bench");
        await MeasureAsync("socket, connection alone", payload => connection.CallAsync(handle, EchoMessage, payload), 20000);
        var grain = Grain("k-echo", "bench");
        await MeasureAsync("client - silo - socket - kernel", payload => grain.CallAsync(EchoMessage, payload), 5000);
    }

    private async Task MeasureAsync(string what, Func<byte[], Task> call, int count)
    {
        var payload = new byte[64];
        for (var i = 0; i < count / 4; i++)
        {
            await call(payload);
        }

        var times = new double[count];
        for (var i = 0; i < count; i++)
        {
            var start = Stopwatch.GetTimestamp();
            await call(payload);
            times[i] = Stopwatch.GetElapsedTime(start).TotalMicroseconds;
        }

        Array.Sort(times);
        var all = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, 64).Select(async _ =>
        {
            for (var i = 0; i < count / 16; i++)
            {
                await call(payload);
            }
        }));
        var perSecond = 64 * (count / 16) / Stopwatch.GetElapsedTime(all).TotalSeconds;
        output.WriteLine($"{what}: one outstanding p50 {times[count / 2]:0.0} us p99 {times[count * 99 / 100]:0.0} us; 64 outstanding {perSecond:0} calls/s");
    }

    private static byte[] Number(ulong value) => Pack(value);

    /// <summary>Numbers, little endian, and bytes, one after the other.</summary>
    private static byte[] Pack(params object[] parts) =>
        [.. parts.SelectMany(static part => part switch
        {
            uint number => BitConverter.GetBytes(number),
            ulong number => BitConverter.GetBytes(number),
            ushort[] numbers => [.. numbers.SelectMany(BitConverter.GetBytes)],
            byte[] bytes => bytes,
            _ => throw new ArgumentException($"a part of type {part.GetType().Name}", nameof(parts)),
        })];

    private RealDaemon StartDaemon(int number, params string[] flags)
    {
        var cache = Directory.CreateDirectory(Path.Combine(_folder.Path, $"cache{number}")).FullName;
        var daemon = new RealDaemon(_folder.Socket(number.ToString(CultureInfo.InvariantCulture)), cache, flags);
        _daemons.Add(daemon);
        return daemon;
    }

    private SidecarConnection Connect(int number)
    {
        var options = Options.Create(new GpuSidecarOptions { SocketPath = _folder.Socket(number.ToString(CultureInfo.InvariantCulture)) });
        var connection = new SidecarConnection(options, NullLogger<SidecarConnection>.Instance, new GpuSidecarInstruments());
        connection.Start();
        return connection;
    }

    private ITestKGrain Grain(string type, string key) => _pair.Client.GetGrain<ITestKGrain>(GrainId.Create(type, key));
}
