using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using Orleans.GpuSidecar.Protocol;

namespace Orleans.GpuSidecar.Tests.Support;

/// <summary>The daemon's side of the socket protocol, with a kernel "echo" whose message types say what happens.</summary>
internal sealed class FakeDaemon : IAsyncDisposable
{
    public const int Echo = 1;
    public const int Hold = 2;
    public const int Fault = 3;
    public const int Unavailable = 4;

    private readonly ConcurrentDictionary<Connection, Task> _connections = new();
    private readonly ConcurrentDictionary<(string Kernel, string Key), ulong> _grains = new();
    private Socket? _listener;
    private Task _accepting = Task.CompletedTask;
    private ulong _lastGrain = 1000;

    public FakeDaemon(string path)
    {
        Path = path;
        Start();
    }

    public string Path { get; }

    public ulong Epoch { get; private set; } = 1;

    public uint Credits { get; init; } = 1024;

    public uint MaxFrame { get; set; } = (16 << 20) - 1;

    public GpuCapacity Capacity { get; set; } = new() { Ready = true, GrainsMax = 100, CallsMax = 100, Device = "cpu" };

    public int MostInFlight { get; private set; }

    public ConcurrentQueue<string> Received { get; } = new();

    public ConcurrentQueue<byte[]> Calls { get; } = new();

    public ConcurrentQueue<byte[]> Sends { get; } = new();

    public ConcurrentQueue<byte[]> Inits { get; } = new();

    public int GrainCount => _grains.Count;

    public int Accepted { get; private set; }

    public bool Has(string kernel, string key) => _grains.ContainsKey((kernel, key));

    public void Start()
    {
        File.Delete(Path);
        _listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        _listener.Bind(new UnixDomainSocketEndPoint(Path));
        _listener.Listen();
        _accepting = AcceptAsync(_listener);
    }

    /// <summary>As if killed: the connections end at once and the grains are gone.</summary>
    public async Task KillAsync()
    {
        _listener?.Dispose();
        File.Delete(Path);
        foreach (var connection in _connections.Keys)
        {
            connection.Socket.Dispose();
        }

        await _accepting;
        await Task.WhenAll(_connections.Values);
        _grains.Clear();
    }

    /// <summary>As if the device's worker had been started anew.</summary>
    public void RestartWorker()
    {
        Epoch++;
        _grains.Clear();
        PushState(Capacity.Ready, draining: false, "");
    }

    public void PushState(bool ready, bool draining, string cause)
    {
        Capacity = Capacity with { Ready = ready, Draining = draining };
        foreach (var connection in _connections.Keys)
        {
            connection.Send(5, (ref MsgpackWriter w) =>
            {
                w.WriteUInt((ulong)FrameKind.State);
                w.WriteUInt(Epoch);
                w.WriteBoolean(ready);
                w.WriteBoolean(draining);
                w.WriteString(cause);
            });
        }
    }

    /// <summary>Answers the calls of type <see cref="Hold"/>.</summary>
    public void Release()
    {
        foreach (var connection in _connections.Keys)
        {
            foreach (var (id, payload) in connection.Held)
            {
                if (connection.Held.TryRemove(id, out _))
                {
                    Reply(connection, id, payload);
                }
            }
        }
    }

    /// <summary>Sends bytes as they are to every connection.</summary>
    public void SendRaw(params byte[] bytes)
    {
        foreach (var connection in _connections.Keys)
        {
            connection.SendRaw(bytes);
        }
    }

    public int HeldCalls => _connections.Keys.Sum(static connection => connection.Held.Count);

    public async ValueTask DisposeAsync() => await KillAsync();

    private async Task AcceptAsync(Socket listener)
    {
        try
        {
            while (true)
            {
                var connection = new Connection(await listener.AcceptAsync());
                Accepted++;
                _connections[connection] = ServeAsync(connection);
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            // Killed.
        }
    }

    private async Task ServeAsync(Connection connection)
    {
        await Task.Yield();
        try
        {
            var stream = new NetworkStream(connection.Socket, ownsSocket: true);
            var prefix = new byte[4];
            while (true)
            {
                await stream.ReadExactlyAsync(prefix);
                var body = new byte[BinaryPrimitives.ReadUInt32LittleEndian(prefix)];
                await stream.ReadExactlyAsync(body);
                if (!Handle(connection, body))
                {
                    break;
                }
            }
        }
        catch (Exception exception) when (exception is IOException or SocketException or ObjectDisposedException)
        {
            // The client left, or we were killed.
        }

        connection.Socket.Dispose();
        _connections.TryRemove(connection, out _);
    }

    private bool Handle(Connection connection, byte[] body)
    {
        var reader = new MsgpackReader(body);
        reader.ReadArrayHeader();
        var kind = (FrameKind)reader.ReadUInt64();
        Received.Enqueue(kind.ToString());
        switch (kind)
        {
            case FrameKind.Hello:
                connection.Send(6, (ref MsgpackWriter w) =>
                {
                    w.WriteUInt((ulong)FrameKind.HelloOk);
                    w.WriteUInt(1);
                    w.WriteString("fake");
                    w.WriteUInt(Epoch);
                    w.WriteUInt(Credits);
                    w.WriteUInt(MaxFrame);
                });
                break;
            case FrameKind.Activate:
                Activate(connection, reader.ReadUInt64(), reader.ReadString(), Encoding.UTF8.GetString(reader.ReadBytes()), reader.ReadUInt32(), reader.ReadBytes().ToArray());
                break;
            case FrameKind.Deactivate:
                Deactivate(connection, reader.ReadUInt64(), reader.ReadUInt64());
                break;
            case FrameKind.Call:
                Call(connection, reader.ReadUInt64(), reader.ReadUInt64(), reader.ReadUInt16(), reader.ReadUInt32(), reader.ReadBytes().ToArray());
                break;
            case FrameKind.Send:
                reader.ReadUInt64();
                reader.ReadUInt16();
                Sends.Enqueue(reader.ReadBytes().ToArray());
                break;
            case FrameKind.Cancel:
                var cancelled = reader.ReadUInt64();
                if (connection.Held.TryRemove(cancelled, out _))
                {
                    Error(connection, cancelled, SidecarError.Cancelled, "cancelled");
                }

                break;
            case FrameKind.Capacity:
                ReportCapacity(connection, reader.ReadUInt64());
                break;
            case FrameKind.Kernels:
                ListKernels(connection, reader.ReadUInt64());
                break;
            case FrameKind.Goodbye:
                return false;
        }

        return true;
    }

    private void Activate(Connection connection, ulong id, string kernel, string key, uint stateBytes, byte[] init)
    {
        if (kernel != "echo")
        {
            Error(connection, id, SidecarError.NotFound, $"kernel {kernel}");
            return;
        }

        if (!Capacity.Ready)
        {
            Error(connection, id, SidecarError.Unavailable, "not ready");
            return;
        }

        Inits.Enqueue(init);
        var created = false;
        var grain = _grains.GetOrAdd((kernel, key), _ =>
        {
            created = true;
            return Interlocked.Increment(ref _lastGrain);
        });
        connection.Send(5, (ref MsgpackWriter w) =>
        {
            w.WriteUInt((ulong)FrameKind.Activated);
            w.WriteUInt(id);
            w.WriteUInt(grain);
            w.WriteUInt(Epoch);
            w.WriteBoolean(created);
        });
    }

    private void Deactivate(Connection connection, ulong id, ulong grain)
    {
        var entry = _grains.FirstOrDefault(entry => entry.Value == grain);
        if (entry.Value == 0)
        {
            Error(connection, id, SidecarError.NotFound, "no such grain");
            return;
        }

        _grains.TryRemove(entry);
        connection.Send(2, (ref MsgpackWriter w) =>
        {
            w.WriteUInt((ulong)FrameKind.Ok);
            w.WriteUInt(id);
        });
    }

    private void Call(Connection connection, ulong id, ulong grain, ushort type, uint deadlineMs, byte[] payload)
    {
        if (!_grains.Any(entry => entry.Value == grain))
        {
            Error(connection, id, SidecarError.NotFound, "no such grain");
            return;
        }

        Calls.Enqueue(payload);
        switch (type)
        {
            case Echo:
                Reply(connection, id, payload);
                break;
            case Hold:
                connection.Held[id] = payload;
                MostInFlight = Math.Max(MostInFlight, connection.Held.Count);
                break;
            case Fault:
                Error(connection, id, SidecarError.Kernel, "divided by zero");
                break;
            case Unavailable:
                Error(connection, id, SidecarError.Unavailable, "restarting");
                break;
            default:
                Error(connection, id, SidecarError.Argument, $"no message type {type}, deadline {deadlineMs}");
                break;
        }
    }

    private void ReportCapacity(Connection connection, ulong id) =>
        connection.Send(13, (ref MsgpackWriter w) =>
        {
            w.WriteUInt((ulong)FrameKind.CapacityReport);
            w.WriteUInt(id);
            w.WriteUInt(Epoch);
            w.WriteBoolean(Capacity.Ready);
            w.WriteBoolean(Capacity.Draining);
            w.WriteUInt(Math.Max(Capacity.Grains, (uint)_grains.Count));
            w.WriteUInt(Capacity.GrainsMax);
            w.WriteUInt(Capacity.Calls);
            w.WriteUInt(Capacity.CallsMax);
            w.WriteUInt(Capacity.HeapUsed);
            w.WriteUInt(Capacity.Heap);
            w.WriteUInt(Capacity.P95Microseconds);
            w.WriteString(Capacity.Device);
        });

    private static void ListKernels(Connection connection, ulong id) =>
        connection.Send(3, (ref MsgpackWriter w) =>
        {
            w.WriteUInt((ulong)FrameKind.KernelList);
            w.WriteUInt(id);
            w.WriteArrayHeader(1);
            w.WriteArrayHeader(5);
            w.WriteString("echo");
            w.WriteString("1.0.0");
            w.WriteBoolean(true);
            w.WriteString("");
            w.WriteArrayHeader(1);
            w.WriteArrayHeader(2);
            w.WriteString("Echo");
            w.WriteUInt(Echo);
        });

    private static void Reply(Connection connection, ulong id, byte[] payload) =>
        connection.Send(3, (ref MsgpackWriter w) =>
        {
            w.WriteUInt((ulong)FrameKind.Reply);
            w.WriteUInt(id);
            w.WriteBin(payload);
        }, payload.Length);

    private static void Error(Connection connection, ulong id, uint code, string text) =>
        connection.Send(4, (ref MsgpackWriter w) =>
        {
            w.WriteUInt((ulong)FrameKind.Error);
            w.WriteUInt(id);
            w.WriteUInt(code);
            w.WriteString(text);
        });

    private delegate void WriteElements(ref MsgpackWriter writer);

    private sealed class Connection(Socket socket)
    {
        private readonly object _gate = new();

        public Socket Socket { get; } = socket;

        public ConcurrentDictionary<ulong, byte[]> Held { get; } = new();

        public void Send(int count, WriteElements elements, int payload = 0)
        {
            var frame = new byte[1024 + payload];
            var writer = new MsgpackWriter(frame.AsSpan(4));
            writer.WriteArrayHeader(count);
            elements(ref writer);
            BinaryPrimitives.WriteUInt32LittleEndian(frame, (uint)writer.Length);
            SendRaw(frame.AsSpan(0, writer.Length + 4));
        }

        public void SendRaw(ReadOnlySpan<byte> bytes)
        {
            try
            {
                lock (_gate)
                {
                    while (!bytes.IsEmpty)
                    {
                        bytes = bytes[Socket.Send(bytes)..];
                    }
                }
            }
            catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
            {
                // The client left.
            }
        }
    }
}
