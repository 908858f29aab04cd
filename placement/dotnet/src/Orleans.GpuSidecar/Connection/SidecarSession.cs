using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.IO.Pipelines;
using System.Net.Sockets;
using Orleans.GpuSidecar.Protocol;

namespace Orleans.GpuSidecar;

/// <summary>
/// One connection to the daemon from its greeting to its end. Requests are pipelined: each takes a
/// credit, writes its frame and waits for the answer with its id. The credit comes back with the
/// answer, also where the caller no longer waits for it, because the daemon counts the same way.
/// </summary>
internal sealed class SidecarSession : IAsyncDisposable
{
    private const int GreetingFrameMax = 64 << 10;

    private readonly Socket _socket;
    private readonly PipeReader _input;
    private readonly Pipe _output;

    /// <summary>
    /// Held while a request waits for its credit and is written: whoever asked first is sent first.
    /// What must not wait for credits, CANCEL and GOODBYE, takes the write gate alone.
    /// </summary>
    private readonly SemaphoreSlim _order = new(1, 1);
    private readonly SemaphoreSlim _writeGate = new(1, 1);
    private readonly ConcurrentDictionary<ulong, PendingRequest> _pending = new();
    private readonly CancellationTokenSource _closed = new();
    private readonly Action<GpuSidecarState> _onState;
    private readonly SemaphoreSlim _credits;
    private readonly int _maxFrame;
    private readonly Task _sending;
    private readonly Task _receiving;
    private string _closeReason = "";
    private volatile bool _ended;
    private int _closing;
    private ulong _lastId;
    private ulong _epoch;

    private SidecarSession(Socket socket, PipeReader input, HelloOkFrame greeting, GpuSidecarOptions options, Action<GpuSidecarState> onState)
    {
        _socket = socket;
        _input = input;
        _onState = onState;
        _epoch = greeting.Epoch;
        Daemon = greeting.Daemon;
        _maxFrame = (int)Math.Min(greeting.MaxFrame, (uint)options.MaxFrameBytes);
        Credits = (int)Math.Min(greeting.Credits, (uint)options.CallCredits);
        _credits = new SemaphoreSlim(Credits, Credits);
        _output = new Pipe(new PipeOptions(
            pauseWriterThreshold: options.OutputBufferBytes,
            resumeWriterThreshold: options.OutputBufferBytes / 2,
            useSynchronizationContext: false));
        _sending = Task.Run(SendLoopAsync);
        _receiving = Task.Run(ReceiveLoopAsync);
    }

    /// <summary>What the daemon calls itself.</summary>
    public string Daemon { get; }

    public int Credits { get; }

    public ulong Epoch => Volatile.Read(ref _epoch);

    public bool IsClosed => _closed.IsCancellationRequested;

    public string CloseReason => _closeReason;

    /// <summary>Ends when the connection has ended, for whatever reason; never faults.</summary>
    public Task Completion => Task.WhenAll(_sending, _receiving);

    /// <summary>Connects, greets and waits for the greeting.</summary>
    public static async Task<SidecarSession> ConnectAsync(GpuSidecarOptions options, string client, Action<GpuSidecarState> onState, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(options.SocketPath), cancellationToken).ConfigureAwait(false);
            var hello = new ArrayBufferWriter<byte>();
            new HelloFrame(client, options.Tenant).Write(hello, 0, 0);
            for (var rest = hello.WrittenMemory; !rest.IsEmpty;)
            {
                rest = rest[await socket.SendAsync(rest, cancellationToken).ConfigureAwait(false)..];
            }

            var input = PipeReader.Create(new NetworkStream(socket, ownsSocket: false), new StreamPipeReaderOptions(bufferSize: 32 << 10));
            var greeting = await ReadGreetingAsync(input, cancellationToken).ConfigureAwait(false);
            return new SidecarSession(socket, input, greeting, options, onState);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Sends a request and waits for its answer; an error answer is thrown.</summary>
    public async Task<AnswerFrame> RequestAsync<TFrame>(TFrame frame, RequestTarget target, Deadline deadline, CancellationToken cancellationToken)
        where TFrame : struct, IClientFrame
    {
        CheckSize(frame, target);
        var pending = new PendingRequest();
        ulong id;
        await EnterAsync(_order, target, deadline, cancellationToken).ConfigureAwait(false);
        try
        {
            await EnterAsync(_credits, target, deadline, cancellationToken).ConfigureAwait(false);
            id = ++_lastId;
            _pending[id] = pending;
            try
            {
                await WriteAsync(frame, id, target, deadline, cancellationToken).ConfigureAwait(false);
            }
            catch
            {
                if (_pending.TryRemove(id, out _))
                {
                    _credits.Release();
                }

                throw;
            }
        }
        finally
        {
            _order.Release();
        }

        if (IsClosed && _pending.TryRemove(id, out _))
        {
            throw SidecarError.Lost(target, _closeReason, sent: true);
        }

        AnswerFrame? answer;
        try
        {
            answer = await pending.Task.WaitAsync(deadline.Left, cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            Abandon(id);
            throw SidecarError.DeadlinePassed(target, deadline.Total);
        }
        catch (OperationCanceledException)
        {
            Abandon(id);
            throw;
        }

        return answer switch
        {
            null => throw SidecarError.Lost(target, _closeReason, sent: true),
            ErrorFrame error => throw SidecarError.ToException(error, target),
            _ => answer,
        };
    }

    /// <summary>Sends a frame that has no answer, after the requests before it; ends when it is in the output buffer.</summary>
    public async Task PostAsync<TFrame>(TFrame frame, RequestTarget target, Deadline deadline, CancellationToken cancellationToken)
        where TFrame : struct, IClientFrame
    {
        CheckSize(frame, target);
        await EnterAsync(_order, target, deadline, cancellationToken).ConfigureAwait(false);
        try
        {
            await WriteAsync(frame, id: 0, target, deadline, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _order.Release();
        }
    }

    /// <summary>Says goodbye and gives the daemon a moment to finish what is in flight.</summary>
    public async ValueTask DisposeAsync()
    {
        var goodbye = new RequestTarget("goodbye");
        try
        {
            await EnterAsync(_writeGate, goodbye, Deadline.After(TimeSpan.FromSeconds(1)), CancellationToken.None).ConfigureAwait(false);
            try
            {
                _ended = true;
                default(GoodbyeFrame).Write(_output.Writer, 0, 0);
                await _output.Writer.CompleteAsync().ConfigureAwait(false);
            }
            finally
            {
                _writeGate.Release();
            }

            await Completion.WaitAsync(TimeSpan.FromSeconds(2)).ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is GpuSidecarException or TimeoutException)
        {
            // The daemon is gone already, or does not read: nothing is left to say to it.
        }

        Close("closed by the silo");
        await Completion.ConfigureAwait(false);
    }

    private static async Task<HelloOkFrame> ReadGreetingAsync(PipeReader input, CancellationToken cancellationToken)
    {
        while (true)
        {
            var result = await input.ReadAsync(cancellationToken).ConfigureAwait(false);
            var buffer = result.Buffer;
            var got = TryReadFrame(ref buffer, GreetingFrameMax, out var frame);
            input.AdvanceTo(buffer.Start, got ? buffer.Start : buffer.End);
            switch (frame)
            {
                case HelloOkFrame { Version: not HelloFrame.Version } hello:
                    throw new SidecarProtocolException($"the daemon speaks version {hello.Version} of the protocol, this package {HelloFrame.Version}");
                case HelloOkFrame { Credits: 0 } or HelloOkFrame { MaxFrame: 0 }:
                    throw new SidecarProtocolException("the daemon allows no requests");
                case HelloOkFrame hello:
                    return hello;
                case ErrorFrame error:
                    throw new SidecarProtocolException($"the daemon refused the connection: {error.Text} (0x{error.Code:x})");
                case not null:
                    throw new SidecarProtocolException($"{frame.GetType().Name} before the greeting");
            }

            if (!got && result.IsCompleted)
            {
                throw new SidecarProtocolException("the daemon closed the connection before its greeting");
            }
        }
    }

    private static bool TryReadFrame(ref ReadOnlySequence<byte> buffer, int maxFrame, out ServerFrame? frame)
    {
        frame = null;
        if (buffer.Length < ClientFrame.Prefix)
        {
            return false;
        }

        Span<byte> prefix = stackalloc byte[ClientFrame.Prefix];
        buffer.Slice(0, ClientFrame.Prefix).CopyTo(prefix);
        var length = BinaryPrimitives.ReadUInt32LittleEndian(prefix);
        if (length == 0 || length > (uint)maxFrame)
        {
            throw new SidecarProtocolException($"frame of {length} bytes, limit {maxFrame}");
        }

        if (buffer.Length - ClientFrame.Prefix < length)
        {
            return false;
        }

        var body = buffer.Slice(ClientFrame.Prefix, length);
        buffer = buffer.Slice(body.End);
        if (body.IsSingleSegment)
        {
            frame = ServerFrame.Decode(body.FirstSpan);
            return true;
        }

        var copy = ArrayPool<byte>.Shared.Rent((int)length);
        try
        {
            body.CopyTo(copy);
            frame = ServerFrame.Decode(copy.AsSpan(0, (int)length));
            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(copy);
        }
    }

    private void CheckSize<TFrame>(TFrame frame, RequestTarget target)
        where TFrame : struct, IClientFrame
    {
        if (frame.SizeBound > _maxFrame)
        {
            throw SidecarError.TooLargeFrame(target, frame.SizeBound, _maxFrame);
        }
    }

    private async Task WriteAsync<TFrame>(TFrame frame, ulong id, RequestTarget target, Deadline deadline, CancellationToken cancellationToken)
        where TFrame : struct, IClientFrame
    {
        await EnterAsync(_writeGate, target, deadline, cancellationToken).ConfigureAwait(false);
        var flush = default(ValueTask<FlushResult>);
        try
        {
            if (IsClosed || _ended)
            {
                throw SidecarError.Lost(target, _closeReason, sent: false);
            }

            frame.Write(_output.Writer, id, deadline.LeftMilliseconds);
            flush = _output.Writer.FlushAsync(_closed.Token);
        }
        finally
        {
            if (flush.IsCompleted)
            {
                _writeGate.Release();
            }
            else
            {
                // The buffer is full. This frame is in it; those that come next wait at the gate.
                _ = ReleaseAfterAsync(flush);
            }
        }
    }

    private async Task ReleaseAfterAsync(ValueTask<FlushResult> flush)
    {
        try
        {
            await flush.ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Closed: whoever waits at the gate sees it.
        }

        _writeGate.Release();
    }

    private async Task EnterAsync(SemaphoreSlim gate, RequestTarget target, Deadline deadline, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (IsClosed)
        {
            throw SidecarError.Lost(target, _closeReason, sent: false);
        }

        if (gate.Wait(0, CancellationToken.None))
        {
            return;
        }

        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _closed.Token);
        try
        {
            if (!await gate.WaitAsync(deadline.Left, either.Token).ConfigureAwait(false))
            {
                throw SidecarError.DeadlinePassed(target, deadline.Total);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw SidecarError.Lost(target, _closeReason, sent: false);
        }
    }

    /// <summary>The caller no longer waits: tells the daemon; the entry stays until the daemon has answered.</summary>
    private void Abandon(ulong id) => _ = CancelAsync(id);

    private async Task CancelAsync(ulong id)
    {
        try
        {
            await WriteAsync(new CancelFrame(id), id: 0, new RequestTarget("cancel"), Deadline.After(TimeSpan.FromSeconds(10)), CancellationToken.None).ConfigureAwait(false);
        }
        catch (GpuSidecarException)
        {
            // The connection is gone, and the call with it.
        }
    }

    private async Task SendLoopAsync()
    {
        var reader = _output.Reader;
        try
        {
            while (true)
            {
                var result = await reader.ReadAsync(_closed.Token).ConfigureAwait(false);
                foreach (var segment in result.Buffer)
                {
                    for (var rest = segment; !rest.IsEmpty;)
                    {
                        rest = rest[await _socket.SendAsync(rest, SocketFlags.None, _closed.Token).ConfigureAwait(false)..];
                    }
                }

                reader.AdvanceTo(result.Buffer.End);
                if (result.IsCompleted)
                {
                    break;
                }
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            Close(exception.Message);
        }

        await reader.CompleteAsync().ConfigureAwait(false);
    }

    private async Task ReceiveLoopAsync()
    {
        try
        {
            while (true)
            {
                var result = await _input.ReadAsync(_closed.Token).ConfigureAwait(false);
                var buffer = result.Buffer;
                while (TryReadFrame(ref buffer, _maxFrame, out var frame))
                {
                    Handle(frame);
                }

                _input.AdvanceTo(buffer.Start, buffer.End);
                if (result.IsCompleted)
                {
                    Close("closed by the daemon");
                    break;
                }
            }
        }
        catch (Exception exception) when (exception is IOException or SocketException or ObjectDisposedException or OperationCanceledException or SidecarProtocolException)
        {
            Close(exception.Message);
        }
        catch (Exception exception)
        {
            Close($"{exception.GetType().Name}: {exception.Message}");
        }

        await _input.CompleteAsync().ConfigureAwait(false);
    }

    private void Handle(ServerFrame? frame)
    {
        switch (frame)
        {
            case ErrorFrame { Id: 0 } error:
                throw new SidecarProtocolException($"the daemon ended the connection: {error.Text} (0x{error.Code:x})");
            case AnswerFrame answer:
                if (_pending.TryRemove(answer.Id, out var pending))
                {
                    _credits.Release();
                    pending.TrySetResult(answer);
                }

                break;
            case StateFrame state:
                Volatile.Write(ref _epoch, state.State.Epoch);
                _onState(state.State);
                break;
            case HelloOkFrame:
                throw new SidecarProtocolException("a second greeting");
        }
    }

    private void Close(string reason)
    {
        if (Interlocked.Exchange(ref _closing, 1) != 0)
        {
            return;
        }

        _closeReason = reason;
        _closed.Cancel();
        _socket.Dispose();
        foreach (var (id, _) in _pending)
        {
            if (_pending.TryRemove(id, out var pending))
            {
                pending.TrySetResult(null);
            }
        }
    }

    /// <summary>Ends with the answer, or with null when the connection was lost first.</summary>
    private sealed class PendingRequest() : TaskCompletionSource<AnswerFrame?>(TaskCreationOptions.RunContinuationsAsynchronously);
}

/// <summary>A point in time that a request must not pass.</summary>
internal readonly struct Deadline
{
    private readonly long _at;

    private Deadline(TimeSpan total)
    {
        Total = total;
        _at = Environment.TickCount64 + (long)Math.Ceiling(total.TotalMilliseconds);
    }

    public TimeSpan Total { get; }

    public TimeSpan Left => TimeSpan.FromMilliseconds(Math.Max(0, _at - Environment.TickCount64));

    /// <summary>For the wire, where 0 would mean the daemon's default.</summary>
    public uint LeftMilliseconds => (uint)Math.Clamp(_at - Environment.TickCount64, 1, uint.MaxValue);

    public static Deadline After(TimeSpan time) => new(time);
}
