using Orleans.GpuSidecar;

namespace Sample;

/// <summary>
/// A package of the graph that was loaded into the daemon. The graph is not the silo's, so an
/// activation that goes must not tear its package out of it.
/// </summary>
[GrainType(Impact.Kernel), KGrain(Impact.Kernel, KeepOnDevice = true)]
public sealed class ImpactGrain : KGrain;

/// <summary>The smallest kernel: replies with what it was sent.</summary>
[GrainType("kecho"), KGrain("echo")]
public sealed class EchoKGrain : KGrain;
