namespace Orleans.GpuSidecar.Protocol;

/// <summary>A frame from the daemon. Nothing in it borrows from the bytes it was read from.</summary>
internal abstract record ServerFrame
{
    /// <summary>Reads what follows the length prefix of one frame.</summary>
    /// <returns>The frame, or null for a kind that this version does not know.</returns>
    /// <exception cref="SidecarProtocolException">The bytes are not a frame.</exception>
    public static ServerFrame? Decode(ReadOnlySpan<byte> bytes)
    {
        var reader = new MsgpackReader(bytes);
        var left = reader.ReadArrayHeader();
        if (left == 0)
        {
            throw new SidecarProtocolException("empty frame");
        }

        var kind = reader.ReadUInt64();
        left--;
        ServerFrame? frame = null;
        switch (kind)
        {
            case (ulong)FrameKind.HelloOk:
                Need(5);
                frame = new HelloOkFrame(reader.ReadUInt32(), reader.ReadString(), reader.ReadUInt64(), reader.ReadUInt32(), reader.ReadUInt32());
                break;
            case (ulong)FrameKind.Activated:
                Need(4);
                frame = new ActivatedFrame(reader.ReadUInt64(), reader.ReadUInt64(), reader.ReadUInt64(), reader.ReadBoolean());
                break;
            case (ulong)FrameKind.Ok:
                Need(1);
                frame = new OkFrame(reader.ReadUInt64());
                break;
            case (ulong)FrameKind.Reply:
                Need(2);
                frame = new ReplyFrame(reader.ReadUInt64(), reader.ReadBytes().ToArray());
                break;
            case (ulong)FrameKind.Error:
                Need(3);
                frame = new ErrorFrame(reader.ReadUInt64(), reader.ReadUInt32(), reader.ReadString());
                break;
            case (ulong)FrameKind.CapacityReport:
                Need(12);
                frame = new CapacityReportFrame(reader.ReadUInt64(), new GpuCapacity
                {
                    Epoch = reader.ReadUInt64(),
                    Ready = reader.ReadBoolean(),
                    Draining = reader.ReadBoolean(),
                    Grains = reader.ReadUInt32(),
                    GrainsMax = reader.ReadUInt32(),
                    Calls = reader.ReadUInt32(),
                    CallsMax = reader.ReadUInt32(),
                    HeapUsed = reader.ReadUInt64(),
                    Heap = reader.ReadUInt64(),
                    P95Microseconds = reader.ReadUInt32(),
                    Device = reader.ReadString(),
                });
                break;
            case (ulong)FrameKind.KernelList:
                Need(2);
                frame = new KernelListFrame(reader.ReadUInt64(), ReadKernels(ref reader));
                break;
            case (ulong)FrameKind.State:
                Need(4);
                frame = new StateFrame(new GpuSidecarState(reader.ReadUInt64(), reader.ReadBoolean(), reader.ReadBoolean(), reader.ReadString()));
                break;
        }

        reader.Skip(left, depth: 0);
        reader.ExpectEnd();
        return frame;

        void Need(int count)
        {
            if (left < count)
            {
                throw new SidecarProtocolException($"frame of kind {kind} with {left} elements where {count} belong");
            }

            left -= count;
        }
    }

    private static List<GpuKernelInfo> ReadKernels(ref MsgpackReader reader)
    {
        var kernels = new List<GpuKernelInfo>();
        for (var n = reader.ReadArrayHeader(); n > 0; n--)
        {
            var left = reader.ReadArrayHeader();
            if (left < 5)
            {
                throw new SidecarProtocolException($"kernel with {left} elements where 5 belong");
            }

            var id = reader.ReadString();
            var version = reader.ReadString();
            var ok = reader.ReadBoolean();
            var error = reader.ReadString();
            kernels.Add(new GpuKernelInfo(id, version, ok, error, ReadMessages(ref reader)));
            reader.Skip(left - 5, depth: 2);
        }

        return kernels;
    }

    private static Dictionary<string, int> ReadMessages(ref MsgpackReader reader)
    {
        var messages = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var n = reader.ReadArrayHeader(); n > 0; n--)
        {
            var left = reader.ReadArrayHeader();
            if (left < 2)
            {
                throw new SidecarProtocolException($"message with {left} elements where 2 belong");
            }

            var name = reader.ReadString();
            messages[name] = reader.ReadUInt16();
            reader.Skip(left - 2, depth: 4);
        }

        return messages;
    }
}

/// <summary>A frame that ends the request with its id.</summary>
internal abstract record AnswerFrame(ulong Id) : ServerFrame;

internal sealed record HelloOkFrame(uint Version, string Daemon, ulong Epoch, uint Credits, uint MaxFrame) : ServerFrame;

internal sealed record ActivatedFrame(ulong Id, ulong Grain, ulong Epoch, bool Created) : AnswerFrame(Id);

internal sealed record OkFrame(ulong Id) : AnswerFrame(Id);

internal sealed record ReplyFrame(ulong Id, byte[] Payload) : AnswerFrame(Id);

internal sealed record ErrorFrame(ulong Id, uint Code, string Text) : AnswerFrame(Id);

internal sealed record CapacityReportFrame(ulong Id, GpuCapacity Capacity) : AnswerFrame(Id);

internal sealed record KernelListFrame(ulong Id, IReadOnlyList<GpuKernelInfo> Kernels) : AnswerFrame(Id);

internal sealed record StateFrame(GpuSidecarState State) : ServerFrame;
