using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Orleans.GpuSidecar.Protocol;

/// <summary>The kinds of frames, as docs/socket-protocol.md numbers them.</summary>
internal enum FrameKind : byte
{
    Hello = 1,
    Activate = 2,
    Deactivate = 3,
    Call = 4,
    Send = 5,
    Cancel = 6,
    Capacity = 7,
    Kernels = 8,
    Goodbye = 9,
    HelloOk = 129,
    Activated = 130,
    Ok = 131,
    Reply = 132,
    Error = 133,
    CapacityReport = 134,
    KernelList = 135,
    State = 136,
}

/// <summary>A frame on its way to the daemon.</summary>
internal interface IClientFrame
{
    /// <summary>Not less than the bytes after the length prefix.</summary>
    long SizeBound { get; }

    /// <summary>Writes the whole frame, prefix included.</summary>
    void Write(IBufferWriter<byte> output, ulong id, uint deadlineMs);
}

internal readonly record struct HelloFrame(string Client, string Tenant) : IClientFrame
{
    public const uint Version = 1;

    public long SizeBound => 4 * MsgpackWriter.MaxHead + Encoding.UTF8.GetByteCount(Client) + Encoding.UTF8.GetByteCount(Tenant);

    public void Write(IBufferWriter<byte> output, ulong id, uint deadlineMs)
    {
        var span = ClientFrame.Begin(output, SizeBound);
        var writer = new MsgpackWriter(span[ClientFrame.Prefix..]);
        writer.WriteArrayHeader(4);
        writer.WriteUInt((ulong)FrameKind.Hello);
        writer.WriteUInt(Version);
        writer.WriteString(Client);
        writer.WriteString(Tenant);
        ClientFrame.End(output, span, writer.Length, payload: 0);
    }
}

internal readonly record struct ActivateFrame(string Kernel, ReadOnlyMemory<byte> Key, uint StateBytes, ReadOnlyMemory<byte> Init) : IClientFrame
{
    private int HeadBound => 7 * MsgpackWriter.MaxHead + Encoding.UTF8.GetByteCount(Kernel) + Key.Length;

    public long SizeBound => (long)HeadBound + Init.Length;

    public void Write(IBufferWriter<byte> output, ulong id, uint deadlineMs)
    {
        var span = ClientFrame.Begin(output, HeadBound);
        var writer = new MsgpackWriter(span[ClientFrame.Prefix..]);
        writer.WriteArrayHeader(6);
        writer.WriteUInt((ulong)FrameKind.Activate);
        writer.WriteUInt(id);
        writer.WriteString(Kernel);
        writer.WriteBin(Key.Span);
        writer.WriteUInt(StateBytes);
        writer.WriteBinHeader(Init.Length);
        ClientFrame.End(output, span, writer.Length, Init.Length);
        output.Write(Init.Span);
    }
}

internal readonly record struct DeactivateFrame(ulong Grain) : IClientFrame
{
    public long SizeBound => 4 * MsgpackWriter.MaxHead;

    public void Write(IBufferWriter<byte> output, ulong id, uint deadlineMs) =>
        ClientFrame.WriteInts(output, FrameKind.Deactivate, id, Grain);
}

internal readonly record struct CallFrame(ulong Grain, ushort Type, ReadOnlyMemory<byte> Payload) : IClientFrame
{
    private const int HeadBound = 7 * MsgpackWriter.MaxHead;

    public long SizeBound => HeadBound + (long)Payload.Length;

    public void Write(IBufferWriter<byte> output, ulong id, uint deadlineMs)
    {
        var span = ClientFrame.Begin(output, HeadBound);
        var writer = new MsgpackWriter(span[ClientFrame.Prefix..]);
        writer.WriteArrayHeader(6);
        writer.WriteUInt((ulong)FrameKind.Call);
        writer.WriteUInt(id);
        writer.WriteUInt(Grain);
        writer.WriteUInt(Type);
        writer.WriteUInt(deadlineMs);
        writer.WriteBinHeader(Payload.Length);
        ClientFrame.End(output, span, writer.Length, Payload.Length);
        output.Write(Payload.Span);
    }
}

internal readonly record struct SendFrame(ulong Grain, ushort Type, ReadOnlyMemory<byte> Payload) : IClientFrame
{
    private const int HeadBound = 5 * MsgpackWriter.MaxHead;

    public long SizeBound => HeadBound + (long)Payload.Length;

    public void Write(IBufferWriter<byte> output, ulong id, uint deadlineMs)
    {
        var span = ClientFrame.Begin(output, HeadBound);
        var writer = new MsgpackWriter(span[ClientFrame.Prefix..]);
        writer.WriteArrayHeader(4);
        writer.WriteUInt((ulong)FrameKind.Send);
        writer.WriteUInt(Grain);
        writer.WriteUInt(Type);
        writer.WriteBinHeader(Payload.Length);
        ClientFrame.End(output, span, writer.Length, Payload.Length);
        output.Write(Payload.Span);
    }
}

internal readonly record struct CancelFrame(ulong Call) : IClientFrame
{
    public long SizeBound => 3 * MsgpackWriter.MaxHead;

    public void Write(IBufferWriter<byte> output, ulong id, uint deadlineMs) =>
        ClientFrame.WriteInts(output, FrameKind.Cancel, Call);
}

internal readonly record struct CapacityFrame : IClientFrame
{
    public long SizeBound => 3 * MsgpackWriter.MaxHead;

    public void Write(IBufferWriter<byte> output, ulong id, uint deadlineMs) =>
        ClientFrame.WriteInts(output, FrameKind.Capacity, id);
}

internal readonly record struct KernelsFrame : IClientFrame
{
    public long SizeBound => 3 * MsgpackWriter.MaxHead;

    public void Write(IBufferWriter<byte> output, ulong id, uint deadlineMs) =>
        ClientFrame.WriteInts(output, FrameKind.Kernels, id);
}

internal readonly record struct GoodbyeFrame : IClientFrame
{
    public long SizeBound => 2 * MsgpackWriter.MaxHead;

    public void Write(IBufferWriter<byte> output, ulong id, uint deadlineMs) =>
        ClientFrame.WriteInts(output, FrameKind.Goodbye);
}

internal static class ClientFrame
{
    public const int Prefix = sizeof(uint);

    public static Span<byte> Begin(IBufferWriter<byte> output, long bound) => output.GetSpan(Prefix + checked((int)bound));

    /// <summary>Fills in the prefix for a head of that length and a payload that follows it.</summary>
    public static void End(IBufferWriter<byte> output, Span<byte> span, int head, int payload)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(span, checked((uint)head + (uint)payload));
        output.Advance(Prefix + head);
    }

    public static void WriteInts(IBufferWriter<byte> output, FrameKind kind, params ReadOnlySpan<ulong> values)
    {
        var span = Begin(output, (values.Length + 2) * MsgpackWriter.MaxHead);
        var writer = new MsgpackWriter(span[Prefix..]);
        writer.WriteArrayHeader(values.Length + 1);
        writer.WriteUInt((ulong)kind);
        foreach (var value in values)
        {
            writer.WriteUInt(value);
        }

        End(output, span, writer.Length, payload: 0);
    }
}
