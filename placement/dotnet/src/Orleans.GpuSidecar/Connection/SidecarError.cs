using Orleans.GpuSidecar.Protocol;

namespace Orleans.GpuSidecar;

/// <summary>The daemon's error numbers, and the exceptions they become.</summary>
internal static class SidecarError
{
    public const uint NotFound = 0x100;
    public const uint Argument = 0x101;
    public const uint TooLarge = 0x102;
    public const uint Busy = 0x103;
    public const uint Deadline = 0x104;
    public const uint Cancelled = 0x105;
    public const uint Unavailable = 0x106;
    public const uint Kernel = 0x107;

    public static Exception ToException(ErrorFrame error, in RequestTarget target)
    {
        var text = error.Text.Length > 0 ? error.Text : $"error 0x{error.Code:x}";
        GpuSidecarException exception = error.Code switch
        {
            NotFound when target.Activating => new KernelNotFoundException($"{target}: no such kernel: {text}"),
            NotFound => new KGrainNotActiveException($"{target}: not on the device: {text}"),
            Busy => new GpuBusyException($"{target}: the sidecar is full: {text}"),
            Deadline => new GpuDeadlineException($"{target}: time ran out in the sidecar: {text}"),
            Unavailable => new GpuUnavailableException($"{target}: no device serves now: {text}"),
            Kernel => new KernelFaultException($"{target}: the kernel failed: {text}"),
            Cancelled => new GpuSidecarException($"{target}: cancelled by the sidecar: {text}"),
            _ => new GpuRequestException($"{target}: refused by the sidecar: {text}"),
        };
        return Fill(exception, target, (int)error.Code);
    }

    public static GpuDeadlineException DeadlinePassed(in RequestTarget target, TimeSpan deadline) =>
        Fill(new GpuDeadlineException($"{target}: no answer within {deadline.TotalMilliseconds:0} ms"), target);

    public static GpuUnavailableException NotConnected(in RequestTarget target, string socketPath, TimeSpan deadline) =>
        Fill(new GpuUnavailableException($"{target}: no gpu-sidecar at {socketPath} within {deadline.TotalMilliseconds:0} ms"), target);

    public static GpuUnavailableException Lost(in RequestTarget target, string reason, bool sent) =>
        Fill(
            new GpuUnavailableException($"{target}: connection to gpu-sidecar lost ({reason}), {(sent ? "the request may have run" : "the request was not sent")}") { MayHaveRun = sent },
            target);

    public static GpuRequestException TooLargeFrame(in RequestTarget target, long size, int limit) =>
        Fill(new GpuRequestException($"{target}: a frame of {size} bytes is over the limit of {limit}"), target, (int)TooLarge);

    public static KGrainNotActiveException Void(in RequestTarget target) =>
        Fill(new KGrainNotActiveException($"{target}: its address is from before the sidecar's connection or device was started anew"), target, (int)NotFound);

    private static T Fill<T>(T exception, in RequestTarget target, int code = 0)
        where T : GpuSidecarException
    {
        exception.Kernel = target.Kernel;
        exception.Key = target.Key;
        exception.Code = code;
        return exception;
    }
}

/// <summary>What a request is about, for messages.</summary>
internal readonly record struct RequestTarget(string What, string Kernel = "", string Key = "", bool Activating = false)
{
    public override string ToString() => Kernel.Length == 0 ? What : $"{What} {Kernel}/{Key}";
}
