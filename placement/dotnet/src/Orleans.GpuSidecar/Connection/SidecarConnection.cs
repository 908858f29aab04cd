using System.Diagnostics;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans.GpuSidecar.Diagnostics;
using Orleans.GpuSidecar.Protocol;
using Orleans.Runtime;

namespace Orleans.GpuSidecar;

/// <summary>
/// Keeps a session with the daemon open from the silo's start to its end and sends requests over
/// the session of the moment.
/// </summary>
internal sealed partial class SidecarConnection : IGpuSidecarConnection, ILifecycleParticipant<ISiloLifecycle>, IAsyncDisposable, IDisposable
{
    private static readonly string ClientName = $"Orleans.GpuSidecar/{typeof(SidecarConnection).Assembly.GetName().Version?.ToString(3)}";

    private readonly GpuSidecarOptions _options;
    private readonly ILogger<SidecarConnection> _logger;
    private readonly GpuSidecarInstruments _instruments;
    private readonly CancellationTokenSource _stopping = new();
    private readonly object _gate = new();
    private TaskCompletionSource<SidecarSession> _connected = NewSignal();
    private volatile SidecarSession? _session;
    private volatile GpuSidecarState? _state;
    private Task? _running;

    public SidecarConnection(IOptions<GpuSidecarOptions> options, ILogger<SidecarConnection> logger, GpuSidecarInstruments instruments)
    {
        _options = options.Value;
        _logger = logger;
        _instruments = instruments;
    }

    public event Action<GpuSidecarState?>? StateChanged;

    public GpuSidecarState? State => _state;

    public void Participate(ISiloLifecycle lifecycle) =>
        lifecycle.Subscribe(
            nameof(SidecarConnection),
            ServiceLifecycleStage.ApplicationServices,
            _ =>
            {
                Start();
                return Task.CompletedTask;
            },
            _ => StopAsync());

    /// <summary>Begins to connect; returns at once, so that a silo starts without its daemon.</summary>
    public void Start()
    {
        lock (_gate)
        {
            _running ??= Task.Run(RunAsync);
        }
    }

    public async Task StopAsync()
    {
        _stopping.Cancel();
        if (_running is { } running)
        {
            await running.ConfigureAwait(false);
        }

        _connected.TrySetCanceled();
    }

    public ValueTask DisposeAsync() => new(StopAsync());

    public void Dispose() => _stopping.Cancel();

    public async Task<KGrainHandle> ActivateAsync(string kernel, string key, int stateBytes, ReadOnlyMemory<byte> init, TimeSpan? deadline, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(kernel);
        ArgumentNullException.ThrowIfNull(key);
        ArgumentOutOfRangeException.ThrowIfNegative(stateBytes);
        var target = new RequestTarget("activate", kernel, key, Activating: true);
        var until = Until(deadline);
        var session = await SessionAsync(target, until, cancellationToken).ConfigureAwait(false);
        var frame = new ActivateFrame(kernel, System.Text.Encoding.UTF8.GetBytes(key), (uint)stateBytes, init);
        var answer = await session.RequestAsync(frame, target, until, cancellationToken).ConfigureAwait(false);
        return answer is ActivatedFrame activated
            ? new KGrainHandle(session, kernel, key, activated.Grain, activated.Epoch, activated.Created)
            : throw Strange(answer, target);
    }

    public async Task DeactivateAsync(KGrainHandle grain, CancellationToken cancellationToken)
    {
        if (!IsCurrent(grain))
        {
            return;
        }

        var target = new RequestTarget("deactivate", grain.Kernel, grain.Key);
        try
        {
            await grain.Session.RequestAsync(new DeactivateFrame(grain.Address), target, Until(null), cancellationToken).ConfigureAwait(false);
        }
        catch (KGrainNotActiveException)
        {
            // Gone already, which is what was asked for.
        }
    }

    public async Task<byte[]> CallAsync(KGrainHandle grain, int type, ReadOnlyMemory<byte> payload, TimeSpan? deadline, CancellationToken cancellationToken)
    {
        CheckType(type);
        using var activity = GpuSidecarInstruments.ActivitySource.StartActivity("gpu.call", ActivityKind.Client);
        activity?.SetTag("gpu.kernel", grain.Kernel).SetTag("gpu.message_type", type);
        var target = new RequestTarget("call", grain.Kernel, grain.Key);
        var start = _instruments.CallStarted();
        var outcome = "error";
        try
        {
            if (!IsCurrent(grain))
            {
                throw SidecarError.Void(target);
            }

            var frame = new CallFrame(grain.Address, (ushort)type, payload);
            var answer = await grain.Session.RequestAsync(frame, target, Until(deadline), cancellationToken).ConfigureAwait(false);
            if (answer is not ReplyFrame reply)
            {
                throw Strange(answer, target);
            }

            outcome = "ok";
            return reply.Payload;
        }
        catch (Exception exception)
        {
            outcome = GpuSidecarInstruments.OutcomeOf(exception);
            activity?.SetStatus(ActivityStatusCode.Error, outcome);
            throw;
        }
        finally
        {
            _instruments.CallEnded(start, grain.Kernel, outcome);
        }
    }

    public Task SendAsync(KGrainHandle grain, int type, ReadOnlyMemory<byte> payload, CancellationToken cancellationToken)
    {
        CheckType(type);
        var target = new RequestTarget("send", grain.Kernel, grain.Key);
        if (!IsCurrent(grain))
        {
            return Task.FromException(SidecarError.Void(target));
        }

        _instruments.Sent(grain.Kernel);
        return grain.Session.PostAsync(new SendFrame(grain.Address, (ushort)type, payload), target, Until(null), cancellationToken);
    }

    public async Task<GpuCapacity> GetCapacityAsync(CancellationToken cancellationToken)
    {
        var answer = await AskAsync(default(CapacityFrame), new RequestTarget("capacity"), cancellationToken).ConfigureAwait(false);
        return answer is CapacityReportFrame report ? report.Capacity : throw Strange(answer, new RequestTarget("capacity"));
    }

    public async Task<IReadOnlyList<GpuKernelInfo>> GetKernelsAsync(CancellationToken cancellationToken)
    {
        var answer = await AskAsync(default(KernelsFrame), new RequestTarget("kernels"), cancellationToken).ConfigureAwait(false);
        return answer is KernelListFrame list ? list.Kernels : throw Strange(answer, new RequestTarget("kernels"));
    }

    private static void CheckType(int type) => ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)type, ushort.MaxValue, nameof(type));

    private static TaskCompletionSource<SidecarSession> NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static GpuRequestException Strange(ServerFrame answer, RequestTarget target) =>
        new($"{target}: the daemon answered with {answer.GetType().Name}");

    private async Task<AnswerFrame> AskAsync<TFrame>(TFrame frame, RequestTarget target, CancellationToken cancellationToken)
        where TFrame : struct, IClientFrame
    {
        var until = Until(null);
        var session = await SessionAsync(target, until, cancellationToken).ConfigureAwait(false);
        return await session.RequestAsync(frame, target, until, cancellationToken).ConfigureAwait(false);
    }

    private Deadline Until(TimeSpan? deadline)
    {
        var time = deadline ?? _options.DefaultDeadline;
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(time, TimeSpan.Zero, nameof(deadline));
        return Deadline.After(time);
    }

    private bool IsCurrent(KGrainHandle grain) => grain.Session == _session && grain.Epoch == grain.Session.Epoch;

    private ValueTask<SidecarSession> SessionAsync(RequestTarget target, Deadline deadline, CancellationToken cancellationToken) =>
        _session is { IsClosed: false } session ? new(session) : new(WaitForSessionAsync(target, deadline, cancellationToken));

    private async Task<SidecarSession> WaitForSessionAsync(RequestTarget target, Deadline deadline, CancellationToken cancellationToken)
    {
        while (true)
        {
            Task<SidecarSession> connected;
            lock (_gate)
            {
                connected = _connected.Task;
            }

            try
            {
                var session = await connected.WaitAsync(deadline.Left, cancellationToken).ConfigureAwait(false);
                if (!session.IsClosed)
                {
                    return session;
                }

                // Lost, and the loop has not seen it yet.
                if (deadline.Left == TimeSpan.Zero)
                {
                    throw SidecarError.NotConnected(target, _options.SocketPath, deadline.Total);
                }

                await Task.Delay(1, cancellationToken).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                throw SidecarError.NotConnected(target, _options.SocketPath, deadline.Total);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw SidecarError.Lost(target, "the silo is stopping", sent: false);
            }
        }
    }

    private async Task RunAsync()
    {
        var failures = 0;
        while (!_stopping.IsCancellationRequested)
        {
            var session = await TryConnectAsync(failures).ConfigureAwait(false);
            if (session is null)
            {
                failures++;
            }
            else
            {
                failures = 0;
                await ServeAsync(session).ConfigureAwait(false);
            }

            if (!_stopping.IsCancellationRequested)
            {
                await Task.Delay(PauseAfter(failures), _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task<SidecarSession?> TryConnectAsync(int failures)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        timeout.CancelAfter(_options.ConnectTimeout);
        try
        {
            return await SidecarSession.ConnectAsync(_options, ClientName, SetState, timeout.Token).ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is SocketException or IOException or SidecarProtocolException or OperationCanceledException)
        {
            if (!_stopping.IsCancellationRequested)
            {
                var reason = exception is OperationCanceledException ? $"no greeting within {_options.ConnectTimeout}" : exception.Message;
                if (failures == 0)
                {
                    LogConnectFailed(_options.SocketPath, reason);
                }
                else
                {
                    LogConnectFailedAgain(_options.SocketPath, failures + 1, reason);
                }
            }

            return null;
        }
    }

    private async Task ServeAsync(SidecarSession session)
    {
        LogConnected(_options.SocketPath, session.Daemon, session.Epoch, session.Credits);
        lock (_gate)
        {
            _session = session;
            _connected.TrySetResult(session);
        }

        if (_state is null)
        {
            _state = new GpuSidecarState(session.Epoch, Ready: false, Draining: false, "has not told its state yet");
            StateChanged?.Invoke(_state);
        }

        _instruments.Connected(true);
        await session.Completion.WaitAsync(_stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await session.DisposeAsync().ConfigureAwait(false);
        lock (_gate)
        {
            _session = null;
            _connected = NewSignal();
        }

        _instruments.Connected(false);
        if (_stopping.IsCancellationRequested)
        {
            LogClosed(_options.SocketPath);
        }
        else
        {
            LogDisconnected(_options.SocketPath, session.CloseReason);
        }

        SetState(null);
    }

    private TimeSpan PauseAfter(int failures)
    {
        var factor = Math.Pow(2, Math.Clamp(failures - 1, 0, 20));
        var pause = Math.Min(_options.ReconnectDelay.TotalMilliseconds * factor, _options.MaxReconnectDelay.TotalMilliseconds);
        return TimeSpan.FromMilliseconds(pause * (0.5 + Random.Shared.NextDouble() / 2));
    }

    private void SetState(GpuSidecarState? state)
    {
        _state = state;
        if (state is not null)
        {
            LogState(state.Epoch, state.Ready, state.Draining, state.Cause);
        }

        StateChanged?.Invoke(state);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "gpu-sidecar {SocketPath} connected daemon {Daemon} epoch {Epoch} credits {Credits}")]
    private partial void LogConnected(string socketPath, string daemon, ulong epoch, int credits);

    [LoggerMessage(Level = LogLevel.Information, Message = "gpu-sidecar {SocketPath} closed")]
    private partial void LogClosed(string socketPath);

    [LoggerMessage(Level = LogLevel.Warning, Message = "gpu-sidecar {SocketPath} connection lost reason {Reason}")]
    private partial void LogDisconnected(string socketPath, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "gpu-sidecar {SocketPath} connect failed, trying on, reason {Reason}")]
    private partial void LogConnectFailed(string socketPath, string reason);

    [LoggerMessage(Level = LogLevel.Debug, Message = "gpu-sidecar {SocketPath} connect failed attempts {Attempts} reason {Reason}")]
    private partial void LogConnectFailedAgain(string socketPath, int attempts, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "gpu-sidecar state epoch {Epoch} ready {Ready} draining {Draining} cause {Cause}")]
    private partial void LogState(ulong epoch, bool ready, bool draining, string cause);
}
