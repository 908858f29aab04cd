"""Checks deploy/Dockerfile and what it copies, as far as that goes without a container engine.

    check_image.py RENDER     RENDER: the program made of render.go, to read YAML
"""
import fnmatch
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile

from check import Checks, Program, ROOT, config_of, CHART

DEPLOY = ROOT / "deploy"
# pkg-config module in CMakeLists.txt -> package to build with, package to run with (None: not in the daemon)
MODULES = {
    "libevent": ("libevent-dev", "libevent-2.1-7"),
    "msgpack": ("libmsgpack-dev", "libmsgpackc2"),
    "libcrypto": ("libssl-dev", "libssl3"),
    "libssl": ("libssl-dev", "libssl3"),
    "openssl": ("libssl-dev", "libssl3"),
    "yaml-0.1": ("libyaml-dev", "libyaml-0-2"),
    "libxxhash": ("libxxhash-dev", "libxxhash0"),
    "cmocka": ("libcmocka-dev", None),
}


def stages_of(text):
    """[(name, [(instruction, arguments)])] of a Dockerfile."""
    lines = [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    stages = []
    for line in filter(None, (line.strip() for line in joined.split("\n"))):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append((rest.split(" AS ")[1], [("FROM", rest.split(" AS ")[0])]))
        elif stages:
            stages[-1][1].append((word, rest.strip()))
    return stages


def packages_of(steps):
    found = set()
    for word, rest in steps:
        if word == "RUN":
            for names in re.findall(r"apt-get install -y --no-install-recommends([^&;]*)", rest):
                found.update(names.split())
    return found


def ignored(path, rules):
    """Docker's rule: the last pattern that fits the path or a folder above it decides."""
    out = False
    parts = path.split("/")
    above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    for rule in rules:
        keep, pattern = rule.startswith("!"), rule.lstrip("!")
        patterns = [pattern, pattern[3:]] if pattern.startswith("**/") else [pattern]
        if any(fnmatch.fnmatchcase(a, p) and (a.count("/") == p.count("/") or pattern.startswith("**/"))
               for a in above for p in patterns):
            out = not keep
    return out


def check_copies(c, stages):
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True,
                             text=True, check=True).stdout.split("\n")
    rules = [r for r in (ROOT / ".dockerignore").read_text().split("\n") if r and not r.startswith("#")]
    sent = [f for f in tracked if f and not ignored(f, rules)]
    names, copied = [name for name, _ in stages], []
    for _, steps in stages:
        for word, rest in steps:
            if word != "COPY":
                continue
            *sources, _ = [a for a in rest.split() if not a.startswith("--")]
            if rest.startswith("--from="):
                c.that(rest.split()[0][7:] in names, f"COPY {rest} names a stage")
                continue
            for source in sources:
                copied.append(source)
                c.that(any(f == source or f.startswith(source + "/") for f in sent), f"COPY {source} is in the context")
    stray = [f for f in sent if not any(f == s or f.startswith(s + "/") for s in copied)]
    c.equal(stray, [], "the context holds only what is copied")
    for folder in re.findall(r"add_subdirectory\((\S+)\)", (ROOT / "CMakeLists.txt").read_text()):
        c.that(any(folder == s or folder.startswith(s + "/") for s in copied), f"CMake's folder {folder} is copied")


def check_packages(c, stages):
    wanted = {name: packages_of(steps) for name, steps in stages}
    modules = set()
    for path in (p for p in ROOT.rglob("CMakeLists.txt") if "build" not in p.relative_to(ROOT).parts):
        modules |= set(re.findall(r"pkg_check_modules\(\S+ REQUIRED IMPORTED_TARGET (\S+)\)", path.read_text()))
    for module in sorted(modules):
        c.that(module in MODULES, f"the packages of pkg-config module {module} are known to this check")
        build, run = MODULES.get(module, (None, None))
        c.that(build in wanted["build"], f"{module}: {build} is installed for the build")
        c.that(run is None or run in wanted["runtime-base"], f"{module}: {run} is installed at run time")
    c.equal({p for p in wanted["runtime-base"] if p.endswith("-dev") or p in ("gcc", "make", "cmake")}, set(),
            "nothing of the compiler in the runtime image")
    return set().union(*wanted.values())


def check_known(c, packages):
    release = pathlib.Path("/etc/os-release").read_text() if os.path.exists("/etc/os-release") else ""
    if "VERSION_CODENAME=bookworm" not in release or not shutil.which("apt-cache"):
        print("image: this is not Debian 12, the names of its packages are not looked up")
        return
    for package in sorted(packages):
        policy = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True).stdout
        c.that(re.search(r"Candidate: \d", policy), f"Debian 12 has the package {package}")


def check_stages(c, stages):
    last = {name: dict(steps) for name, steps in stages}
    c.equal([name for name, _ in stages][-1], "runtime", "the default target")
    for name in ("runtime", "runtime-cc"):
        c.equal(last[name]["FROM"], "runtime-base", f"{name} comes from runtime-base")
        c.equal(stages[[n for n, _ in stages].index(name)][1][-1], ("USER", "65532:65532"), f"{name} ends as no root")
    c.equal(json.loads(last["runtime-base"]["ENTRYPOINT"]), ["gpu-sidecar"], "entry point")
    c.equal(json.loads(last["runtime-base"]["CMD"])[0], "serve", "command")
    values = (CHART / "values.yaml").read_text()
    c.that("runAsUser: 65532" in values, "the chart's user is the image's")
    base = re.search(r"^ARG BASE=(\S+)$", (DEPLOY / "Dockerfile").read_text(), re.M)
    c.equal(base and base[1], "debian:12-slim", "base image")


def check_binary(c, packages):
    """Every library that a built daemon asks for comes with a package of the runtime image."""
    binary = ROOT / "build/release/sidecar/gpu-sidecar"
    if not binary.exists() or not shutil.which("dpkg-query"):
        print("image: no release build here, the daemon's libraries are not looked up")
        return
    text = subprocess.run(["ldd", str(binary)], capture_output=True, text=True).stdout
    for path in re.findall(r"=> (/\S+)", text):
        owner = subprocess.run(["dpkg-query", "-S", "*/" + os.path.basename(path)], capture_output=True, text=True).stdout
        owners = {line.split(":")[0] for line in owner.split("\n") if line}
        c.that(owners & (packages | {"libc6", "zlib1g", "libgcc-s1"}), f"{path} comes with a package of the image")


def check_prebuild(c):
    """prebuild-kernels with a program in place of gpu-sidecar: each version gets its own object, all can read it."""
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for package in ("a/1.0.0", "a/1.1.0", "b/1.0.0"):
            (work / "in" / package).mkdir(parents=True)
            (work / "in" / package / "manifest.yaml").write_text(package)
        (work / "in/README.md").write_text("not a package")
        fake = work / "bin/gpu-sidecar"
        fake.parent.mkdir()
        fake.write_text('#!/bin/sh\nset -eu\numask 077\n[ "$1 $2 $3 $5" = "kernels build --root --cache" ]\n'
                        'mkdir "$6"\ncat "$4"/*/*/manifest.yaml >"$6/$(cat "$4"/*/*/manifest.yaml | tr / -).so"\n')
        fake.chmod(0o755)
        env = {**os.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"}
        run = [str(DEPLOY / "prebuild-kernels"), str(work / "in"), str(work / "out")]
        done = subprocess.run(run, env=env, capture_output=True, text=True)
        c.equal((done.returncode, done.stderr), (0, ""), "prebuild-kernels")
        made = sorted(str(p.relative_to(work / "out")) for p in (work / "out").rglob("*") if p.is_file())
        c.equal(made, [f"{p}/{f}" for p in ("a/1.0.0", "a/1.1.0", "b/1.0.0")
                       for f in ("manifest.yaml", f"prebuilt/{p.replace('/', '-')}.so")], "prebuilt objects")
        modes = [p.stat().st_mode for p in (work / "out").rglob("*")]
        c.that(all(m & stat.S_IROTH and not m & stat.S_IWOTH for m in modes), "prebuilt objects can be read by all")
        fake.write_text("#!/bin/sh\nexit 3\n")
        c.that(subprocess.run(run, env=env, capture_output=True).returncode != 0, "a kernel that fails fails the image")
        shutil.rmtree(work / "in/a"), shutil.rmtree(work / "in/b")
        c.that(subprocess.run(run, env=env, capture_output=True).returncode == 1, "no kernels fail the image")
    kernels = ROOT / "gpu/kernels"
    if kernels.exists():
        c.that(list(kernels.glob("*/*/manifest.yaml")), "gpu/kernels holds packages")


def check_config(c, program):
    image = program.parse((DEPLOY / "config.yaml").read_text())
    chart = config_of(program, program.render("default", CHART))
    c.equal(set(image), set(chart), "the image's configuration has the sections of the chart's")
    for section, options in image.items():
        c.that(set(options) <= set(chart[section]), f"config.yaml {section} has no option that the chart lacks")
    for path in (("socket", "path"), ("http", "address"), ("kernels", "root")):
        c.equal(image[path[0]][path[1]], chart[path[0]][path[1]], f"config.yaml {'.'.join(path)}")


def main():
    c, program = Checks(), Program(sys.argv[1])
    stages = stages_of((DEPLOY / "Dockerfile").read_text())
    check_stages(c, stages)
    check_copies(c, stages)
    packages = check_packages(c, stages)
    check_known(c, packages)
    check_binary(c, packages)
    check_prebuild(c)
    check_config(c, program)
    print(f"image: {c.passed} checks passed, {c.failed} failed")
    return 1 if c.failed else 0


if __name__ == "__main__":
    sys.exit(main())
