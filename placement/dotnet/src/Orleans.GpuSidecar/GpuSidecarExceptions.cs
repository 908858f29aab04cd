namespace Orleans.GpuSidecar;

/// <summary>A request that the GPU sidecar did not fulfil. The message names kernel and key.</summary>
[GenerateSerializer, Alias("gpu.error")]
public class GpuSidecarException : Exception
{
    /// <summary>Creates an instance for serializers.</summary>
    public GpuSidecarException()
    {
    }

    /// <summary>Creates an instance.</summary>
    /// <param name="message">What happened, to which K-Grain.</param>
    public GpuSidecarException(string message)
        : base(message)
    {
    }

    /// <summary>Creates an instance.</summary>
    /// <param name="message">What happened, to which K-Grain.</param>
    /// <param name="innerException">Its cause.</param>
    public GpuSidecarException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    /// <summary>The kernel the request was for, or an empty string.</summary>
    [Id(0)]
    public string Kernel { get; set; } = "";

    /// <summary>The K-Grain's key, or an empty string.</summary>
    [Id(1)]
    public string Key { get; set; } = "";

    /// <summary>The daemon's number for the error (docs/socket-protocol.md), or 0 where the silo itself decided.</summary>
    [Id(2)]
    public int Code { get; set; }
}

/// <summary>
/// No sidecar served the request: it is away, starting, draining, or its connection was lost.
/// </summary>
[GenerateSerializer, Alias("gpu.unavailable")]
public sealed class GpuUnavailableException : GpuSidecarException
{
    /// <summary>Creates an instance for serializers.</summary>
    public GpuUnavailableException()
    {
    }

    /// <summary>Creates an instance.</summary>
    /// <param name="message">What happened, to which K-Grain.</param>
    /// <param name="innerException">Its cause.</param>
    public GpuUnavailableException(string message, Exception? innerException = null)
        : base(message, innerException)
    {
    }

    /// <summary>
    /// True when the request had been sent: the kernel may have handled it, only its answer is lost.
    /// </summary>
    [Id(0)]
    public bool MayHaveRun { get; set; }
}

/// <summary>A bounded resource of the sidecar is full; the request did not run, trying later can help.</summary>
[GenerateSerializer, Alias("gpu.busy")]
public sealed class GpuBusyException : GpuSidecarException
{
    /// <summary>Creates an instance for serializers.</summary>
    public GpuBusyException()
    {
    }

    /// <summary>Creates an instance.</summary>
    /// <param name="message">What happened, to which K-Grain.</param>
    public GpuBusyException(string message)
        : base(message)
    {
    }
}

/// <summary>The time for the request ran out; the kernel may or may not have handled it.</summary>
[GenerateSerializer, Alias("gpu.deadline")]
public sealed class GpuDeadlineException : GpuSidecarException
{
    /// <summary>Creates an instance for serializers.</summary>
    public GpuDeadlineException()
    {
    }

    /// <summary>Creates an instance.</summary>
    /// <param name="message">What happened, to which K-Grain.</param>
    public GpuDeadlineException(string message)
        : base(message)
    {
    }
}

/// <summary>The kernel refused the message, crashed on it, or broke its manifest's limits.</summary>
[GenerateSerializer, Alias("gpu.kernel-fault")]
public sealed class KernelFaultException : GpuSidecarException
{
    /// <summary>Creates an instance for serializers.</summary>
    public KernelFaultException()
    {
    }

    /// <summary>Creates an instance.</summary>
    /// <param name="message">What happened, to which K-Grain.</param>
    public KernelFaultException(string message)
        : base(message)
    {
    }
}

/// <summary>The sidecar has no kernel of that name.</summary>
[GenerateSerializer, Alias("gpu.kernel-not-found")]
public sealed class KernelNotFoundException : GpuSidecarException
{
    /// <summary>Creates an instance for serializers.</summary>
    public KernelNotFoundException()
    {
    }

    /// <summary>Creates an instance.</summary>
    /// <param name="message">What happened, to which K-Grain.</param>
    public KernelNotFoundException(string message)
        : base(message)
    {
    }
}

/// <summary>The K-Grain is no longer on the device; the message did not run.</summary>
[GenerateSerializer, Alias("gpu.not-active")]
public sealed class KGrainNotActiveException : GpuSidecarException
{
    /// <summary>Creates an instance for serializers.</summary>
    public KGrainNotActiveException()
    {
    }

    /// <summary>Creates an instance.</summary>
    /// <param name="message">What happened, to which K-Grain.</param>
    public KGrainNotActiveException(string message)
        : base(message)
    {
    }
}

/// <summary>The sidecar refused the request itself: a value out of range, or a payload over its limit.</summary>
[GenerateSerializer, Alias("gpu.refused")]
public sealed class GpuRequestException : GpuSidecarException
{
    /// <summary>Creates an instance for serializers.</summary>
    public GpuRequestException()
    {
    }

    /// <summary>Creates an instance.</summary>
    /// <param name="message">What happened, to which K-Grain.</param>
    public GpuRequestException(string message)
        : base(message)
    {
    }
}
