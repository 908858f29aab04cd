namespace Orleans.GpuSidecar.Tests.Support;

/// <summary>A folder for sockets whose path is short enough for the address of one.</summary>
internal sealed class SocketFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("gs").FullName;

    public string Socket(string name) => System.IO.Path.Combine(Path, name + ".sock");

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
