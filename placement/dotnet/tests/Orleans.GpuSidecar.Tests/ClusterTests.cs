using Orleans.Metadata;
using System.Collections.Concurrent;
using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Orleans.GpuSidecar.Tests.Support;
using Orleans.Runtime;
using Orleans.Serialization.TypeSystem;
using Orleans.Streams;
using Orleans.TestingHost;
using Xunit;

namespace Orleans.GpuSidecar.Tests;

/// <summary>Two real silos, each with a daemon that this process plays.</summary>
public sealed class ClusterTests : IAsyncLifetime
{
    private readonly SocketFolder _folder = new();
    private FakeDaemon[] _daemons = [];
    private SiloPair _pair = null!;

    public async Task InitializeAsync()
    {
        _daemons = [new FakeDaemon(_folder.Socket("0")), new FakeDaemon(_folder.Socket("1"))];
        _pair = await SiloPair.StartAsync(_folder);
        await _pair.KnowReadyAsync();
    }

    public async Task DisposeAsync()
    {
        await _pair.DisposeAsync();
        foreach (var daemon in _daemons)
        {
            await daemon.DisposeAsync();
        }

        _folder.Dispose();
    }

    [Fact]
    public async Task A_k_grain_is_called_through_orleans()
    {
        var grain = Grain("k-echo", "left-pad");
        Assert.Equal("hello", Encoding.UTF8.GetString(await grain.CallAsync(FakeDaemon.Echo, "hello"u8.ToArray())));
        var daemon = Assert.Single(_daemons, static d => d.Has("echo", "left-pad"));
        Assert.Equal("init", Encoding.UTF8.GetString(Assert.Single(daemon.Inits)));
        await grain.SendAsync(5, "note"u8.ToArray());
        await Eventually.HoldsAsync(() => !daemon.Sends.IsEmpty, "the one-way message arrived");

        await grain.DropAsync();
        await Eventually.HoldsAsync(() => !daemon.Has("echo", "left-pad"), "the k-grain left the device with its activation");
        Assert.Empty(await grain.CallAsync(FakeDaemon.Echo, []));
    }

    [Fact]
    public async Task Calls_of_one_k_grain_are_pipelined()
    {
        var grain = Grain("k-echo", "busy");
        await grain.CallAsync(FakeDaemon.Echo, []);
        var daemon = Assert.Single(_daemons, static d => d.Has("echo", "busy"));
        var calls = Enumerable.Range(0, 10).Select(i => grain.CallAsync(FakeDaemon.Hold, [(byte)i])).ToArray();
        await Eventually.HoldsAsync(() => daemon.HeldCalls == 10, "ten calls of one grain in the daemon at once");
        daemon.Release();
        var replies = await Task.WhenAll(calls);
        Assert.Equal(Enumerable.Range(0, 10), replies.Select(static r => (int)r[0]));
    }

    [Fact]
    public async Task A_k_grain_that_is_to_be_kept_outlives_its_activation()
    {
        var grain = Grain("k-kept", "kept");
        await grain.CallAsync(FakeDaemon.Echo, []);
        var daemon = Assert.Single(_daemons, static d => d.Has("echo", "kept"));
        await grain.DropAsync();
        await grain.CallAsync(FakeDaemon.Echo, []);
        Assert.DoesNotContain("Deactivate", daemon.Received);
        Assert.True(daemon.Has("echo", "kept"));
    }

    [Fact]
    public async Task Errors_reach_the_caller_typed()
    {
        var grain = Grain("k-echo", "broken");
        var fault = await Assert.ThrowsAsync<KernelFaultException>(() => grain.CallAsync(FakeDaemon.Fault, []));
        Assert.Equal(("echo", "broken"), (fault.Kernel, fault.Key));
        Assert.Contains("divided by zero", fault.Message);
        await Assert.ThrowsAsync<GpuUnavailableException>(() => grain.CallAsync(FakeDaemon.Unavailable, []));
        await Assert.ThrowsAsync<GpuDeadlineException>(() => grain.CallAsync(FakeDaemon.Hold, []));
        var unknown = await Assert.ThrowsAsync<KernelNotFoundException>(() => Grain("k-unknown", "x").CallAsync(FakeDaemon.Echo, []));
        Assert.Contains("no-such-kernel/x", unknown.Message);
    }

    [Fact]
    public async Task A_killed_sidecar_ends_calls_typed_and_a_new_one_serves()
    {
        var grain = Grain("k-echo", "survivor");
        await grain.CallAsync(FakeDaemon.Echo, []);
        var daemon = Assert.Single(_daemons, static d => d.Has("echo", "survivor"));
        var held = grain.CallAsync(FakeDaemon.Hold, []);
        await Eventually.HoldsAsync(() => daemon.HeldCalls == 1, "the call arrived");
        await daemon.KillAsync();
        var lost = await Assert.ThrowsAsync<GpuUnavailableException>(() => held);
        Assert.True(lost.MayHaveRun);
        await Assert.ThrowsAsync<GpuUnavailableException>(() => grain.CallAsync(FakeDaemon.Echo, []));
        daemon.Start();
        var reply = await Eventually.SucceedsAsync<byte[], GpuSidecarException>(() => grain.CallAsync(FakeDaemon.Echo, [9]));
        Assert.Equal([9], reply);
    }

    [Fact]
    public async Task A_k_grain_whose_worker_was_started_anew_is_activated_again_unseen()
    {
        var grain = Grain("k-echo", "again");
        await grain.CallAsync(FakeDaemon.Echo, []);
        var daemon = Assert.Single(_daemons, static d => d.Has("echo", "again"));
        daemon.RestartWorker();
        var replies = await Task.WhenAll(Enumerable.Range(0, 8).Select(i => grain.CallAsync(FakeDaemon.Echo, [(byte)i])));
        Assert.Equal(Enumerable.Range(0, 8), replies.Select(static r => (int)r[0]));
        Assert.Equal(2, await grain.ActivationsAsync());
    }

    [Fact]
    public async Task A_strict_k_grain_fails_typed_and_starts_afresh()
    {
        var grain = Grain("k-strict", "strict");
        await grain.CallAsync(FakeDaemon.Echo, []);
        Assert.Single(_daemons, static d => d.Has("echo", "strict")).RestartWorker();
        await Assert.ThrowsAsync<KGrainNotActiveException>(() => grain.CallAsync(FakeDaemon.Echo, []));
        Assert.Equal([1], await grain.CallAsync(FakeDaemon.Echo, [1]));
        Assert.Equal(1, await grain.ActivationsAsync());
    }

    [Fact]
    public async Task Placement_prefers_the_silo_whose_sidecar_has_a_free_slot()
    {
        foreach (var full in new[] { 0, 1 })
        {
            SetFull(_daemons[full]);
            SetFree(_daemons[1 - full], "cpu");
            await KnowAsync((1 - full, static c => c.HasFreeSlot), (full, static c => !c.HasFreeSlot));
            for (var i = 0; i < 10; i++)
            {
                await Grain("k-echo", $"placed-{full}-{i}").CallAsync(FakeDaemon.Echo, []);
                Assert.True(_daemons[1 - full].Has("echo", $"placed-{full}-{i}"));
            }
        }
    }

    [Fact]
    public async Task A_grain_that_needs_a_gpu_is_placed_on_one_or_not_at_all()
    {
        var refused = await Assert.ThrowsAnyAsync<Exception>(() => Grain("k-gpu", "g").CallAsync(FakeDaemon.Echo, []));
        Assert.Contains("needs a GPU", refused.ToString());
        SetFree(_daemons[1], "NVIDIA H200");
        await KnowAsync((1, static c => c.IsGpu));
        for (var i = 0; i < 5; i++)
        {
            await Grain("k-gpu", $"g{i}").CallAsync(FakeDaemon.Echo, []);
            Assert.True(_daemons[1].Has("echo", $"g{i}"));
        }
    }

    [Fact]
    public async Task A_sidecar_that_is_not_ready_is_known_as_such_at_once()
    {
        _daemons[0].PushState(ready: false, draining: true, "drain");
        await KnowAsync((0, static c => !c.HasFreeSlot), (1, static c => c.HasFreeSlot));
        await _daemons[1].KillAsync();
        await _pair.KnowAsync((socket, capacity) => socket != _daemons[1].Path || capacity is null, "the killed daemon's silo has no capacity");
    }

    [Fact]
    public async Task A_silo_that_stops_withdraws_its_capacity_first()
    {
        var stopping = Assert.Single(_pair.Silos, s => s != _pair.Cluster.Primary);
        var primary = (InProcessSiloHandle)_pair.Cluster.Primary;
        var cache = SiloPair.Service<GpuCapacityCache>(primary);
        var silos = SiloPair.Service<ISiloStatusOracle>(primary);
        var stillActive = new TaskCompletionSource<bool>();
        using var watching = new CancellationTokenSource();
        var watch = Task.Run(async () =>
        {
            while (!watching.IsCancellationRequested && !stillActive.Task.IsCompleted)
            {
                // Read in this order: the status cannot go back to active.
                if (cache.IsLeaving(stopping.SiloAddress))
                {
                    stillActive.SetResult(silos.GetApproximateSiloStatus(stopping.SiloAddress) == SiloStatus.Active);
                }

                await Task.Yield();
            }
        });
        await _pair.Cluster.StopSiloAsync(stopping);
        watching.Cancel();
        await watch;
        Assert.True(stillActive.Task.IsCompletedSuccessfully && await stillActive.Task, "withdrawn while still active");
        Assert.Null(cache.TryGetFree(stopping.SiloAddress));
        Assert.Empty(await Grain("k-echo", "after").CallAsync(FakeDaemon.Echo, []));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task Events_of_a_kernel_reach_the_subscribers_of_a_stream(int count)
    {
        var texts = new ConcurrentQueue<string>();
        var blobs = new ConcurrentQueue<byte[]>();
        var provider = _pair.Client.GetStreamProvider(SiloPair.Streams);
        await provider.GetStream<string>(StreamId.Create("impact", $"text-{count}")).SubscribeAsync((item, _) => Add(texts, item));
        await provider.GetStream<byte[]>(StreamId.Create("impact", $"blob-{count}")).SubscribeAsync((item, _) => Add(blobs, item));
        var publisher = _pair.Client.GetGrain<IKStreamPublisher>(0);
        var events = Enumerable.Range(0, count).Select(static i => Encoding.UTF8.GetBytes($"é{i}")).ToArray();
        await publisher.PublishAsync(SiloPair.Streams, "impact", $"text-{count}", 1, events);
        await publisher.PublishAsync(SiloPair.Streams, "impact", $"blob-{count}", 0, events);
        await publisher.PublishAsync(SiloPair.Streams, "impact", $"blob-{count}", 0, []);
        await Eventually.HoldsAsync(() => texts.Count == count && blobs.Count == count, "the events arrived");
        Assert.Equal(Enumerable.Range(0, count).Select(static i => $"é{i}"), texts);
        Assert.Equal(events, blobs);

        static Task Add<T>(ConcurrentQueue<T> queue, T item)
        {
            queue.Enqueue(item);
            return Task.CompletedTask;
        }
    }

    [Fact]
    public async Task The_publisher_refuses_what_it_cannot_publish()
    {
        var publisher = _pair.Client.GetGrain<IKStreamPublisher>(0);
        var exception = await Assert.ThrowsAsync<ArgumentException>(() => publisher.PublishAsync("nope", "n", "k", 0, [[1]]));
        Assert.Contains("nope", exception.Message);
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => publisher.PublishAsync(SiloPair.Streams, "n", "k", 2, [[1]]));
        await Assert.ThrowsAnyAsync<ArgumentException>(() => publisher.PublishAsync(SiloPair.Streams, "n", "k", 1, [[0xff]]));
    }

    /// <summary>The C side writes these names; they must not change.</summary>
    [Fact]
    public void The_names_on_the_wire_are_fixed()
    {
        var converter = SiloPair.Service<TypeConverter>(_pair.Silos[0]);
        var names = typeof(KGrain).Assembly.GetTypes()
            .Where(static t => t.IsAssignableTo(typeof(Serialization.Invocation.IInvokable)))
            .Select(t => converter.Format(t))
            .ToHashSet();
        Assert.Contains("(\"inv\",[GrainRef],[gpu.kgrain],\"call\")", names);
        Assert.Contains("(\"inv\",[GrainRef],[gpu.kgrain],\"send\")", names);
        Assert.Contains("(\"inv\",[GrainRef],[gpu.publisher],\"publish\")", names);
        Assert.Equal("gpu-publisher/0", _pair.Client.GetGrain<IKStreamPublisher>(0).GetGrainId().ToString());
        Assert.Equal("gpu.kgrain", SiloPair.Service<GrainInterfaceTypeResolver>(_pair.Silos[0]).GetGrainInterfaceType(typeof(IKGrain)).ToString());
    }

    private static void SetFull(FakeDaemon daemon) => daemon.Capacity = daemon.Capacity with { Grains = 100_000, GrainsMax = 100_000 };

    private static void SetFree(FakeDaemon daemon, string device) => daemon.Capacity = daemon.Capacity with { Grains = 0, GrainsMax = 100_000, Device = device };

    private Task KnowAsync(params (int Daemon, Func<GpuCapacity, bool> Holds)[] conditions) =>
        _pair.KnowAsync(
            (socket, capacity) => conditions.All(c => socket != _daemons[c.Daemon].Path || (capacity is not null && c.Holds(capacity))),
            "the daemons' capacity is known everywhere");

    private ITestKGrain Grain(string type, string key) => _pair.Client.GetGrain<ITestKGrain>(GrainId.Create(type, key));
}
