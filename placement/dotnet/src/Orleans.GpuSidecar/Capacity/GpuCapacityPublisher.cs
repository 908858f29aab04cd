using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans.Runtime;

namespace Orleans.GpuSidecar;

/// <summary>
/// Asks the daemon for its capacity, each period and whenever its state changes, and tells every
/// active silo. It begins when the silo is active; on the way down the capacity is withdrawn before
/// anything else stops.
/// </summary>
internal sealed partial class GpuCapacityPublisher : ILifecycleParticipant<ISiloLifecycle>, ISiloStatusListener
{
    private const int PeerBackoffMaxPeriods = 64;

    private readonly IGpuSidecarConnection _connection;
    private readonly GpuCapacityCache _cache;
    private readonly GpuSidecarOptions _options;
    private readonly ISiloStatusOracle _silos;
    private readonly Func<SiloAddress, IGpuCapacityService> _serviceOf;
    private readonly ILogger<GpuCapacityPublisher> _logger;
    private readonly SemaphoreSlim _wake = new(0, 1);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Dictionary<SiloAddress, Peer> _peers = [];
    private Task _running = Task.CompletedTask;
    private long _sequence;

    public GpuCapacityPublisher(
        IGpuSidecarConnection connection,
        GpuCapacityCache cache,
        IOptions<GpuSidecarOptions> options,
        ISiloStatusOracle silos,
        GpuCapacityServiceClient services,
        ILogger<GpuCapacityPublisher> logger)
    {
        _connection = connection;
        _cache = cache;
        _options = options.Value;
        _silos = silos;
        _serviceOf = services.Of;
        _logger = logger;
    }

    public void Participate(ISiloLifecycle lifecycle) =>
        lifecycle.Subscribe(nameof(GpuCapacityPublisher), ServiceLifecycleStage.Active + 1, StartAsync, StopAsync);

    public void SiloStatusChangeNotification(SiloAddress updatedSilo, SiloStatus status)
    {
        if (status.IsTerminating())
        {
            _cache.Remove(updatedSilo);
        }
        else if (status == SiloStatus.Active)
        {
            Wake();
        }
    }

    private Task StartAsync(CancellationToken cancellationToken)
    {
        _connection.StateChanged += OnStateChanged;
        _silos.SubscribeToSiloStatusEvents(this);
        _running = Task.Run(RunAsync, CancellationToken.None);
        return Task.CompletedTask;
    }

    private async Task StopAsync(CancellationToken cancellationToken)
    {
        _connection.StateChanged -= OnStateChanged;
        _silos.UnSubscribeFromSiloStatusEvents(this);
        _stopping.Cancel();
        await _running.ConfigureAwait(false);
        var report = NextReport(capacity: null, withdrawn: true);
        _cache.Offer(report);
        var told = Others().ConvertAll(silo => TellAsync(silo, PeerOf(silo), report));
        try
        {
            await Task.WhenAll(told).WaitAsync(_options.CapacityPeriod * 2, cancellationToken).ConfigureAwait(false);
            LogWithdrawn(told.Count);
        }
        catch (Exception exception) when (exception is TimeoutException or OperationCanceledException)
        {
            LogWithdrawnInPart(told.Count(static task => task.IsCompleted), told.Count);
        }
    }

    private async Task RunAsync()
    {
        while (!_stopping.IsCancellationRequested)
        {
            try
            {
                var report = NextReport(await AskDaemonAsync().ConfigureAwait(false), withdrawn: false);
                if (!_stopping.IsCancellationRequested)
                {
                    _cache.Offer(report);
                    TellOthers(report);
                }

                await _wake.WaitAsync(_options.CapacityPeriod, _stopping.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
            {
                break;
            }
            catch (Exception exception)
            {
                LogRoundFailed(exception);
                await Task.Delay(_options.CapacityPeriod, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task<GpuCapacity?> AskDaemonAsync()
    {
        if (_connection.State is null)
        {
            return null;
        }

        try
        {
            return await _connection.GetCapacityAsync(_stopping.Token).WaitAsync(_options.CapacityStaleAfter, _stopping.Token).ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is GpuSidecarException or TimeoutException)
        {
            LogAskFailed(exception.Message);
            return null;
        }
    }

    private void TellOthers(SiloGpuCapacity report)
    {
        var others = Others();
        foreach (var gone in _peers.Keys.Except(others).ToList())
        {
            _peers.Remove(gone);
        }

        foreach (var silo in others)
        {
            var peer = PeerOf(silo);

            // One report at a time: what waits in front of a slow silo is old news anyway.
            if (peer.Telling.IsCompleted && report.Sequence >= peer.NotBefore)
            {
                peer.Telling = TellAsync(silo, peer, report);
            }
        }
    }

    private async Task TellAsync(SiloAddress silo, Peer peer, SiloGpuCapacity report)
    {
        try
        {
            if (await _serviceOf(silo).ReportAsync(report).ConfigureAwait(false) is { } theirs && theirs.Silo.Equals(silo))
            {
                _cache.Offer(theirs);
            }

            peer.Failures = 0;
        }
        catch (Exception exception)
        {
            // A silo without this package, or one that is about to be declared dead.
            peer.Failures++;
            peer.NotBefore = report.Sequence + Math.Min(PeerBackoffMaxPeriods, 1L << Math.Min(peer.Failures, 30));
            LogTellFailed(silo, peer.Failures, exception.Message);
        }
    }

    private List<SiloAddress> Others() =>
        _silos.GetApproximateSiloStatuses(onlyActive: true).Keys.Where(silo => !silo.Equals(_silos.SiloAddress)).ToList();

    private Peer PeerOf(SiloAddress silo)
    {
        if (!_peers.TryGetValue(silo, out var peer))
        {
            _peers[silo] = peer = new Peer();
        }

        return peer;
    }

    private SiloGpuCapacity NextReport(GpuCapacity? capacity, bool withdrawn) =>
        new() { Silo = _silos.SiloAddress, Sequence = ++_sequence, Withdrawn = withdrawn, Capacity = capacity };

    private void OnStateChanged(GpuSidecarState? state) => Wake();

    private void Wake()
    {
        try
        {
            _wake.Release();
        }
        catch (SemaphoreFullException)
        {
            // A round is due already.
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "gpu capacity withdrawn silos {Silos}")]
    private partial void LogWithdrawn(int silos);

    [LoggerMessage(Level = LogLevel.Warning, Message = "gpu capacity withdrawn, told {Told} of {Silos} silos in time")]
    private partial void LogWithdrawnInPart(int told, int silos);

    [LoggerMessage(Level = LogLevel.Error, Message = "gpu capacity round failed")]
    private partial void LogRoundFailed(Exception exception);

    [LoggerMessage(Level = LogLevel.Debug, Message = "gpu capacity not known reason {Reason}")]
    private partial void LogAskFailed(string reason);

    [LoggerMessage(Level = LogLevel.Debug, Message = "gpu capacity silo {Silo} not told failures {Failures} reason {Reason}")]
    private partial void LogTellFailed(SiloAddress silo, int failures, string reason);

    /// <summary>How telling one silo goes. The publisher's loop only; a telling under way writes the counts.</summary>
    private sealed class Peer
    {
        public Task Telling { get; set; } = Task.CompletedTask;

        public int Failures { get; set; }

        public long NotBefore { get; set; }
    }
}
