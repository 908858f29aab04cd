using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Orleans.GpuSidecar.Diagnostics;

/// <summary>The meter and the activity source, both named <see cref="Name"/>. No grain key is ever a tag.</summary>
internal sealed class GpuSidecarInstruments : IDisposable
{
    public const string Name = "Orleans.GpuSidecar";

    public static readonly ActivitySource ActivitySource = new(Name);

    private readonly Meter _meter;
    private readonly bool _ownsMeter;
    private readonly Counter<long> _sends;
    private readonly Counter<long> _connects;
    private readonly Counter<long> _placements;
    private readonly Counter<long> _reactivations;
    private readonly Counter<long> _events;
    private readonly UpDownCounter<long> _inFlight;
    private readonly Histogram<double> _duration;
    private int _connected;

    public GpuSidecarInstruments(IMeterFactory? meterFactory = null)
    {
        _ownsMeter = meterFactory is null;
        _meter = meterFactory?.Create(Name) ?? new Meter(Name);
        _sends = _meter.CreateCounter<long>("gpu-sidecar-sends", "{message}", "One-way messages to K-Grains, by kernel.");
        _connects = _meter.CreateCounter<long>("gpu-sidecar-connects", "{connection}", "Connections made to the daemon.");
        _placements = _meter.CreateCounter<long>("gpu-sidecar-placements", "{activation}", "Placement decisions, by what they were based on.");
        _reactivations = _meter.CreateCounter<long>("gpu-sidecar-reactivations", "{activation}", "K-Grains activated again because their address had become void, by kernel.");
        _events = _meter.CreateCounter<long>("gpu-sidecar-events", "{event}", "Stream events published for kernels, by provider.");
        _inFlight = _meter.CreateUpDownCounter<long>("gpu-sidecar-calls-in-flight", "{call}", "Calls to K-Grains that wait for their reply.");
        _duration = _meter.CreateHistogram<double>("gpu-sidecar-call-duration", "ms", "Time of a call to a K-Grain, by kernel and outcome.");
        _meter.CreateObservableGauge("gpu-sidecar-connected", () => Volatile.Read(ref _connected), "{connection}", "1 while the daemon is connected.");
    }

    public static string OutcomeOf(Exception exception) => exception switch
    {
        GpuUnavailableException => "unavailable",
        GpuBusyException => "busy",
        GpuDeadlineException => "deadline",
        KernelFaultException => "kernel",
        KGrainNotActiveException or KernelNotFoundException => "not_found",
        OperationCanceledException => "cancelled",
        _ => "error",
    };

    public long CallStarted()
    {
        _inFlight.Add(1);
        return Stopwatch.GetTimestamp();
    }

    public void CallEnded(long start, string kernel, string outcome)
    {
        _inFlight.Add(-1);
        if (_duration.Enabled)
        {
            _duration.Record(Stopwatch.GetElapsedTime(start).TotalMilliseconds, new("kernel", kernel), new("outcome", outcome));
        }
    }

    public void Sent(string kernel) => _sends.Add(1, new KeyValuePair<string, object?>("kernel", kernel));

    public void Reactivated(string kernel) => _reactivations.Add(1, new KeyValuePair<string, object?>("kernel", kernel));

    public void Placed(string reason) => _placements.Add(1, new KeyValuePair<string, object?>("reason", reason));

    public void Published(string provider, int count) => _events.Add(count, new KeyValuePair<string, object?>("provider", provider));

    public void Connected(bool connected)
    {
        Volatile.Write(ref _connected, connected ? 1 : 0);
        if (connected)
        {
            _connects.Add(1);
        }
    }

    public void Dispose()
    {
        if (_ownsMeter)
        {
            _meter.Dispose();
        }
    }
}
