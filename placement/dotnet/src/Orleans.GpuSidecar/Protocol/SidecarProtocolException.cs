namespace Orleans.GpuSidecar.Protocol;

/// <summary>The daemon's bytes break the socket protocol; the connection is closed.</summary>
internal sealed class SidecarProtocolException(string message) : Exception(message);
