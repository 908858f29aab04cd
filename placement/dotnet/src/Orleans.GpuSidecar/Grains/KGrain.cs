using System.Reflection;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans.Concurrency;
using Orleans.GpuSidecar.Diagnostics;
using Orleans.Runtime;

namespace Orleans.GpuSidecar;

/// <summary>
/// Base of the grains whose state lives on the device and whose messages a kernel handles. A derived
/// class carries <see cref="KGrainAttribute"/>, and <see cref="GrainTypeAttribute"/> with the kernel's id
/// where clients without a silo should find it under the same name. It may implement further grain
/// interfaces on <see cref="AskAsync"/> and <see cref="TellAsync"/>.
/// </summary>
/// <remarks>
/// It is reentrant: while a call waits for the device, others run, and the kernel is what handles
/// messages one at a time and in order. Members that a derived class adds in C# must allow for that.
/// </remarks>
[Reentrant, GpuPlacement]
public abstract partial class KGrain : Grain, IKGrain
{
    private readonly KGrainAttribute _attribute;
    private IGpuSidecarConnection? _connection;
    private GpuSidecarInstruments? _instruments;
    private GpuSidecarOptions? _options;
    private ILogger? _logger;
    private KGrainHandle? _handle;
    private Task<KGrainHandle>? _activation;

    /// <summary>Creates an instance.</summary>
    protected KGrain()
    {
        _attribute = GetType().GetCustomAttribute<KGrainAttribute>()
            ?? throw new InvalidOperationException($"{GetType().FullName} derives from {nameof(KGrain)} and has no [KGrain(\"kernel\")].");
    }

    private IGpuSidecarConnection Connection => _connection ??= ServiceProvider.GetService<IGpuSidecarConnection>()
        ?? throw new InvalidOperationException("This silo has no GPU sidecar: call siloBuilder.AddGpuSidecar().");

    private GpuSidecarInstruments Instruments => _instruments ??= ServiceProvider.GetRequiredService<GpuSidecarInstruments>();

    private GpuSidecarOptions Options => _options ??= ServiceProvider.GetRequiredService<IOptions<GpuSidecarOptions>>().Value;

    private ILogger Logger => _logger ??= ServiceProvider.GetRequiredService<ILoggerFactory>().CreateLogger(GetType());

    /// <summary>Finds or creates the K-Grain on the device. An override calls it.</summary>
    /// <param name="cancellationToken">Orleans gave up on the activation.</param>
    /// <returns>A task that ends when the K-Grain is there.</returns>
    public override async Task OnActivateAsync(CancellationToken cancellationToken)
    {
        await base.OnActivateAsync(cancellationToken);
        _handle = await ActivateAsync(cancellationToken);
    }

    /// <summary>Removes the K-Grain from the device, unless it is to be kept there. An override calls it.</summary>
    /// <param name="reason">Why the grain is deactivated.</param>
    /// <param name="cancellationToken">Orleans does not wait any longer.</param>
    /// <returns>A task that ends when the K-Grain is gone.</returns>
    public override async Task OnDeactivateAsync(DeactivationReason reason, CancellationToken cancellationToken)
    {
        var handle = _handle;
        _handle = null;
        if (handle is not null && !_attribute.KeepOnDevice && !Options.KeepOnDevice)
        {
            try
            {
                await Connection.DeactivateAsync(handle, cancellationToken);
            }
            catch (Exception exception) when (exception is GpuSidecarException or OperationCanceledException)
            {
                LogDeactivateFailed(Logger, handle.Kernel, handle.Key, exception.Message);
            }
        }

        await base.OnDeactivateAsync(reason, cancellationToken);
    }

    /// <inheritdoc/>
    public virtual Task<byte[]> CallAsync(int type, byte[] payload) => AskAsync(type, payload);

    /// <inheritdoc/>
    public virtual Task SendAsync(int type, byte[] payload) => TellAsync(type, payload);

    /// <summary>What the kernel gets to initialise the state of a K-Grain that is created; empty unless overridden.</summary>
    /// <param name="cancellationToken">The activation was given up.</param>
    /// <returns>The bytes.</returns>
    protected virtual ValueTask<ReadOnlyMemory<byte>> GetInitAsync(CancellationToken cancellationToken) => default;

    /// <summary>Called when the K-Grain was found or created, at first and after each time it was lost.</summary>
    /// <param name="created">True: its state is what <see cref="GetInitAsync"/> gave. False: it was there already, with its state.</param>
    /// <returns>A task; calls that need the activation wait for it. It must not call the K-Grain.</returns>
    protected virtual Task OnDeviceActivatedAsync(bool created) => Task.CompletedTask;

    /// <summary>Sends a message to the kernel and waits for its reply.</summary>
    /// <param name="type">The message type of the kernel's manifest, 0 to 65535.</param>
    /// <param name="payload">The message; not to be changed until the task ends.</param>
    /// <param name="deadline">The time it may take; <see cref="GpuSidecarOptions.DefaultDeadline"/> where null.</param>
    /// <param name="cancellationToken">Takes the call back.</param>
    /// <returns>The reply.</returns>
    protected Task<byte[]> AskAsync(int type, ReadOnlyMemory<byte> payload, TimeSpan? deadline = null, CancellationToken cancellationToken = default) =>
        OnDeviceAsync(handle => Connection.CallAsync(handle, type, payload, deadline, cancellationToken), cancellationToken);

    /// <summary>Sends a message that has no reply to the kernel.</summary>
    /// <param name="type">The message type of the kernel's manifest, 0 to 65535.</param>
    /// <param name="payload">The message; not to be changed until the task ends.</param>
    /// <param name="cancellationToken">Takes the message back.</param>
    /// <returns>A task that ends when the message is on its way.</returns>
    protected Task TellAsync(int type, ReadOnlyMemory<byte> payload, CancellationToken cancellationToken = default) =>
        OnDeviceAsync(
            async handle =>
            {
                await Connection.SendAsync(handle, type, payload, cancellationToken);
                return true;
            },
            cancellationToken);

    private async Task<T> OnDeviceAsync<T>(Func<KGrainHandle, Task<T>> request, CancellationToken cancellationToken)
    {
        for (var again = false; ; again = true)
        {
            var handle = _handle ?? await (_activation ??= ReactivateAsync()).WaitAsync(cancellationToken);
            try
            {
                return await request(handle);
            }
            catch (KGrainNotActiveException) when (!again && _attribute.Reactivate)
            {
                // It did not run. The first of the calls that come here starts the activation.
                if (ReferenceEquals(_handle, handle))
                {
                    _handle = null;
                }
            }
            catch (KGrainNotActiveException)
            {
                DeactivateOnIdle();
                throw;
            }
        }
    }

    private async Task<KGrainHandle> ReactivateAsync()
    {
        // Let the field hold this task before it can end.
        await Task.Yield();
        try
        {
            Instruments.Reactivated(_attribute.Kernel);
            var handle = await ActivateAsync(CancellationToken.None);
            LogReactivated(Logger, handle.Kernel, handle.Key, handle.Created);
            _handle = handle;
            return handle;
        }
        catch (GpuSidecarException)
        {
            DeactivateOnIdle();
            throw;
        }
        finally
        {
            _activation = null;
        }
    }

    private async Task<KGrainHandle> ActivateAsync(CancellationToken cancellationToken)
    {
        var init = await GetInitAsync(cancellationToken);
        var key = this.GetPrimaryKeyString();
        var handle = await Connection.ActivateAsync(_attribute.Kernel, key, _attribute.StateBytes, init, deadline: null, cancellationToken);
        await OnDeviceActivatedAsync(handle.Created);
        return handle;
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "k-grain {Kernel}/{Key} was gone from the device, activated again created {Created}")]
    private static partial void LogReactivated(ILogger logger, string kernel, string key, bool created);

    [LoggerMessage(Level = LogLevel.Warning, Message = "k-grain {Kernel}/{Key} could not be removed from the device reason {Reason}")]
    private static partial void LogDeactivateFailed(ILogger logger, string kernel, string key, string reason);
}
