using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Orleans.GpuSidecar.Diagnostics;
using Orleans.GpuSidecar.Tests.Support;
using Xunit;

namespace Orleans.GpuSidecar.Tests;

public sealed class ConnectionTests : IAsyncLifetime
{
    private readonly SocketFolder _folder = new();
    private readonly List<SidecarConnection> _connections = [];
    private FakeDaemon? _daemon;

    private FakeDaemon Daemon => _daemon ??= new FakeDaemon(_folder.Socket("d"));

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        foreach (var connection in _connections)
        {
            await connection.StopAsync();
        }

        if (_daemon is not null)
        {
            await _daemon.DisposeAsync();
        }

        _folder.Dispose();
    }

    [Fact]
    public async Task A_call_comes_back()
    {
        _ = Daemon;
        var connection = Connect();
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        Assert.True(grain.Created);
        Assert.Equal([1, 2, 3], await connection.CallAsync(grain, FakeDaemon.Echo, new byte[] { 1, 2, 3 }, null, default));
        Assert.Empty(await connection.CallAsync(grain, FakeDaemon.Echo, default, null, default));
        Assert.False((await connection.ActivateAsync("echo", "k", 0, default, null, default)).Created);
        await connection.DeactivateAsync(grain, default);
        await connection.DeactivateAsync(grain, default);
        Assert.Equal(0, Daemon.GrainCount);
    }

    [Fact]
    public async Task Payloads_up_to_the_limit_pass_and_larger_ones_are_refused_here()
    {
        Daemon.MaxFrame = 3 << 20;
        var connection = Connect();
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        var payload = new byte[(3 << 20) - 100];
        Random.Shared.NextBytes(payload);
        Assert.Equal(payload, await connection.CallAsync(grain, FakeDaemon.Echo, payload, null, default));
        var exception = await Assert.ThrowsAsync<GpuRequestException>(() => connection.CallAsync(grain, FakeDaemon.Echo, new byte[3 << 20], null, default));
        Assert.Equal((int)SidecarError.TooLarge, exception.Code);
        Assert.Empty(await connection.CallAsync(grain, FakeDaemon.Echo, default, null, default));
    }

    [Fact]
    public async Task Many_calls_at_once_each_get_their_own_answer()
    {
        _ = Daemon;
        var connection = Connect(o => o.CallCredits = 64);
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        var calls = Enumerable.Range(0, 5000).Select(async i =>
        {
            var payload = BitConverter.GetBytes(i);
            Assert.Equal(payload, await connection.CallAsync(grain, FakeDaemon.Echo, payload, null, default));
        });
        await Task.WhenAll(calls);
    }

    [Fact]
    public async Task No_more_requests_are_in_flight_than_there_are_credits()
    {
        _daemon = new FakeDaemon(_folder.Socket("d")) { Credits = 4 };
        var connection = Connect();
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        var calls = Enumerable.Range(0, 20).Select(_ => connection.CallAsync(grain, FakeDaemon.Hold, default, null, default)).ToList();
        while (!Task.WhenAll(calls).IsCompleted)
        {
            Daemon.Release();
            await Task.Delay(1);
        }

        await Task.WhenAll(calls);
        Assert.InRange(Daemon.MostInFlight, 1, 4);
    }

    [Fact]
    public async Task Requests_are_sent_in_the_order_asked_also_when_credits_are_short()
    {
        _daemon = new FakeDaemon(_folder.Socket("d")) { Credits = 2 };
        var connection = Connect(o => o.OutputBufferBytes = 4096);
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        var calls = Enumerable.Range(0, 3000).Select(i => connection.CallAsync(grain, FakeDaemon.Echo, BitConverter.GetBytes(i), null, default)).ToList();
        await Task.WhenAll(calls);
        Assert.Equal(Enumerable.Range(0, 3000), Daemon.Calls.Select(static payload => BitConverter.ToInt32(payload)));
    }

    [Fact]
    public async Task A_call_taken_back_is_cancelled_in_the_daemon_and_its_credit_comes_back()
    {
        _daemon = new FakeDaemon(_folder.Socket("d")) { Credits = 1 };
        var connection = Connect();
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        using var cancellation = new CancellationTokenSource();
        var call = connection.CallAsync(grain, FakeDaemon.Hold, default, null, cancellation.Token);
        await Eventually.HoldsAsync(() => Daemon.HeldCalls == 1, "the call arrived");
        cancellation.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        Assert.Empty(await connection.CallAsync(grain, FakeDaemon.Echo, default, null, default));
        Assert.Contains("Cancel", Daemon.Received);
    }

    [Fact]
    public async Task A_deadline_ends_a_call_and_frees_the_daemon_of_it()
    {
        _ = Daemon;
        var connection = Connect();
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        var exception = await Assert.ThrowsAsync<GpuDeadlineException>(() => connection.CallAsync(grain, FakeDaemon.Hold, default, TimeSpan.FromMilliseconds(50), default));
        Assert.Contains("echo/k", exception.Message);
        Assert.Equal(("echo", "k"), (exception.Kernel, exception.Key));
        await Eventually.HoldsAsync(() => Daemon.HeldCalls == 0, "the daemon dropped the call");
    }

    [Fact]
    public async Task Waiting_for_a_credit_ends_at_the_deadline_too()
    {
        _daemon = new FakeDaemon(_folder.Socket("d")) { Credits = 1 };
        var connection = Connect();
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        var held = connection.CallAsync(grain, FakeDaemon.Hold, default, null, default);
        await Assert.ThrowsAsync<GpuDeadlineException>(() => connection.CallAsync(grain, FakeDaemon.Echo, default, TimeSpan.FromMilliseconds(50), default));
        Daemon.Release();
        await held;
    }

    [Fact]
    public async Task Errors_become_exceptions_that_name_kernel_and_key()
    {
        _ = Daemon;
        var connection = Connect();
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        await FailsAsync<KernelFaultException>(connection.CallAsync(grain, FakeDaemon.Fault, default, null, default), "divided by zero");
        await FailsAsync<GpuUnavailableException>(connection.CallAsync(grain, FakeDaemon.Unavailable, default, null, default), "restarting");
        await FailsAsync<GpuRequestException>(connection.CallAsync(grain, 99, default, null, default), "no message type 99");
        var unknown = await Assert.ThrowsAsync<KernelNotFoundException>(() => connection.ActivateAsync("nope", "k", 0, default, null, default));
        Assert.Contains("nope/k", unknown.Message);
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => connection.CallAsync(grain, 65536, default, null, default));

        static async Task FailsAsync<T>(Task call, string text)
            where T : GpuSidecarException
        {
            var exception = await Assert.ThrowsAsync<T>(() => call);
            Assert.Contains("echo/k", exception.Message);
            Assert.Contains(text, exception.Message);
        }
    }

    [Fact]
    public async Task Without_a_daemon_a_request_waits_until_its_deadline_and_fails_typed()
    {
        var connection = Connect();
        var exception = await Assert.ThrowsAsync<GpuUnavailableException>(() => connection.ActivateAsync("echo", "k", 0, default, TimeSpan.FromMilliseconds(100), default));
        Assert.False(exception.MayHaveRun);
        Assert.Contains(_folder.Socket("d"), exception.Message);
    }

    [Fact]
    public async Task A_request_made_before_the_daemon_is_there_is_served_when_it_comes()
    {
        var connection = Connect();
        var activation = connection.ActivateAsync("echo", "k", 0, default, TimeSpan.FromSeconds(20), default);
        await Task.Delay(50);
        Assert.False(activation.IsCompleted);
        _ = Daemon;
        Assert.True((await activation).Created);
    }

    [Fact]
    public async Task A_lost_daemon_ends_calls_typed_and_voids_addresses_and_a_new_one_serves()
    {
        _ = Daemon;
        var connection = Connect();
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        var held = connection.CallAsync(grain, FakeDaemon.Hold, default, null, default);
        await Eventually.HoldsAsync(() => Daemon.HeldCalls == 1, "the call arrived");
        await Daemon.KillAsync();
        Assert.True((await Assert.ThrowsAsync<GpuUnavailableException>(() => held)).MayHaveRun);
        await Eventually.HoldsAsync(() => connection.State is null, "the loss was seen");
        await Assert.ThrowsAsync<KGrainNotActiveException>(() => connection.CallAsync(grain, FakeDaemon.Echo, default, null, default));
        Daemon.Start();
        var again = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        Assert.Equal([7], await connection.CallAsync(again, FakeDaemon.Echo, new byte[] { 7 }, null, default));
        await Assert.ThrowsAsync<KGrainNotActiveException>(() => connection.CallAsync(grain, FakeDaemon.Echo, default, null, default));
    }

    [Fact]
    public async Task A_new_epoch_voids_addresses()
    {
        _ = Daemon;
        var connection = Connect();
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        var told = new TaskCompletionSource<GpuSidecarState?>();
        connection.StateChanged += state => told.TrySetResult(state);
        Daemon.RestartWorker();
        Assert.Equal(2ul, (await told.Task)!.Epoch);
        await Assert.ThrowsAsync<KGrainNotActiveException>(() => connection.CallAsync(grain, FakeDaemon.Echo, default, null, default));
        await Assert.ThrowsAsync<KGrainNotActiveException>(() => connection.SendAsync(grain, FakeDaemon.Echo, default, default));
        Assert.True((await connection.ActivateAsync("echo", "k", 0, default, null, default)).Created);
    }

    [Fact]
    public async Task One_way_messages_capacity_and_kernels()
    {
        Daemon.Capacity = Daemon.Capacity with { P95Microseconds = 12 };
        var connection = Connect();
        var grain = await connection.ActivateAsync("echo", "k", 0, default, null, default);
        await connection.SendAsync(grain, 5, "hi"u8.ToArray(), default);
        await Eventually.HoldsAsync(() => !Daemon.Sends.IsEmpty, "the message arrived");
        Assert.Equal("hi", Encoding.UTF8.GetString(Assert.Single(Daemon.Sends)));
        var capacity = await connection.GetCapacityAsync(default);
        Assert.Equal((1u, 12u, true), (capacity.Grains, capacity.P95Microseconds, capacity.HasFreeSlot));
        Assert.Equal("echo", Assert.Single(await connection.GetKernelsAsync(default)).Id);
    }

    [Theory]
    [InlineData(new byte[] { 0, 0, 0, 0 })]
    [InlineData(new byte[] { 0xff, 0xff, 0xff, 0xff })]
    [InlineData(new byte[] { 2, 0, 0, 0, 0x81, 0 })]
    [InlineData(new byte[] { 6, 0, 0, 0, 0x94, 0xcc, 133, 0, 0, 0xa0 })]
    public async Task Bytes_that_break_the_protocol_end_the_connection_and_it_is_made_anew(byte[] bytes)
    {
        _ = Daemon;
        var connection = Connect();
        await connection.ActivateAsync("echo", "k", 0, default, null, default);
        Daemon.SendRaw(bytes);
        await Eventually.HoldsAsync(() => Daemon.Accepted >= 2, "a second connection");
        Assert.False((await connection.ActivateAsync("echo", "k", 0, default, null, default)).Created);
    }

    [Fact]
    public async Task Frames_that_come_in_pieces_are_put_together()
    {
        _ = Daemon;
        var connection = Connect();
        var told = new TaskCompletionSource();
        connection.StateChanged += state =>
        {
            if (state is { Epoch: 9 })
            {
                told.TrySetResult();
            }
        };
        await connection.ActivateAsync("echo", "k", 0, default, null, default);
        foreach (var b in new byte[] { 8, 0, 0, 0, 0x95, 0xcc, 136, 9, 0xc3, 0xc2, 0xa1, (byte)'x' })
        {
            Daemon.SendRaw(b);
            await Task.Delay(1);
        }

        await told.Task.WaitAsync(TimeSpan.FromSeconds(10));
    }

    [Fact]
    public async Task Stopping_says_goodbye_and_ends_what_waits()
    {
        _ = Daemon;
        var connection = Connect();
        await connection.ActivateAsync("echo", "k", 0, default, null, default);
        await connection.StopAsync();
        await Eventually.HoldsAsync(() => Daemon.Received.Contains("Goodbye"), "the goodbye");
        await Assert.ThrowsAsync<GpuUnavailableException>(() => connection.ActivateAsync("echo", "k", 0, default, null, default));
    }

    private SidecarConnection Connect(Action<GpuSidecarOptions>? configure = null)
    {
        var options = new GpuSidecarOptions
        {
            SocketPath = _folder.Socket("d"),
            ReconnectDelay = TimeSpan.FromMilliseconds(10),
            MaxReconnectDelay = TimeSpan.FromMilliseconds(50),
        };
        configure?.Invoke(options);
        var connection = new SidecarConnection(Options.Create(options), NullLogger<SidecarConnection>.Instance, new GpuSidecarInstruments());
        _connections.Add(connection);
        connection.Start();
        return connection;
    }
}
