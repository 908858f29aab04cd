using System.Buffers.Binary;
using System.Text;

namespace Orleans.GpuSidecar.Protocol;

/// <summary>
/// Reads the part of msgpack that the socket protocol uses. Every length is compared with the bytes
/// left before it is used; signed integers, maps and ext types are refused.
/// </summary>
internal ref struct MsgpackReader(ReadOnlySpan<byte> data)
{
    /// <summary>Arrays inside the frame's own array may nest this deep.</summary>
    public const int MaxDepth = 4;

    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private ReadOnlySpan<byte> _rest = data;

    public readonly int Left => _rest.Length;

    /// <summary>The count of the elements that follow: never more than the bytes left.</summary>
    public int ReadArrayHeader()
    {
        var tag = Take(1)[0];
        uint count = tag switch
        {
            >= 0x90 and <= 0x9f => tag & 0x0fu,
            0xdc => BinaryPrimitives.ReadUInt16BigEndian(Take(2)),
            0xdd => BinaryPrimitives.ReadUInt32BigEndian(Take(4)),
            _ => throw Unexpected(tag, "an array"),
        };
        if (count > (uint)_rest.Length)
        {
            throw new SidecarProtocolException($"array of {count} elements in {_rest.Length} bytes");
        }

        return (int)count;
    }

    public ulong ReadUInt64()
    {
        var tag = Take(1)[0];
        return tag switch
        {
            <= 0x7f => tag,
            0xcc => Take(1)[0],
            0xcd => BinaryPrimitives.ReadUInt16BigEndian(Take(2)),
            0xce => BinaryPrimitives.ReadUInt32BigEndian(Take(4)),
            0xcf => BinaryPrimitives.ReadUInt64BigEndian(Take(8)),
            _ => throw Unexpected(tag, "an unsigned integer"),
        };
    }

    public uint ReadUInt32() => (uint)ReadUInt64(uint.MaxValue);

    public ushort ReadUInt16() => (ushort)ReadUInt64(ushort.MaxValue);

    public bool ReadBoolean()
    {
        var tag = Take(1)[0];
        return tag switch
        {
            0xc2 => false,
            0xc3 => true,
            _ => throw Unexpected(tag, "a boolean"),
        };
    }

    /// <summary>The bytes of a bin or str value; borrowed from the input.</summary>
    public ReadOnlySpan<byte> ReadBytes()
    {
        var tag = Take(1)[0];
        uint length = tag switch
        {
            >= 0xa0 and <= 0xbf => tag & 0x1fu,
            0xc4 or 0xd9 => Take(1)[0],
            0xc5 or 0xda => BinaryPrimitives.ReadUInt16BigEndian(Take(2)),
            0xc6 or 0xdb => BinaryPrimitives.ReadUInt32BigEndian(Take(4)),
            _ => throw Unexpected(tag, "bin or str"),
        };
        return Take(length);
    }

    public string ReadString()
    {
        var bytes = ReadBytes();
        try
        {
            return StrictUtf8.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            throw new SidecarProtocolException("text that is not UTF-8");
        }
    }

    /// <summary>Passes over elements that a newer daemon added at the end of an array.</summary>
    public void Skip(int count, int depth)
    {
        for (; count > 0; count--)
        {
            SkipOne(depth);
        }
    }

    public readonly void ExpectEnd()
    {
        if (!_rest.IsEmpty)
        {
            throw new SidecarProtocolException($"{_rest.Length} bytes after the frame's array");
        }
    }

    private void SkipOne(int depth)
    {
        var tag = Peek();
        switch (tag)
        {
            case <= 0x7f or 0xc0 or 0xc2 or 0xc3:
                Take(1);
                break;
            case (>= 0x90 and <= 0x9f) or 0xdc or 0xdd:
                if (depth >= MaxDepth)
                {
                    throw new SidecarProtocolException($"arrays nested deeper than {MaxDepth}");
                }

                Skip(ReadArrayHeader(), depth + 1);
                break;
            case (>= 0xa0 and <= 0xbf) or (>= 0xc4 and <= 0xc6) or (>= 0xd9 and <= 0xdb):
                ReadBytes();
                break;
            case >= 0xcc and <= 0xcf:
                ReadUInt64();
                break;
            case 0xca:
                Take(5);
                break;
            case 0xcb:
                Take(9);
                break;
            default:
                throw Unexpected(tag, "a value the protocol has");
        }
    }

    private ulong ReadUInt64(ulong max)
    {
        var value = ReadUInt64();
        return value <= max ? value : throw new SidecarProtocolException($"integer {value} over {max}");
    }

    private readonly byte Peek() =>
        _rest.IsEmpty ? throw new SidecarProtocolException("frame ends inside a value") : _rest[0];

    private ReadOnlySpan<byte> Take(uint count)
    {
        if (count > (uint)_rest.Length)
        {
            throw new SidecarProtocolException("frame ends inside a value");
        }

        var taken = _rest[..(int)count];
        _rest = _rest[(int)count..];
        return taken;
    }

    private static SidecarProtocolException Unexpected(byte tag, string wanted) =>
        new($"msgpack tag 0x{tag:x2} where {wanted} belongs");
}
