using Microsoft.Extensions.DependencyInjection;
using Orleans.Runtime;

namespace Orleans.GpuSidecar.Tests;

/// <summary>A K-Grain's further interface, as a user would write one.</summary>
[Alias("test.kgrain")]
public interface ITestKGrain : IKGrain
{
    [Alias("silo")]
    Task<string> SiloAsync();

    [Alias("activations")]
    Task<int> ActivationsAsync();

    [Alias("drop")]
    Task DropAsync();
}

public abstract class TestKGrainBase : KGrain, ITestKGrain
{
    private int _activations;

    public Task<string> SiloAsync() => Task.FromResult(ServiceProvider.GetRequiredService<ILocalSiloDetails>().SiloAddress.ToString());

    public Task<int> ActivationsAsync() => Task.FromResult(_activations);

    public Task DropAsync()
    {
        DeactivateOnIdle();
        return Task.CompletedTask;
    }

    protected override Task OnDeviceActivatedAsync(bool created)
    {
        _activations++;
        return Task.CompletedTask;
    }
}

[GrainType("k-echo"), KGrain("echo")]
public sealed class EchoKGrain : TestKGrainBase
{
    protected override ValueTask<ReadOnlyMemory<byte>> GetInitAsync(CancellationToken cancellationToken) => new("init"u8.ToArray());
}

[GrainType("k-kept"), KGrain("echo", KeepOnDevice = true)]
public sealed class KeptKGrain : TestKGrainBase;

[GrainType("k-strict"), KGrain("echo", Reactivate = false)]
public sealed class StrictKGrain : TestKGrainBase;

[GrainType("k-gpu"), KGrain("echo"), GpuPlacement(RequireGpu = true)]
public sealed class GpuOnlyKGrain : TestKGrainBase;

[GrainType("k-unknown"), KGrain("no-such-kernel")]
public sealed class UnknownKGrain : TestKGrainBase;

[GrainType("tally"), KGrain("tally")]
public sealed class TallyKGrain : TestKGrainBase;

[GrainType("impact"), KGrain("impact", KeepOnDevice = true)]
public sealed class ImpactKGrain : TestKGrainBase;
