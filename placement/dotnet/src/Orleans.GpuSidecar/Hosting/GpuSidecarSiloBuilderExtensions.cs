using System.Diagnostics.Metrics;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Orleans.Configuration;
using Orleans.Configuration.Internal;
using Orleans.GpuSidecar;
using Orleans.GpuSidecar.Diagnostics;
using Orleans.Runtime;

namespace Orleans.Hosting;

/// <summary>Adds the GPU sidecar to a silo.</summary>
public static class GpuSidecarSiloBuilderExtensions
{
    /// <summary>
    /// Adds K-Grains, their placement and the exchange of capacity to a silo. Options come from the
    /// configuration section <c>Orleans:GpuSidecar</c>, then from <paramref name="configure"/>. Adding it
    /// again only configures again.
    /// </summary>
    /// <param name="builder">The silo builder.</param>
    /// <param name="configure">Sets options in code.</param>
    /// <returns>The silo builder.</returns>
    public static ISiloBuilder AddGpuSidecar(this ISiloBuilder builder, Action<GpuSidecarOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.AddGpuSidecar(builder.Configuration.GetSection(GpuSidecarOptions.SectionName), configure);
    }

    /// <summary>As <see cref="AddGpuSidecar(ISiloBuilder, Action{GpuSidecarOptions})"/>, with options from another section.</summary>
    /// <param name="builder">The silo builder.</param>
    /// <param name="section">The section that holds the options.</param>
    /// <param name="configure">Sets options in code.</param>
    /// <returns>The silo builder.</returns>
    public static ISiloBuilder AddGpuSidecar(this ISiloBuilder builder, IConfiguration section, Action<GpuSidecarOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(section);
        var services = builder.Services;
        var first = !services.Any(static service => service.ServiceType == typeof(SidecarConnection));
        var options = services.AddOptions<GpuSidecarOptions>();
        if (first)
        {
            options.Bind(section);
            AddServices(services);
            builder.AddGrainService<GpuCapacityService>();
        }

        if (configure is not null)
        {
            options.Configure(configure);
        }

        return builder;
    }

    private static void AddServices(IServiceCollection services)
    {
        services.ConfigureFormatter<GpuSidecarOptions>();
        services.AddTransient<IConfigurationValidator, GpuSidecarOptionsValidator>();
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(static sp => new GpuSidecarInstruments(sp.GetService<IMeterFactory>()));

        services.AddSingleton<SidecarConnection>();
        services.AddFromExisting<IGpuSidecarConnection, SidecarConnection>();
        services.AddFromExisting<ILifecycleParticipant<ISiloLifecycle>, SidecarConnection>();

        services.AddSingleton<GpuCapacityCache>();
        services.AddSingleton<GpuCapacityServiceClient>();
        services.AddSingleton<GpuCapacityPublisher>();
        services.AddFromExisting<ILifecycleParticipant<ISiloLifecycle>, GpuCapacityPublisher>();

        // Transient: the strategy holds what the attribute of one grain class says.
        services.AddPlacementDirector<GpuPlacementStrategy, GpuPlacementDirector>(ServiceLifetime.Transient);
    }
}
