using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Orleans.GpuSidecar.Tests.Support;

/// <summary>
/// A real gpu-sidecar process. Its kernels are those of this repository, or what
/// <c>GPU_SIDECAR_KERNELS_ROOT</c> and <c>GPU_SIDECAR_KERNELS_INCLUDE</c> say.
/// </summary>
internal sealed class RealDaemon : IAsyncDisposable
{
    private const string Prefix = "GPU_SIDECAR_";

    private readonly string[] _flags;
    private readonly List<string> _log = [];
    private Process _process;

    public RealDaemon(string socket, string cache, params string[] flags)
    {
        _flags =
        [
            "serve",
            $"--socket.path={socket}",
            "--http.address=off",
            $"--kernels.root={Kernels}",
            $"--kernels.include={Include}",
            $"--kernels.cache={cache}",
            .. flags,
        ];
        _process = Run();
    }

    public static string? Binary { get; } = Existing(Environment.GetEnvironmentVariable(Prefix + "BIN"), File.Exists);

    public static string? Kernels { get; } = Existing(Environment.GetEnvironmentVariable(Prefix + "KERNELS_ROOT"), Directory.Exists) ?? InRepository("gpu/kernels");

    public string Log
    {
        get
        {
            lock (_log)
            {
                return string.Join('\n', _log);
            }
        }
    }

    private static string? Include { get; } = Existing(Environment.GetEnvironmentVariable(Prefix + "KERNELS_INCLUDE"), Directory.Exists) ?? InRepository("gpu/engine");

    /// <summary>The binary holds that text.</summary>
    public static bool Holds(string text) => File.ReadAllBytes(Binary!).AsSpan().IndexOf(Encoding.ASCII.GetBytes(text)) >= 0;

    /// <summary>Kills the process as kill -9 does.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
    }

    public void Restart()
    {
        _process.Dispose();
        _process = Run();
    }

    /// <summary>Kills the process that holds the device.</summary>
    public void KillWorker()
    {
        var children = File.ReadAllText($"/proc/{_process.Id}/task/{_process.Id}/children");
        foreach (var child in children.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            using var worker = Process.GetProcessById(int.Parse(child, CultureInfo.InvariantCulture));
            worker.Kill();
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            await KillAsync();
        }

        _process.Dispose();
    }

    private Process Run()
    {
        var start = new ProcessStartInfo(Binary!, _flags) { RedirectStandardError = true, RedirectStandardOutput = true };

        // The daemon takes every variable with its prefix for an option.
        foreach (var name in start.Environment.Keys.Where(static n => n.StartsWith(Prefix, StringComparison.Ordinal)).ToList())
        {
            start.Environment.Remove(name);
        }

        var process = new Process { StartInfo = start };
        process.OutputDataReceived += (_, line) => Write(line.Data);
        process.ErrorDataReceived += (_, line) => Write(line.Data);
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    private void Write(string? line)
    {
        lock (_log)
        {
            if (line is not null)
            {
                _log.Add(line);
            }
        }
    }

    private static string? Existing(string? path, Func<string?, bool> exists) => exists(path) ? path : null;

    private static string? InRepository(string folder)
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            var path = Path.Combine(at.FullName, folder);
            if (Directory.Exists(path))
            {
                return path;
            }
        }

        return null;
    }
}
