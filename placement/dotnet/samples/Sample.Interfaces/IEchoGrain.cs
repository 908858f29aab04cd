using Orleans.Concurrency;

namespace Sample;

/// <summary>One method of every sort that a client in another language has to get right.</summary>
[Alias("Sample.IEchoGrain")]
public interface IEchoGrain : IGrainWithStringKey
{
    /// <summary>Returns the text.</summary>
    [Alias("Echo")]
    Task<string> Echo(string text);

    /// <summary>Returns the number.</summary>
    [Alias("EchoInt")]
    Task<int> EchoInt(int number);

    /// <summary>Returns the bytes.</summary>
    [Alias("EchoBytes")]
    Task<byte[]> EchoBytes(byte[] bytes);

    /// <summary>Returns all of its arguments as text.</summary>
    [Alias("Join")]
    Task<string> Join(string text, int number, byte[] bytes, string? nothing);

    /// <summary>Throws an InvalidOperationException with that message.</summary>
    [Alias("Fail")]
    Task Fail(string message);

    /// <summary>Answers after a while.</summary>
    [Alias("Delay")]
    Task<string> Delay(int milliseconds);

    /// <summary>Takes a note; nobody hears of it.</summary>
    [Alias("Note"), OneWay]
    Task Note(string text);

    /// <summary>The notes so far.</summary>
    [Alias("Notes")]
    Task<List<string>> Notes();

    /// <summary>The observer hears of <see cref="Notify"/> from now on.</summary>
    [Alias("Subscribe")]
    Task Subscribe(IEchoObserver observer);

    /// <summary>The observer hears no more.</summary>
    [Alias("Unsubscribe")]
    Task Unsubscribe(IEchoObserver observer);

    /// <summary>Tells all observers, and asks each; returns the sum of what they said.</summary>
    [Alias("Notify")]
    Task<int> Notify(string text);
}

/// <summary>An object of a client that grains call.</summary>
[Alias("Sample.IEchoObserver")]
public interface IEchoObserver : IGrainObserver
{
    /// <summary>Told, without an answer.</summary>
    [Alias("Told"), OneWay]
    Task Told(string text);

    /// <summary>Asked.</summary>
    [Alias("Asked")]
    Task<int> Asked(string text);
}

/// <summary>A grain with a GUID as its key.</summary>
[Alias("Sample.IGuidKeyGrain")]
public interface IGuidKeyGrain : IGrainWithGuidKey
{
    /// <summary>The key as the grain sees it.</summary>
    [Alias("Key")]
    Task<string> Key();
}

/// <summary>A grain with an integer as its key.</summary>
[Alias("Sample.IIntegerKeyGrain")]
public interface IIntegerKeyGrain : IGrainWithIntegerKey
{
    /// <summary>The key as the grain sees it.</summary>
    [Alias("Key")]
    Task<string> Key();
}

/// <summary>A grain with a GUID and a text as its key.</summary>
[Alias("Sample.IGuidCompoundKeyGrain")]
public interface IGuidCompoundKeyGrain : IGrainWithGuidCompoundKey
{
    /// <summary>The key as the grain sees it.</summary>
    [Alias("Key")]
    Task<string> Key();
}

/// <summary>A grain with an integer and a text as its key.</summary>
[Alias("Sample.IIntegerCompoundKeyGrain")]
public interface IIntegerCompoundKeyGrain : IGrainWithIntegerCompoundKey
{
    /// <summary>The key as the grain sees it.</summary>
    [Alias("Key")]
    Task<string> Key();
}

/// <summary>Records the events of the streams of its key.</summary>
[Alias("Sample.IRecorderGrain")]
public interface IRecorderGrain : IGrainWithStringKey
{
    /// <summary>What arrived so far, in order: text as it is, bytes as "0x" and hexadecimal digits.</summary>
    [Alias("Recorded")]
    Task<List<string>> Recorded();
}
