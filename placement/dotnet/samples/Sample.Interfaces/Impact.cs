using System.Buffers.Binary;
using Orleans.GpuSidecar;
using Orleans.Runtime;

namespace Sample;

/// <summary>The kernel <c>impact</c>: what breaks when a package is removed?</summary>
public static class Impact
{
    /// <summary>The kernel's id, its grains' type and the namespace of its events.</summary>
    public const string Kernel = "impact";

    /// <summary>The message type of the question.</summary>
    public const int ImpactMessage = 1;

    /// <summary>The grain of a package, on a silo or in the daemon's own gateway.</summary>
    public static IKGrain GetPackage(this IGrainFactory grains, string package) =>
        grains.GetGrain<IKGrain>(GrainId.Create(Kernel, package));

    /// <summary>Asks what breaks when the package is removed.</summary>
    public static async Task<ImpactReply> ImpactAsync(this IKGrain package) =>
        ImpactReply.Read(await package.CallAsync(ImpactMessage, []));
}

/// <summary>The kernel's answer; the packages themselves arrive as stream events.</summary>
/// <param name="Packages">How many break, the removed one not counted.</param>
/// <param name="Depth">The longest chain from the removed one to one that breaks.</param>
/// <param name="Messages">Messages between grains that it took.</param>
public readonly record struct ImpactReply(uint Packages, uint Depth, ulong Messages)
{
    private const int Bytes = 24;

    /// <summary>Reads the kernel's bytes.</summary>
    public static ImpactReply Read(ReadOnlySpan<byte> reply) =>
        reply.Length < Bytes
            ? throw new FormatException($"an answer of {reply.Length} bytes where the kernel impact gives {Bytes}")
            : new ImpactReply(
                BinaryPrimitives.ReadUInt32LittleEndian(reply),
                BinaryPrimitives.ReadUInt32LittleEndian(reply[4..]),
                BinaryPrimitives.ReadUInt64LittleEndian(reply[8..]));
}
