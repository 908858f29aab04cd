using System.Collections.Immutable;
using System.Net;
using Microsoft.Extensions.Options;
using Orleans.GpuSidecar.Diagnostics;
using Orleans.Runtime;
using Orleans.Runtime.Placement;
using Xunit;

namespace Orleans.GpuSidecar.Tests;

public sealed class PlacementTests
{
    private static readonly SiloAddress A = SiloAddress.New(new IPEndPoint(IPAddress.Loopback, 1), 1);
    private static readonly SiloAddress B = SiloAddress.New(new IPEndPoint(IPAddress.Loopback, 2), 1);
    private static readonly SiloAddress C = SiloAddress.New(new IPEndPoint(IPAddress.Loopback, 3), 1);

    private readonly ManualTime _time = new();
    private readonly GpuCapacityCache _cache;
    private long _sequence;

    public PlacementTests() => _cache = new GpuCapacityCache(Options.Create(new GpuSidecarOptions()), _time);

    [Fact]
    public async Task A_silo_with_a_free_slot_is_preferred()
    {
        Tell(A, Full());
        Tell(B, Free());
        await AlwaysAsync(B, [A, B, C]);
    }

    [Fact]
    public async Task Only_compatible_silos_are_taken()
    {
        Tell(A, Free());
        await AlwaysAsync(B, [B]);
    }

    [Fact]
    public async Task The_less_loaded_of_two_is_taken()
    {
        Tell(A, Free() with { Grains = 50 });
        Tell(B, Free() with { Grains = 10 });
        await AlwaysAsync(B, [A, B]);
        Tell(B, Free() with { Grains = 10, Calls = 90 });
        await AlwaysAsync(A, [A, B]);
    }

    [Fact]
    public async Task Equal_load_is_decided_by_latency_and_then_by_nearness()
    {
        Tell(A, Free() with { P95Microseconds = 90 });
        Tell(B, Free() with { P95Microseconds = 10 });
        await AlwaysAsync(B, [A, B], reserve: false);
        Tell(A, Free());
        Tell(B, Free());
        Assert.Equal(A, await PlaceAsync([A, B], local: A));
        Tell(A, Free());
        Assert.Equal(A, await PlaceAsync([B, A], local: A));
    }

    [Fact]
    public async Task The_worst_of_three_is_never_taken()
    {
        Tell(A, Free() with { Grains = 90 });
        Tell(B, Free() with { Grains = 10 });
        Tell(C, Free() with { Grains = 20 });
        for (var i = 0; i < 50; i++)
        {
            Assert.NotEqual(A, await PlaceAsync([A, B, C]));
        }
    }

    [Fact]
    public async Task A_gpu_is_preferred_to_cpu_threads()
    {
        Tell(A, Free());
        Tell(B, Free() with { Device = "NVIDIA H200", Grains = 90 });
        await AlwaysAsync(B, [A, B], times: 5);
    }

    [Fact]
    public async Task A_grain_that_needs_a_gpu_gets_one_or_a_typed_error()
    {
        Tell(A, Free());
        var exception = await Assert.ThrowsAsync<GpuUnavailableException>(() => PlaceAsync([A, B], requireGpu: true));
        Assert.Contains("impact/left-pad", exception.Message);
        Tell(B, Free() with { Device = "NVIDIA H200" });
        Assert.Equal(B, await PlaceAsync([A, B], requireGpu: true));
    }

    [Fact]
    public async Task Without_any_room_all_compatible_silos_are_taken_in_turn()
    {
        Tell(A, Full());
        Tell(B, Free() with { Ready = false });
        var seen = new HashSet<SiloAddress>();
        for (var i = 0; i < 200; i++)
        {
            seen.Add(await PlaceAsync([A, B, C]));
        }

        Assert.Equal([A, B, C], seen.OrderBy(static s => s.Endpoint.Port));
    }

    [Fact]
    public async Task Without_any_room_a_silo_on_its_way_down_is_taken_last()
    {
        _cache.Offer(new SiloGpuCapacity { Silo = A, Sequence = ++_sequence, Withdrawn = true });
        Tell(B, Free() with { Draining = true });
        await AlwaysAsync(C, [A, B, C]);
        Assert.Contains(await PlaceAsync([A, B]), new[] { A, B });
    }

    [Fact]
    public async Task A_stale_report_no_longer_counts()
    {
        Tell(A, Free());
        Assert.Equal(A, await PlaceAsync([A, B]));
        _time.Advance(TimeSpan.FromSeconds(6));
        Assert.Null(_cache.TryGetFree(A));
        Assert.Null(_cache.TryGet(A));
    }

    [Fact]
    public void A_report_that_comes_late_is_dropped()
    {
        Assert.True(_cache.Offer(new SiloGpuCapacity { Silo = A, Sequence = 2, Capacity = Full() }));
        Assert.False(_cache.Offer(new SiloGpuCapacity { Silo = A, Sequence = 1, Capacity = Free() }));
        Assert.Null(_cache.TryGetFree(A));
    }

    [Fact]
    public async Task Placements_since_the_last_report_take_slots_of_it()
    {
        Tell(A, Free() with { Grains = 98 });
        Tell(B, Free() with { Grains = 99 });
        Assert.Equal(A, await PlaceAsync([A, B]));
        var next = new[] { await PlaceAsync([A, B]), await PlaceAsync([A, B]) };
        Assert.Equal([A, B], next.OrderBy(static s => s.Endpoint.Port));
        Assert.Null(_cache.TryGetFree(A));
        Assert.Null(_cache.TryGetFree(B));
        Tell(A, Free() with { Grains = 50 });
        Assert.NotNull(_cache.TryGetFree(A));
    }

    [Fact]
    public async Task The_placement_hint_comes_first()
    {
        Tell(A, Free());
        var hint = new Dictionary<string, object> { [IPlacementDirector.PlacementHintKey] = B };
        Assert.Equal(B, await PlaceAsync([A, B], hint: hint));
        Assert.Equal(A, await PlaceAsync([A], hint: hint));
    }

    [Fact]
    public void What_the_attribute_says_travels_in_the_grain_properties()
    {
        var attribute = new GpuPlacementAttribute { RequireGpu = true };
        var properties = new Dictionary<string, string>();
        attribute.Populate(null!, typeof(PlacementTests), GrainType.Create("x"), properties);
        var strategy = new GpuPlacementStrategy();
        strategy.Initialize(new Metadata.GrainProperties(ImmutableDictionary.CreateRange(StringComparer.Ordinal, properties)));
        Assert.True(strategy.RequireGpu);
    }

    private static GpuCapacity Free() => new() { Ready = true, GrainsMax = 100, CallsMax = 100, Device = "cpu" };

    private static GpuCapacity Full() => Free() with { Grains = 100 };

    private void Tell(SiloAddress silo, GpuCapacity capacity) =>
        _cache.Offer(new SiloGpuCapacity { Silo = silo, Sequence = ++_sequence, Capacity = capacity });

    private async Task AlwaysAsync(SiloAddress expected, SiloAddress[] compatible, int times = 20, bool reserve = true)
    {
        for (var i = 0; i < (reserve ? times : 1); i++)
        {
            Assert.Equal(expected, await PlaceAsync(compatible));
        }
    }

    private Task<SiloAddress> PlaceAsync(SiloAddress[] compatible, SiloAddress? local = null, bool requireGpu = false, Dictionary<string, object>? hint = null)
    {
        var director = new GpuPlacementDirector(_cache, new GpuSidecarInstruments());
        var target = new PlacementTarget(GrainId.Create("impact", "left-pad"), hint!, default, 0);
        return director.OnAddActivation(new GpuPlacementStrategy { RequireGpu = requireGpu }, target, new Context(compatible, local ?? C));
    }

    private sealed class Context(SiloAddress[] compatible, SiloAddress local) : IPlacementContext
    {
        public SiloAddress LocalSilo => local;

        public SiloStatus LocalSiloStatus => SiloStatus.Active;

        public SiloAddress[] GetCompatibleSilos(PlacementTarget target) => compatible;

        public IReadOnlyDictionary<ushort, SiloAddress[]> GetCompatibleSilosWithVersions(PlacementTarget target) =>
            new Dictionary<ushort, SiloAddress[]> { [0] = compatible };
    }

    private sealed class ManualTime : TimeProvider
    {
        private long _now;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => _now;

        public void Advance(TimeSpan by) => _now += by.Ticks;
    }
}
