using System.Buffers.Binary;
using System.Text;

namespace Orleans.GpuSidecar.Protocol;

/// <summary>Writes msgpack into a span that the caller has made large enough.</summary>
internal ref struct MsgpackWriter(Span<byte> destination)
{
    /// <summary>The most bytes an integer or the head of a str, bin or array takes.</summary>
    public const int MaxHead = 9;

    private readonly Span<byte> _destination = destination;

    public int Length { get; private set; }

    /// <summary>Counts up to 15: all that the protocol sends.</summary>
    public void WriteArrayHeader(int count)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)count, 15u);
        Byte((byte)(0x90 | count));
    }

    public void WriteUInt(ulong value)
    {
        switch (value)
        {
            case <= 0x7f:
                Byte((byte)value);
                break;
            case <= byte.MaxValue:
                Byte(0xcc);
                Byte((byte)value);
                break;
            case <= ushort.MaxValue:
                Byte(0xcd);
                UInt16((ushort)value);
                break;
            case <= uint.MaxValue:
                Byte(0xce);
                UInt32((uint)value);
                break;
            default:
                Byte(0xcf);
                BinaryPrimitives.WriteUInt64BigEndian(_destination[Length..], value);
                Length += 8;
                break;
        }
    }

    public void WriteBoolean(bool value) => Byte(value ? (byte)0xc3 : (byte)0xc2);

    /// <summary>The head of a bin value; its bytes follow.</summary>
    public void WriteBinHeader(int length)
    {
        switch (length)
        {
            case <= byte.MaxValue:
                Byte(0xc4);
                Byte((byte)length);
                break;
            case <= ushort.MaxValue:
                Byte(0xc5);
                UInt16((ushort)length);
                break;
            default:
                Byte(0xc6);
                UInt32((uint)length);
                break;
        }
    }

    public void WriteBin(ReadOnlySpan<byte> value)
    {
        WriteBinHeader(value.Length);
        value.CopyTo(_destination[Length..]);
        Length += value.Length;
    }

    public void WriteString(string value)
    {
        var length = Encoding.UTF8.GetByteCount(value);
        switch (length)
        {
            case <= 31:
                Byte((byte)(0xa0 | length));
                break;
            case <= byte.MaxValue:
                Byte(0xd9);
                Byte((byte)length);
                break;
            case <= ushort.MaxValue:
                Byte(0xda);
                UInt16((ushort)length);
                break;
            default:
                Byte(0xdb);
                UInt32((uint)length);
                break;
        }

        Length += Encoding.UTF8.GetBytes(value, _destination[Length..]);
    }

    private void Byte(byte value) => _destination[Length++] = value;

    private void UInt16(ushort value)
    {
        BinaryPrimitives.WriteUInt16BigEndian(_destination[Length..], value);
        Length += 2;
    }

    private void UInt32(uint value)
    {
        BinaryPrimitives.WriteUInt32BigEndian(_destination[Length..], value);
        Length += 4;
    }
}
