using System.Net;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.GpuSidecar;
using Orleans.Hosting;

// SampleSilo [--GatewayPort 30000] [--SiloPort 11111] [--PrimarySiloPort n] [--ClusterId default]
//            [--ServiceId default] [--Socket path]                  each also from the environment
var builder = Host.CreateApplicationBuilder(args);
var configuration = builder.Configuration;
var siloPort = configuration.GetValue("SiloPort", 11111);
var gatewayPort = configuration.GetValue("GatewayPort", 30000);
var primary = configuration.GetValue<int?>("PrimarySiloPort") is { } port ? new IPEndPoint(IPAddress.Loopback, port) : null;
var clusterId = configuration.GetValue("ClusterId", "default")!;
var serviceId = configuration.GetValue("ServiceId", "default")!;
var socket = configuration["Socket"];

builder.Logging.AddFilter("Orleans", LogLevel.Warning).AddFilter("Orleans.GpuSidecar", LogLevel.Information);
builder.UseOrleans(silo => silo
    .UseLocalhostClustering(siloPort, gatewayPort, primary, serviceId, clusterId)
    .AddMemoryGrainStorage("PubSubStore")
    .AddMemoryStreams("StreamProvider")
    .AddGpuSidecar(options => options.SocketPath = socket ?? options.SocketPath));

using var host = builder.Build();
await host.StartAsync();
Console.WriteLine($"SILO READY silo {siloPort} gateway {gatewayPort} cluster {clusterId}");
await host.WaitForShutdownAsync();
Console.WriteLine("SILO STOPPED");
