using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.GpuSidecar;
using Orleans.Hosting;
using Orleans.Runtime;
using Orleans.Streams;
using Sample;

// SampleClient [--GatewayPort 30000] [--ClusterId default] [--ServiceId default] [--EventSeconds 10] package...
//
// Asks for each package what breaks without it, of a silo or of the daemon's own gateway. Exits with
// 0 when every question was answered and as many events came as the answer says, else with 1.
const string Usage = "usage: SampleClient [--GatewayPort n] [--ClusterId id] [--ServiceId id] [--EventSeconds n] package...";
var packages = PackagesOf(args);
if (packages.Count == 0)
{
    Console.Error.WriteLine(Usage);
    return 2;
}

var builder = Host.CreateApplicationBuilder(args);
var configuration = builder.Configuration;
var eventTime = TimeSpan.FromSeconds(configuration.GetValue("EventSeconds", 10));
builder.Logging.SetMinimumLevel(LogLevel.Warning);
builder.UseOrleansClient(client => client
    .UseLocalhostClustering(
        configuration.GetValue("GatewayPort", 30000),
        configuration.GetValue("ServiceId", "default")!,
        configuration.GetValue("ClusterId", "default")!)
    .AddMemoryStreams("StreamProvider"));

using var host = builder.Build();
await host.StartAsync();
var cluster = host.Services.GetRequiredService<IClusterClient>();
var failed = 0;
foreach (var package in packages)
{
    failed += await AskAsync(package) ? 0 : 1;
}

await host.StopAsync();
Console.WriteLine(failed == 0 ? $"RESULT ok, {packages.Count} answered" : $"RESULT failed, {failed} of {packages.Count}");
return failed == 0 ? 0 : 1;

async Task<bool> AskAsync(string package)
{
    var broken = new ConcurrentQueue<string>();
    var stream = cluster.GetStreamProvider("StreamProvider").GetStream<string>(StreamId.Create(Impact.Kernel, package));
    var subscription = await stream.SubscribeAsync((name, _) =>
    {
        broken.Enqueue(name);
        Console.WriteLine($"{package}: event: {name} breaks");
        return Task.CompletedTask;
    });
    try
    {
        var start = Stopwatch.GetTimestamp();
        var reply = await cluster.GetPackage(package).ImpactAsync();
        Console.WriteLine($"{package}: reply: {reply.Packages} packages break, depth {reply.Depth}, {reply.Messages} messages, {Stopwatch.GetElapsedTime(start).TotalMilliseconds:0.0} ms");

        var waited = Stopwatch.StartNew();
        while (broken.Count < reply.Packages && waited.Elapsed < eventTime)
        {
            await Task.Delay(50);
        }

        if (broken.Count != reply.Packages)
        {
            Console.WriteLine($"{package}: {broken.Count} events where {reply.Packages} belong");
            return false;
        }

        return true;
    }
    catch (GpuSidecarException exception)
    {
        Console.WriteLine($"{package}: {exception.GetType().Name}: {exception.Message}");
        return false;
    }
    finally
    {
        await subscription.UnsubscribeAsync();
    }
}

static List<string> PackagesOf(string[] args)
{
    var packages = new List<string>();
    for (var i = 0; i < args.Length; i++)
    {
        if (args[i].StartsWith("--", StringComparison.Ordinal))
        {
            i += args[i].Contains('=') ? 0 : 1;
        }
        else
        {
            packages.Add(args[i]);
        }
    }

    return packages;
}
