using Orleans.Streams;
using Orleans.Streams.Core;

namespace Sample;

/// <inheritdoc/>
[ImplicitStreamSubscription("impact"), ImplicitStreamSubscription("tally"), ImplicitStreamSubscription("sample")]
public sealed class RecorderGrain : Grain, IRecorderGrain, IStreamSubscriptionObserver
{
    private readonly List<string> _recorded = [];

    /// <inheritdoc/>
    public Task<List<string>> Recorded() => Task.FromResult(_recorded);

    /// <inheritdoc/>
    public Task OnSubscribed(IStreamSubscriptionHandleFactory handleFactory) =>
        handleFactory.Create<object>().ResumeAsync((item, _) =>
        {
            _recorded.Add(item is byte[] bytes ? "0x" + Convert.ToHexString(bytes) : item.ToString() ?? "");
            return Task.CompletedTask;
        });
}
