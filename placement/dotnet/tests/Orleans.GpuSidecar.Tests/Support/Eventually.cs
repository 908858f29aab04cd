using System.Diagnostics;

namespace Orleans.GpuSidecar.Tests.Support;

internal static class Eventually
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>Waits until the condition holds; fails with its name when it never does.</summary>
    public static async Task HoldsAsync(Func<bool> condition, string what)
    {
        var start = Stopwatch.GetTimestamp();
        while (!condition())
        {
            if (Stopwatch.GetElapsedTime(start) > Limit)
            {
                throw new TimeoutException($"never within {Limit.TotalSeconds} s: {what}");
            }

            await Task.Delay(10);
        }
    }

    /// <summary>Repeats what may throw <typeparamref name="TException"/> for now, and returns what it gives at last.</summary>
    public static async Task<T> SucceedsAsync<T, TException>(Func<Task<T>> action)
        where TException : Exception
    {
        var start = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                return await action();
            }
            catch (TException) when (Stopwatch.GetElapsedTime(start) < Limit)
            {
                await Task.Delay(50);
            }
        }
    }
}
