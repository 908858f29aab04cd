namespace Orleans.GpuSidecar;

/// <summary>
/// The silo's connection to its gpu-sidecar. It connects by itself and again when it is lost;
/// requests wait for it until their deadline. All members may be called from any thread.
/// </summary>
public interface IGpuSidecarConnection
{
    /// <summary>What the daemon last said of itself, or null while there is no connection.</summary>
    GpuSidecarState? State { get; }

    /// <summary>Raised when <see cref="State"/> changed; its argument is the new value. Handlers must not block.</summary>
    event Action<GpuSidecarState?>? StateChanged;

    /// <summary>Finds or creates a K-Grain on the device.</summary>
    /// <param name="kernel">The kernel's id.</param>
    /// <param name="key">The K-Grain's key.</param>
    /// <param name="stateBytes">The size of its state; 0 takes the size of the kernel's manifest. Counts only where it is created.</param>
    /// <param name="init">What the kernel gets to initialise the state. Counts only where it is created.</param>
    /// <param name="deadline">The time it may take; <see cref="GpuSidecarOptions.DefaultDeadline"/> where null.</param>
    /// <param name="cancellationToken">Takes the request back.</param>
    /// <returns>What calls are addressed with.</returns>
    Task<KGrainHandle> ActivateAsync(string kernel, string key, int stateBytes = 0, ReadOnlyMemory<byte> init = default, TimeSpan? deadline = null, CancellationToken cancellationToken = default);

    /// <summary>Removes a K-Grain from the device. Does nothing where the handle is no longer current.</summary>
    /// <param name="grain">The K-Grain.</param>
    /// <param name="cancellationToken">Takes the request back.</param>
    /// <returns>A task that ends when it is gone.</returns>
    Task DeactivateAsync(KGrainHandle grain, CancellationToken cancellationToken = default);

    /// <summary>Sends a message to a K-Grain and waits for its reply.</summary>
    /// <param name="grain">The K-Grain.</param>
    /// <param name="type">The message type of the kernel's manifest.</param>
    /// <param name="payload">The message; not to be changed until the task ends.</param>
    /// <param name="deadline">The time it may take; <see cref="GpuSidecarOptions.DefaultDeadline"/> where null.</param>
    /// <param name="cancellationToken">Takes the request back.</param>
    /// <returns>The reply.</returns>
    Task<byte[]> CallAsync(KGrainHandle grain, int type, ReadOnlyMemory<byte> payload, TimeSpan? deadline = null, CancellationToken cancellationToken = default);

    /// <summary>Sends a message that has no reply.</summary>
    /// <param name="grain">The K-Grain.</param>
    /// <param name="type">The message type of the kernel's manifest.</param>
    /// <param name="payload">The message; not to be changed until the task ends.</param>
    /// <param name="cancellationToken">Takes the request back.</param>
    /// <returns>A task that ends when the message is on its way.</returns>
    Task SendAsync(KGrainHandle grain, int type, ReadOnlyMemory<byte> payload, CancellationToken cancellationToken = default);

    /// <summary>Asks the daemon how much room it has.</summary>
    /// <param name="cancellationToken">Takes the request back.</param>
    /// <returns>The daemon's report.</returns>
    Task<GpuCapacity> GetCapacityAsync(CancellationToken cancellationToken = default);

    /// <summary>Asks the daemon for its kernels.</summary>
    /// <param name="cancellationToken">Takes the request back.</param>
    /// <returns>All it knows, the broken ones too.</returns>
    Task<IReadOnlyList<GpuKernelInfo>> GetKernelsAsync(CancellationToken cancellationToken = default);
}

/// <summary>What a daemon says of itself.</summary>
/// <param name="Epoch">Grows when the device's worker was started anew; every handle from before is void then.</param>
/// <param name="Ready">The device serves.</param>
/// <param name="Draining">The daemon is on its way down.</param>
/// <param name="Cause">Why it is not ready, or an empty string.</param>
public sealed record GpuSidecarState(ulong Epoch, bool Ready, bool Draining, string Cause);

/// <summary>A kernel of the daemon's catalog.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Version">Its version.</param>
/// <param name="Ok">It can be used.</param>
/// <param name="Error">Why it cannot.</param>
/// <param name="Messages">Message types by name.</param>
public sealed record GpuKernelInfo(string Id, string Version, bool Ok, string Error, IReadOnlyDictionary<string, int> Messages);

/// <summary>How much room a daemon has.</summary>
[GenerateSerializer, Immutable, Alias("gpu.capacity")]
public sealed record GpuCapacity
{
    /// <summary>Grows when the device's worker was started anew.</summary>
    [Id(0)]
    public ulong Epoch { get; init; }

    /// <summary>The device serves.</summary>
    [Id(1)]
    public bool Ready { get; init; }

    /// <summary>The daemon is on its way down.</summary>
    [Id(2)]
    public bool Draining { get; init; }

    /// <summary>K-Grains on the device.</summary>
    [Id(3)]
    public uint Grains { get; init; }

    /// <summary>The most K-Grains the device takes.</summary>
    [Id(4)]
    public uint GrainsMax { get; init; }

    /// <summary>Calls in flight.</summary>
    [Id(5)]
    public uint Calls { get; init; }

    /// <summary>The most calls in flight.</summary>
    [Id(6)]
    public uint CallsMax { get; init; }

    /// <summary>Bytes of the device's heap in use.</summary>
    [Id(7)]
    public ulong HeapUsed { get; init; }

    /// <summary>Bytes of the device's heap.</summary>
    [Id(8)]
    public ulong Heap { get; init; }

    /// <summary>The 95th percentile of the time from a message's submission to its completion.</summary>
    [Id(9)]
    public uint P95Microseconds { get; init; }

    /// <summary>The device's name; begins with <c>cpu</c> where CPU threads stand in for a GPU.</summary>
    [Id(10)]
    public string Device { get; init; } = "";

    /// <summary>The device is a GPU, not CPU threads that stand in for one.</summary>
    public bool IsGpu => Device.Length > 0 && !Device.StartsWith("cpu", StringComparison.OrdinalIgnoreCase);

    /// <summary>Another K-Grain could start here now.</summary>
    public bool HasFreeSlot => Ready && !Draining && Grains < GrainsMax;
}

/// <summary>
/// The address of one K-Grain on the device, from <see cref="IGpuSidecarConnection.ActivateAsync"/>. It is
/// void after the connection is lost or the device's worker was started anew.
/// </summary>
public sealed class KGrainHandle
{
    internal KGrainHandle(SidecarSession session, string kernel, string key, ulong address, ulong epoch, bool created)
    {
        Session = session;
        Kernel = kernel;
        Key = key;
        Address = address;
        Epoch = epoch;
        Created = created;
    }

    /// <summary>The kernel's id.</summary>
    public string Kernel { get; }

    /// <summary>The K-Grain's key.</summary>
    public string Key { get; }

    /// <summary>The daemon's epoch when the K-Grain was activated.</summary>
    public ulong Epoch { get; }

    /// <summary>The activation created the K-Grain; false where it found one that was there.</summary>
    public bool Created { get; }

    internal ulong Address { get; }

    internal SidecarSession Session { get; }
}
