using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Orleans.Hosting;
using Orleans.Runtime;
using Xunit;

namespace Orleans.GpuSidecar.Tests;

public sealed class OptionsTests
{
    [Fact]
    public void The_defaults_are_valid() => Validate(new GpuSidecarOptions());

    [Fact]
    public void What_cannot_work_is_refused_by_name()
    {
        Refused(nameof(GpuSidecarOptions.SocketPath), o => o.SocketPath = " ");
        Refused(nameof(GpuSidecarOptions.SocketPath), o => o.SocketPath = "/" + new string('x', 107));
        Refused(nameof(GpuSidecarOptions.Tenant), o => o.Tenant = null!);
        Refused(nameof(GpuSidecarOptions.CallCredits), o => o.CallCredits = 0);
        Refused(nameof(GpuSidecarOptions.OutputBufferBytes), o => o.OutputBufferBytes = 1);
        Refused(nameof(GpuSidecarOptions.MaxFrameBytes), o => o.MaxFrameBytes = 1);
        Refused(nameof(GpuSidecarOptions.DefaultDeadline), o => o.DefaultDeadline = TimeSpan.Zero);
        Refused(nameof(GpuSidecarOptions.DefaultDeadline), o => o.DefaultDeadline = TimeSpan.MaxValue);
        Refused(nameof(GpuSidecarOptions.ConnectTimeout), o => o.ConnectTimeout = TimeSpan.FromSeconds(-1));
        Refused(nameof(GpuSidecarOptions.ReconnectDelay), o => o.ReconnectDelay = TimeSpan.Zero);
        Refused(nameof(GpuSidecarOptions.MaxReconnectDelay), o => o.MaxReconnectDelay = TimeSpan.FromMilliseconds(1));
        Refused(nameof(GpuSidecarOptions.CapacityPeriod), o => o.CapacityPeriod = TimeSpan.Zero);
        Refused(nameof(GpuSidecarOptions.CapacityStaleAfter), o => o.CapacityStaleAfter = o.CapacityPeriod);
    }

    [Fact]
    public void Configuration_and_code_are_both_heard_and_adding_twice_is_adding_once()
    {
        var builder = Host.CreateApplicationBuilder();
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["Orleans:GpuSidecar:SocketPath"] = "/from/configuration.sock",
            ["Orleans:GpuSidecar:DefaultDeadline"] = "00:00:03",
        });
        builder.UseOrleans(silo => silo
            .UseLocalhostClustering()
            .AddGpuSidecar(o => o.CallCredits = 7)
            .AddGpuSidecar(o => o.CapacityPeriod = TimeSpan.FromSeconds(2)));
        Assert.Single(builder.Services, static s => s.ServiceType == typeof(SidecarConnection));
        Assert.Single(builder.Services, static s => s.ImplementationType == typeof(GpuSidecarOptionsValidator));
        using var host = builder.Build();
        var options = host.Services.GetRequiredService<IOptions<GpuSidecarOptions>>().Value;
        Assert.Equal("/from/configuration.sock", options.SocketPath);
        Assert.Equal(TimeSpan.FromSeconds(3), options.DefaultDeadline);
        Assert.Equal(7, options.CallCredits);
        Assert.Equal(TimeSpan.FromSeconds(2), options.CapacityPeriod);
    }

    [Fact]
    public async Task A_silo_with_options_that_cannot_work_does_not_start()
    {
        var builder = Host.CreateApplicationBuilder();
        builder.UseOrleans(static silo => silo
            .UseLocalhostClustering(siloPort: 21111, gatewayPort: 0)
            .AddGpuSidecar(static o => o.CallCredits = -1));
        var exception = await Assert.ThrowsAnyAsync<OrleansConfigurationException>(async () =>
        {
            using var host = builder.Build();
            await host.StartAsync();
        });
        Assert.Contains(nameof(GpuSidecarOptions.CallCredits), exception.Message);
    }

    private static void Validate(GpuSidecarOptions options) => new GpuSidecarOptionsValidator(Options.Create(options)).ValidateConfiguration();

    private static void Refused(string option, Action<GpuSidecarOptions> spoil)
    {
        var options = new GpuSidecarOptions();
        spoil(options);
        var exception = Assert.Throws<OrleansConfigurationException>(() => Validate(options));
        Assert.Contains($"{nameof(GpuSidecarOptions)}.{option} ", exception.Message);
    }
}
