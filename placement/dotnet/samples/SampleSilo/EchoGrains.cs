using System.Globalization;

namespace Sample;

/// <inheritdoc/>
public sealed class EchoGrain : Grain, IEchoGrain
{
    private readonly List<string> _notes = [];
    private readonly HashSet<IEchoObserver> _observers = [];

    /// <inheritdoc/>
    public Task<string> Echo(string text) => Task.FromResult(text);

    /// <inheritdoc/>
    public Task<int> EchoInt(int number) => Task.FromResult(number);

    /// <inheritdoc/>
    public Task<byte[]> EchoBytes(byte[] bytes) => Task.FromResult(bytes);

    /// <inheritdoc/>
    public Task<string> Join(string text, int number, byte[] bytes, string? nothing) =>
        Task.FromResult(string.Create(CultureInfo.InvariantCulture, $"{text}|{number}|{Convert.ToHexString(bytes)}|{nothing ?? "null"}"));

    /// <inheritdoc/>
    public Task Fail(string message) => throw new InvalidOperationException(message);

    /// <inheritdoc/>
    public async Task<string> Delay(int milliseconds)
    {
        await Task.Delay(milliseconds);
        return $"after {milliseconds} ms";
    }

    /// <inheritdoc/>
    public Task Note(string text)
    {
        _notes.Add(text);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task<List<string>> Notes() => Task.FromResult(_notes);

    /// <inheritdoc/>
    public Task Subscribe(IEchoObserver observer)
    {
        _observers.Add(observer);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task Unsubscribe(IEchoObserver observer)
    {
        _observers.Remove(observer);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public async Task<int> Notify(string text)
    {
        var sum = 0;
        foreach (var observer in _observers)
        {
            await observer.Told(text);
            sum += await observer.Asked(text);
        }

        return sum;
    }
}

/// <inheritdoc/>
public sealed class GuidKeyGrain : Grain, IGuidKeyGrain
{
    /// <inheritdoc/>
    public Task<string> Key() => Task.FromResult(this.GetPrimaryKey().ToString("D"));
}

/// <inheritdoc/>
public sealed class IntegerKeyGrain : Grain, IIntegerKeyGrain
{
    /// <inheritdoc/>
    public Task<string> Key() => Task.FromResult(this.GetPrimaryKeyLong().ToString(CultureInfo.InvariantCulture));
}

/// <inheritdoc/>
public sealed class GuidCompoundKeyGrain : Grain, IGuidCompoundKeyGrain
{
    /// <inheritdoc/>
    public Task<string> Key() => Task.FromResult($"{this.GetPrimaryKey(out var text):D}|{text}");
}

/// <inheritdoc/>
public sealed class IntegerCompoundKeyGrain : Grain, IIntegerCompoundKeyGrain
{
    /// <inheritdoc/>
    public Task<string> Key()
    {
        var number = this.GetPrimaryKeyLong(out var text);
        return Task.FromResult(string.Create(CultureInfo.InvariantCulture, $"{number}|{text}"));
    }
}
