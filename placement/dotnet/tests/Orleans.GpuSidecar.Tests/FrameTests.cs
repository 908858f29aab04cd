using System.Buffers;
using System.Buffers.Binary;
using Orleans.GpuSidecar.Protocol;
using Xunit;

namespace Orleans.GpuSidecar.Tests;

public sealed class FrameTests
{
    /// <summary>One frame of every kind that a daemon sends, by name.</summary>
    public static TheoryData<string> FrameNames => new(Frames.Keys.ToArray());

    private static readonly Dictionary<string, byte[]> Frames = new()
    {
        ["HelloOk"] = [0x96, 0xcc, 129, 1, 0xa4, (byte)'f', (byte)'a', (byte)'k', (byte)'e', 7, 0xcd, 4, 0, 0xce, 0, 0xff, 0xff, 0xff],
        ["Activated"] = [0x95, 0xcc, 130, 5, 0xcf, 1, 2, 3, 4, 5, 6, 7, 8, 7, 0xc3],
        ["Ok"] = [0x92, 0xcc, 131, 5],
        ["Reply"] = [0x93, 0xcc, 132, 5, 0xc4, 3, 1, 2, 3],
        ["Error"] = [0x94, 0xcc, 133, 5, 0xcd, 1, 0, 0xa2, (byte)'n', (byte)'o'],
        ["CapacityReport"] = [0x9d, 0xcc, 134, 5, 7, 0xc3, 0xc2, 1, 2, 3, 4, 5, 6, 8, 0xa3, (byte)'c', (byte)'p', (byte)'u'],
        ["KernelList"] = [0x93, 0xcc, 135, 5, 0x91, 0x95, 0xa4, (byte)'e', (byte)'c', (byte)'h', (byte)'o', 0xa1, (byte)'1', 0xc3, 0xa0, 0x91, 0x92, 0xa1, (byte)'E', 1],
        ["State"] = [0x95, 0xcc, 136, 8, 0xc2, 0xc3, 0xa1, (byte)'x'],
    };

    [Fact]
    public void Every_frame_of_the_daemon_is_read()
    {
        Assert.Equal(new HelloOkFrame(1, "fake", 7, 1024, 0xffffff), ServerFrame.Decode(Frames["HelloOk"]));
        Assert.Equal(new ActivatedFrame(5, 0x0102030405060708, 7, true), ServerFrame.Decode(Frames["Activated"]));
        Assert.Equal(new OkFrame(5), ServerFrame.Decode(Frames["Ok"]));
        Assert.Equal([1, 2, 3], Assert.IsType<ReplyFrame>(ServerFrame.Decode(Frames["Reply"])).Payload);
        Assert.Equal(new ErrorFrame(5, 0x100, "no"), ServerFrame.Decode(Frames["Error"]));
        Assert.Equal(new StateFrame(new GpuSidecarState(8, false, true, "x")), ServerFrame.Decode(Frames["State"]));
        var capacity = Assert.IsType<CapacityReportFrame>(ServerFrame.Decode(Frames["CapacityReport"])).Capacity;
        Assert.Equal(
            new GpuCapacity { Epoch = 7, Ready = true, Grains = 1, GrainsMax = 2, Calls = 3, CallsMax = 4, HeapUsed = 5, Heap = 6, P95Microseconds = 8, Device = "cpu" },
            capacity);
        var kernel = Assert.Single(Assert.IsType<KernelListFrame>(ServerFrame.Decode(Frames["KernelList"])).Kernels);
        Assert.Equal(("echo", "1", true, ""), (kernel.Id, kernel.Version, kernel.Ok, kernel.Error));
        Assert.Equal(1, kernel.Messages["E"]);
    }

    [Theory]
    [MemberData(nameof(FrameNames))]
    public void A_frame_cut_short_anywhere_is_refused(string name)
    {
        var frame = Frames[name];
        for (var length = 0; length < frame.Length; length++)
        {
            Assert.Throws<SidecarProtocolException>(() => ServerFrame.Decode(frame.AsSpan(0, length)));
        }
    }

    [Theory]
    [MemberData(nameof(FrameNames))]
    public void Bytes_after_a_frame_are_refused(string name) =>
        Assert.Throws<SidecarProtocolException>(() => ServerFrame.Decode([.. Frames[name], 0]));

    [Theory]
    [MemberData(nameof(FrameNames))]
    public void Elements_that_a_newer_daemon_adds_are_ignored(string name)
    {
        byte[] frame = [.. Frames[name]];
        frame[0]++;
        Assert.Equal(ServerFrame.Decode(Frames[name])!.GetType(), ServerFrame.Decode([.. frame, 0x92, 0xc0, 0xa1, (byte)'x'])!.GetType());
    }

    [Theory]
    [MemberData(nameof(FrameNames))]
    public void A_frame_with_any_byte_changed_is_read_or_refused_and_nothing_else(string name)
    {
        for (var at = 0; at < Frames[name].Length; at++)
        {
            for (var value = 0; value <= byte.MaxValue; value++)
            {
                byte[] frame = [.. Frames[name]];
                frame[at] = (byte)value;
                try
                {
                    ServerFrame.Decode(frame);
                }
                catch (SidecarProtocolException)
                {
                    // Refused.
                }
            }
        }
    }

    [Fact]
    public void Random_bytes_are_read_or_refused_and_nothing_else()
    {
        var random = new Random(20260821);
        var bytes = new byte[64];
        for (var round = 0; round < 200_000; round++)
        {
            var length = random.Next(bytes.Length);
            random.NextBytes(bytes.AsSpan(0, length));
            if (length > 3)
            {
                bytes[0] = (byte)(0x90 | random.Next(16));
                bytes[1] = 0xcc;
                bytes[2] = (byte)(129 + random.Next(8));
            }

            try
            {
                ServerFrame.Decode(bytes.AsSpan(0, length));
            }
            catch (SidecarProtocolException)
            {
                // Refused.
            }
        }
    }

    [Fact]
    public void An_unknown_kind_is_passed_over() => Assert.Null(ServerFrame.Decode([0x92, 0xcc, 200, 1]));

    [Theory]
    [InlineData("a map", new byte[] { 0x93, 0xcc, 131, 5, 0x80 })]
    [InlineData("an ext", new byte[] { 0x93, 0xcc, 131, 5, 0xd4, 1, 1 })]
    [InlineData("an ext 8", new byte[] { 0x93, 0xcc, 131, 5, 0xc7, 0, 1 })]
    [InlineData("a signed integer", new byte[] { 0x92, 0xcc, 131, 0xd0, 5 })]
    [InlineData("a negative integer", new byte[] { 0x92, 0xcc, 131, 0xff })]
    [InlineData("the tag that msgpack never uses", new byte[] { 0x93, 0xcc, 131, 5, 0xc1 })]
    [InlineData("arrays five deep", new byte[] { 0x93, 0xcc, 131, 5, 0x91, 0x91, 0x91, 0x91, 0x91, 0 })]
    [InlineData("a boolean that is a number", new byte[] { 0x95, 0xcc, 130, 5, 6, 7, 1 })]
    [InlineData("text that is not UTF-8", new byte[] { 0x94, 0xcc, 133, 5, 1, 0xa1, 0xff })]
    [InlineData("a u32 of 33 bits", new byte[] { 0x94, 0xcc, 133, 5, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0, 0xa0 })]
    [InlineData("no array", new byte[] { 0xcc, 131 })]
    [InlineData("an empty array", new byte[] { 0x90 })]
    [InlineData("too few elements", new byte[] { 0x91, 0xcc, 131 })]
    [InlineData("2^32-1 elements", new byte[] { 0xdd, 0xff, 0xff, 0xff, 0xff, 0xcc, 131, 5 })]
    [InlineData("2^32-1 kernels", new byte[] { 0x93, 0xcc, 135, 5, 0xdd, 0xff, 0xff, 0xff, 0xff })]
    [InlineData("65535 kernels", new byte[] { 0x93, 0xcc, 135, 5, 0xdc, 0xff, 0xff })]
    [InlineData("a payload of 2^32-1 bytes", new byte[] { 0x93, 0xcc, 132, 5, 0xc6, 0xff, 0xff, 0xff, 0xff })]
    public void What_the_protocol_has_not_is_refused(string what, byte[] frame)
    {
        var exception = Record.Exception(() => ServerFrame.Decode(frame));
        Assert.True(exception is SidecarProtocolException, $"{what}: {exception}");
    }

    [Fact]
    public void Arrays_four_deep_are_passed_over() =>
        Assert.Equal(new OkFrame(5), ServerFrame.Decode([0x93, 0xcc, 131, 5, 0x91, 0x91, 0x91, 0x91, 0]));

    [Theory]
    [InlineData(0ul)]
    [InlineData(127ul)]
    [InlineData(128ul)]
    [InlineData(255ul)]
    [InlineData(256ul)]
    [InlineData(65535ul)]
    [InlineData(65536ul)]
    [InlineData(uint.MaxValue)]
    [InlineData(uint.MaxValue + 1ul)]
    [InlineData(ulong.MaxValue)]
    public void An_integer_comes_back(ulong value)
    {
        Span<byte> bytes = stackalloc byte[MsgpackWriter.MaxHead];
        var writer = new MsgpackWriter(bytes);
        writer.WriteUInt(value);
        Assert.Equal(value, new MsgpackReader(bytes[..writer.Length]).ReadUInt64());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(31)]
    [InlineData(32)]
    [InlineData(255)]
    [InlineData(256)]
    [InlineData(65535)]
    [InlineData(65536)]
    public void Text_and_bytes_come_back(int length)
    {
        var bytes = new byte[2 * (length + MsgpackWriter.MaxHead)];
        var writer = new MsgpackWriter(bytes);
        writer.WriteString(new string('x', length));
        writer.WriteBin(new byte[length]);
        var reader = new MsgpackReader(bytes.AsSpan(0, writer.Length));
        Assert.Equal(new string('x', length), reader.ReadString());
        Assert.Equal(length, reader.ReadBytes().Length);
        Assert.Equal(0, reader.Left);
    }

    [Fact]
    public void Frames_of_the_client_are_as_documented()
    {
        Assert.Equal([0x94, 1, 1, 0xa1, (byte)'c', 0xa1, (byte)'t'], Body(new HelloFrame("c", "t"), 0));
        Assert.Equal([0x96, 2, 9, 0xa1, (byte)'k', 0xc4, 2, 1, 2, 0xcd, 1, 0, 0xc4, 1, 3], Body(new ActivateFrame("k", new byte[] { 1, 2 }, 256, new byte[] { 3 }), 9));
        Assert.Equal([0x93, 3, 9, 0xcc, 200], Body(new DeactivateFrame(200), 9));
        Assert.Equal([0x96, 4, 9, 0xcc, 200, 1, 0xcd, 0x27, 0x10, 0xc4, 1, 3], Body(new CallFrame(200, 1, new byte[] { 3 }), 9, 10000));
        Assert.Equal([0x94, 5, 0xcc, 200, 1, 0xc4, 1, 3], Body(new SendFrame(200, 1, new byte[] { 3 }), 9));
        Assert.Equal([0x92, 6, 9], Body(new CancelFrame(9), 0));
        Assert.Equal([0x92, 7, 9], Body(default(CapacityFrame), 9));
        Assert.Equal([0x92, 8, 9], Body(default(KernelsFrame), 9));
        Assert.Equal([0x91, 9], Body(default(GoodbyeFrame), 9));
    }

    private static byte[] Body<TFrame>(TFrame frame, ulong id, uint deadlineMs = 0)
        where TFrame : struct, IClientFrame
    {
        var output = new ArrayBufferWriter<byte>();
        frame.Write(output, id, deadlineMs);
        var body = output.WrittenSpan[4..].ToArray();
        Assert.Equal((uint)body.Length, BinaryPrimitives.ReadUInt32LittleEndian(output.WrittenSpan));
        Assert.InRange(body.Length, 1, frame.SizeBound);
        return body;
    }
}
