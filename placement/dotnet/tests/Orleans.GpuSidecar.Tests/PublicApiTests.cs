using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;
using Xunit;

namespace Orleans.GpuSidecar.Tests;

/// <summary>
/// What the package promises is in PublicAPI.txt, where a review sees it change. To accept a change:
/// UPDATE_PUBLIC_API=path-of-the-file ./run-tests
/// </summary>
public sealed class PublicApiTests
{
    private const BindingFlags Declared = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    [Fact]
    public void The_public_surface_is_what_was_reviewed()
    {
        var text = Describe(typeof(KGrain).Assembly);
        if (Environment.GetEnvironmentVariable("UPDATE_PUBLIC_API") is { Length: > 0 } path)
        {
            File.WriteAllText(path, text);
        }

        Assert.Equal(File.ReadAllText(System.IO.Path.Combine(AppContext.BaseDirectory, "PublicAPI.txt")), text);
    }

    private static string Describe(Assembly assembly)
    {
        var text = new StringBuilder();
        foreach (var type in assembly.GetExportedTypes().Where(static t => !t.FullName!.StartsWith("OrleansCodeGen", StringComparison.Ordinal)).OrderBy(static t => t.FullName, StringComparer.Ordinal))
        {
            var kind = type.IsInterface ? "interface" : type.IsAbstract && type.IsSealed ? "static class" : type.IsAbstract ? "abstract class" : type.IsSealed ? "sealed class" : "class";
            text.Append(kind).Append(' ').Append(Name(type)).Append(type.BaseType is { } b && b != typeof(object) ? " : " + Name(b) : "").Append('\n');
            var members = type.GetMembers(Declared).Select(Describe).Where(static m => m is not null).Order(StringComparer.Ordinal);
            foreach (var member in members)
            {
                text.Append("    ").Append(member).Append('\n');
            }
        }

        return text.ToString();
    }

    private static string? Describe(MemberInfo member) => member switch
    {
        _ when member.IsDefined(typeof(CompilerGeneratedAttribute)) => null,
        ConstructorInfo c when Visible(c) => $"{Scope(c)}.ctor({Parameters(c)})",
        MethodInfo { IsSpecialName: false } m when Visible(m) => $"{Scope(m)}{Name(m.ReturnType)} {m.Name}({Parameters(m)})",
        PropertyInfo p when p.GetMethod is { } g && Visible(g) => $"{Scope(g)}{Name(p.PropertyType)} {p.Name} {{ get;{(p.SetMethod is { } s && Visible(s) ? " set;" : "")} }}",
        EventInfo e when Visible(e.AddMethod!) => $"event {Name(e.EventHandlerType!)} {e.Name}",
        FieldInfo f when f.IsPublic => $"{(f.IsLiteral ? "const " : "")}{Name(f.FieldType)} {f.Name}{(f.IsLiteral ? " = " + f.GetRawConstantValue() : "")}",
        _ => null,
    };

    private static bool Visible(MethodBase method) => method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly;

    private static string Scope(MethodBase method) => (method.IsStatic ? "static " : "") + (method.IsPublic ? "" : "protected ") + (method.IsVirtual && !method.IsFinal && !method.DeclaringType!.IsInterface && !method.DeclaringType.IsSealed ? "virtual " : "");

    private static string Parameters(MethodBase method) =>
        string.Join(", ", method.GetParameters().Select(static p => $"{Name(p.ParameterType)} {p.Name}{(p.IsOptional ? " = default" : "")}"));

    private static string Name(Type type) => type.IsGenericType
        ? $"{type.Name[..type.Name.IndexOf('`')]}<{string.Join(", ", type.GetGenericArguments().Select(Name))}>"
        : type.Name;
}
