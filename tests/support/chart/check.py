"""Renders the chart with every set of values and checks what comes out.

    check.py RENDER [TYPES]     RENDER: the program made of render.go; TYPES: a folder where kubernetes-models is
                                installed, without it the API types are not checked
"""
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CHART = ROOT / "deploy/helm/gpu-sidecar"
SOCKET_DIR = "/run/gpu-sidecar"
PROBES = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


class Checks:
    """Counts claims; prints the ones that do not hold."""

    def __init__(self):
        self.passed = self.failed = 0

    def that(self, holds, claim):
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED {claim}")

    def equal(self, got, want, claim):
        self.that(got == want, f"{claim}: got {got!r}, want {want!r}")


class Rendered:
    def __init__(self, name, outputs):
        self.name = name
        self.notes = [o["object"] for o in outputs if isinstance(o["object"], str)]
        self.objects = [o["object"] for o in outputs if not isinstance(o["object"], str)]

    def of(self, kind):
        return [o for o in self.objects if o["kind"] == kind]

    def one(self, kind, suffix=""):
        return next(o for o in self.of(kind) if o["metadata"]["name"].endswith(suffix))

    def workload(self):
        return (self.of("StatefulSet") + self.of("Deployment"))[0]


class Program:
    def __init__(self, path):
        self.path = path

    def run(self, chart, values=(), dependencies=(), kube="1.31.0"):
        args = [self.path, "-kube", kube]
        for v in values:
            args += ["-f", str(v)]
        for d in dependencies:
            args += ["-dependency", str(d)]
        return subprocess.run(args + [str(chart)], capture_output=True, text=True)

    def render(self, name, *args, **kwargs):
        done = self.run(*args, **kwargs)
        if done.returncode:
            sys.exit(f"{name}: {done.stderr}")
        return Rendered(name, json.loads(done.stdout))

    def parse(self, text):
        return json.loads(subprocess.run([self.path, "-to-json"], input=text, capture_output=True, text=True,
                                         check=True).stdout)


def check_container_security(c, who, context):
    c.equal(context.get("runAsNonRoot"), True, f"{who} runAsNonRoot")
    c.that(context.get("runAsUser", 0) > 0, f"{who} has a user that is not root")
    c.equal(context.get("readOnlyRootFilesystem"), True, f"{who} readOnlyRootFilesystem")
    c.equal(context.get("allowPrivilegeEscalation"), False, f"{who} allowPrivilegeEscalation")
    c.equal(context.get("capabilities"), {"drop": ["ALL"]}, f"{who} capabilities")
    c.equal(context.get("seccompProfile"), {"type": "RuntimeDefault"}, f"{who} seccompProfile")
    c.that("privileged" not in context, f"{who} says nothing of privileged")


def check_pod_security(c, who, spec):
    for name in ("hostNetwork", "hostIPC", "hostPID", "shareProcessNamespace"):
        c.that(not spec.get(name), f"{who} has no {name}")
    c.that(all("hostPath" not in v for v in spec["volumes"]), f"{who} has no hostPath volume")
    c.that(all("hostPort" not in p for k in spec["initContainers"] + spec["containers"] for p in k.get("ports", [])),
           f"{who} has no hostPort")
    c.equal(spec.get("automountServiceAccountToken"), False, f"{who} automountServiceAccountToken")
    context = spec["securityContext"]
    c.equal(context.get("runAsNonRoot"), True, f"{who} pod runAsNonRoot")
    c.equal(context.get("seccompProfile"), {"type": "RuntimeDefault"}, f"{who} pod seccompProfile")
    c.that(context.get("fsGroup", 0) > 0, f"{who} has an fsGroup")
    for k in spec["initContainers"] + spec["containers"]:
        check_container_security(c, f"{who}/{k['name']}", k["securityContext"])
        c.equal(k["securityContext"].get("runAsGroup"), context["fsGroup"], f"{who}/{k['name']} runs in the fsGroup")


def check_mounts(c, who, spec):
    volumes = {v["name"]: v for v in spec["volumes"]}
    c.equal(len(volumes), len(spec["volumes"]), f"{who} volume names are unique")
    containers = spec["initContainers"] + spec["containers"]
    mounted = {m["name"] for k in containers for m in k["volumeMounts"]}
    c.equal(mounted, set(volumes), f"{who} mounts what it has")
    for k in containers:
        paths = [m["mountPath"] for m in k["volumeMounts"]]
        c.equal(len(paths), len(set(paths)), f"{who}/{k['name']} mount paths are unique")
        at = {m["mountPath"]: m for m in k["volumeMounts"]}
        c.that(SOCKET_DIR in at and not at[SOCKET_DIR].get("readOnly"), f"{who}/{k['name']} has the socket's folder")
        if SOCKET_DIR in at:
            volume = volumes[at[SOCKET_DIR]["name"]]
            c.equal(volume.get("emptyDir", {}).get("medium"), "Memory", f"{who} socket volume is in memory")
            c.that("sizeLimit" in volume.get("emptyDir", {}), f"{who} socket volume has a size limit")
    for v in spec["volumes"]:
        if "emptyDir" in v and v["name"].startswith("gpu-sidecar"):
            c.that("sizeLimit" in v["emptyDir"], f"{who} volume {v['name']} has a size limit")


def check_sidecar(c, who, spec, config):
    c.equal([k["name"] for k in spec["initContainers"]], ["gpu-sidecar"], f"{who} init containers")
    k = spec["initContainers"][0]
    c.equal(k.get("restartPolicy"), "Always", f"{who} native sidecar")
    c.equal(k["args"], ["serve", "--config", "/etc/gpu-sidecar/config.yaml"], f"{who} arguments")
    c.that("command" not in k, f"{who} uses the image's entry point")
    http = {p["name"]: p["containerPort"] for p in k["ports"]}
    for probe, path in PROBES.items():
        get = k[probe]["httpGet"]
        c.equal(get["path"], path, f"{who} {probe} path")
        c.equal(http.get(get["port"]), int(config["http"]["address"].rsplit(":", 1)[1]), f"{who} {probe} port")
        c.that(k[probe]["timeoutSeconds"] <= k[probe]["periodSeconds"], f"{who} {probe} ends before the next")
    names = [p["name"] for x in spec["initContainers"] + spec["containers"] for p in x["ports"]]
    c.equal(len(names), len(set(names)), f"{who} port names are unique in the pod")
    c.that(all(len(n) <= 15 for n in names), f"{who} port names are short enough")
    writable = [m["mountPath"] for m in k["volumeMounts"] if not m.get("readOnly")]
    c.equal(sorted(writable), [SOCKET_DIR, "/tmp", "/var/cache/gpu-sidecar"], f"{who} writable folders")
    c.that(config["kernels"]["cache"].startswith("/var/cache/gpu-sidecar/"), f"{who} cache is in a writable folder")
    root = [m for m in k["volumeMounts"] if m["mountPath"] == config["kernels"]["root"]]
    c.that(config["kernels"]["root"] == "/usr/share/gpu-sidecar/kernels" or (root and root[0].get("readOnly")),
           f"{who} kernels are the image's or mounted read-only")


def check_config(c, who, config, spec, names):
    silo = spec["containers"][0]
    gateway = next(p["containerPort"] for p in silo["ports"] if p["name"] == "gateway")
    c.equal(config["silo"]["endpoint"], f"127.0.0.1:{gateway}", f"{who} silo.endpoint")
    c.equal(config["silo"]["cluster_id"], names["clusterId"], f"{who} silo.cluster_id")
    c.equal(config["socket"]["path"], f"{SOCKET_DIR}/gpu-sidecar.sock", f"{who} socket.path")
    c.that(config["http"]["address"].startswith("0.0.0.0:"), f"{who} http.address is open to the kubelet")
    c.equal(config["stream"]["mode"], "bridge", f"{who} stream.mode")
    c.that(config["stream"]["provider"], f"{who} stream.provider")
    c.equal(config["log"]["format"], "json", f"{who} log.format")
    for option in ("blocks", "grains_max", "heap_bytes"):
        c.that(type(config["device"][option]) is int, f"{who} device.{option} is a whole number")
    c.that(type(config["drain"]["timeout_ms"]) is int, f"{who} drain.timeout_ms is a whole number")
    drain = config["drain"]["timeout_ms"] / 1000
    c.that(spec["terminationGracePeriodSeconds"] > drain + names["shutdownSeconds"],
           f"{who} grace period holds the silo's shutdown and the drain")


def check_wiring(c, r):
    """Objects that name each other do so rightly."""
    who, w = r.name, r.workload()
    labels, spec = w["spec"]["template"]["metadata"]["labels"], w["spec"]["template"]["spec"]
    ports = {p["name"] for k in spec["initContainers"] + spec["containers"] for p in k["ports"]}
    c.that(w["spec"]["selector"]["matchLabels"].items() <= labels.items(), f"{who} selects its own pods")
    for s in r.of("Service"):
        name = s["metadata"]["name"]
        c.that(s["spec"]["selector"].items() <= labels.items(), f"{who} service {name} selects the pods")
        c.that({p["targetPort"] for p in s["spec"]["ports"]} <= ports, f"{who} service {name} targets ports by name")
        for pod in r.of("Pod"):
            c.that(not s["spec"]["selector"].items() <= pod["metadata"]["labels"].items(),
                   f"{who} service {name} leaves the test pod out")
    if w["kind"] == "StatefulSet":
        headless = next(s for s in r.of("Service") if s["metadata"]["name"] == w["spec"]["serviceName"])
        c.equal(headless["spec"]["clusterIP"], "None", f"{who} has a headless service")
    maps = {o["metadata"]["name"]: o for o in r.of("ConfigMap")}
    for v in spec["volumes"]:
        source = v.get("configMap")
        c.that(not source or source["name"] in maps, f"{who} volume {v['name']} names a ConfigMap of the chart")
        for item in (source or {}).get("items", []):
            c.that(item["key"] in maps[source["name"]]["data"], f"{who} ConfigMap has the key of {item['path']}")
    c.that(all(a["automountServiceAccountToken"] is False for a in r.of("ServiceAccount")), f"{who} accounts: no token")
    for m in r.objects:
        c.that(len(m["metadata"]["name"]) <= 63, f"{who} {m['kind']} name fits")


def config_of(program, r):
    return program.parse(r.one("ConfigMap", "-config")["data"]["config.yaml"])


def check_default(c, r, config):
    spec = r.workload()["spec"]["template"]["spec"]
    c.equal(r.workload()["kind"], "StatefulSet", "default workload")
    c.equal(config["device"]["backend"], "cpu", "default backend")
    c.that("nvidia" not in json.dumps(r.objects), "default asks for no GPU")
    c.that(not r.of("Role"), "default has no Role")
    c.that("serviceAccountToken" not in json.dumps(spec["volumes"]), "default has no API token")
    c.equal(config["device"]["heap_bytes"], 268435456, "default heap_bytes")
    c.equal(spec["terminationGracePeriodSeconds"], 55, "default grace period")
    check_test_pod(c, r.one("Pod"))
    c.that("port-forward service/demo-gpu-sidecar 9464" in r.notes[0], "notes name service and port")


def check_test_pod(c, pod):
    c.equal(pod["metadata"]["annotations"]["helm.sh/hook"], "test", "test pod is a hook")
    context = {**pod["spec"]["securityContext"], **pod["spec"]["containers"][0]["securityContext"]}
    check_container_security(c, "test pod", context)
    script = pod["spec"]["containers"][0]["command"][-1]
    c.that("http://demo-gpu-sidecar:9464" in script, "test pod asks the service")
    c.that(all(p in script for p in ("livez", "readyz", "startupz", "metrics")), "test pod asks every path")


def check_three_silos(c, r, config):
    spec = r.workload()["spec"]["template"]["spec"]
    sidecar, silo = spec["initContainers"][0], spec["containers"][0]
    c.equal(sidecar["resources"]["limits"], {"memory": "4Gi"}, "limits as given")
    c.equal((config["device"]["backend"], config["device"]["heap_bytes"]), ("cpu", 34359738368), "device as given")
    c.equal(spec["runtimeClassName"], "gvisor", "runtime class")
    c.equal(r.workload()["spec"]["replicas"], 3, "replicas")
    c.that(silo["image"].startswith("registry.example.com/shop/silo@sha256:"), "a digest wins over the tag")
    token = [v["name"] for v in spec["volumes"] if "serviceAccountToken" in json.dumps(v)]
    c.equal(token, ["silo-api-token"], "kubernetesHosting: one token")
    c.that(token[0] in [m["name"] for m in silo["volumeMounts"]], "kubernetesHosting: the silo has it")
    c.that(token[0] not in [m["name"] for m in sidecar["volumeMounts"]], "kubernetesHosting: the sidecar has it not")
    c.equal(r.one("RoleBinding")["subjects"][0]["name"], spec["serviceAccountName"], "the binding names the account")
    c.equal([x["resources"] for x in r.one("Role")["rules"]], [["pods"]], "the role is for pods")


def check_kernels_configmap(c, r, config):
    spec = r.workload()["spec"]["template"]["spec"]
    items = next(v for v in spec["volumes"] if v["name"] == "gpu-sidecar-kernels")["configMap"]["items"]
    c.equal([i["path"] for i in items], ["tally/1.0.0/manifest.yaml", "tally/1.0.0/tally.c"], "kernel files")
    data = r.one("ConfigMap", "-kernels")["data"]
    c.equal(len(data), 2, "one key a file")
    c.that(any(t.startswith('#include "k_grain.h"\nstruct tally') and t.endswith("}\n") for t in data.values()),
           "kernel source is carried as it is")
    c.equal(config["kernels"]["root"], "/var/lib/gpu-sidecar/kernels", "kernels.root of a ConfigMap")
    c.equal(r.workload()["metadata"]["name"], "tally", "fullnameOverride")


def check_image_volume(c, r, config):
    spec = r.workload()["spec"]["template"]["spec"]
    volume = next(v for v in spec["volumes"] if v["name"] == "gpu-sidecar-kernels")
    c.equal(volume["image"], {"reference": "registry.example.com/shop/kernels:3", "pullPolicy": "IfNotPresent"},
            "image volume")
    c.equal(config["call"]["deadline_ms"], 2000, "other options of the daemon pass through")
    c.equal(config["http"]["address"], "0.0.0.0:9999", "http.address follows httpPort")
    c.that(not r.of("ServiceAccount") and spec["serviceAccountName"] == "shop", "existing service account")
    c.equal(spec["securityContext"]["fsGroup"], 2000, "fsGroup follows podSecurity.group")


def check_refused(c, program):
    files = sorted((HERE / "refused").glob("*.yaml"))
    c.that(len(files) >= 20, "there are values to refuse")
    for f in files:
        want = f.read_text().split("\n")[0].removeprefix("# expect: ")
        done = program.run(CHART, [f])
        c.that(done.returncode == 1 and want in done.stderr,
               f"refused/{f.name}: want {want!r}, got exit {done.returncode}: {done.stderr.strip()}")
    done = program.run(CHART, kube="1.28.4")
    c.that(done.returncode == 1 and "requires kubeVersion" in done.stderr, "Kubernetes 1.28 is refused")


def check_documented(c):
    """Every top-level name of values.yaml is in the schema, and the other way round."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = [line.split(":")[0] for line in (CHART / "values.yaml").read_text().split("\n")
              if line and line[0].isalpha()]
    c.equal(set(values) | {"global"}, set(schema["properties"]), "values.yaml and values.schema.json name the same")


def check_types(c, rendered, folder):
    """The API types know every field; and a planted fault shows that they are really asked."""
    def faults(objects):
        done = subprocess.run(["node", str(HERE / "types/check.js")], input=json.dumps(objects), cwd=folder,
                              capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr
    for r in rendered:
        code, text = faults(r.objects)
        c.that(code == 0 and f"types: {len(r.objects)} objects checked" in text, f"{r.name} types: {text}")
    for plant, want in (
            (lambda p: p["initContainers"][0].update(restartPolicie="Always"), "unknown field"),
            (lambda p: p["containers"][0]["ports"][0].pop("containerPort"), "must have required property"),
            (lambda p: p.update(terminationGracePeriodSeconds="55"), "must be integer")):
        bad = json.loads(json.dumps(rendered[0].workload()))
        plant(bad["spec"]["template"]["spec"])
        code, text = faults([bad])
        c.that(code == 1 and want in text, f"a planted fault is seen ({want}): {text}")


def check_pod(c, program, r, config, names):
    spec = r.workload()["spec"]["template"]["spec"]
    check_pod_security(c, r.name, spec)
    check_mounts(c, r.name, spec)
    check_sidecar(c, r.name, spec, config)
    check_config(c, r.name, config, spec, names)


SETS = {
    "default": (check_default, {"clusterId": "default", "shutdownSeconds": 30}),
    "three-silos": (check_three_silos, {"clusterId": "prod-eu", "shutdownSeconds": 30}),
    "kernels-configmap": (check_kernels_configmap, {"clusterId": "default", "shutdownSeconds": 30}),
    "image-volume": (check_image_volume, {"clusterId": "default", "shutdownSeconds": 90}),
}


def main():
    program, types = Program(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    c, rendered = Checks(), []
    c.equal({f.stem for f in (HERE / "values").glob("*.yaml")} | {"default"}, set(SETS), "every set is checked")
    for name, (special, names) in SETS.items():
        values = [] if name == "default" else [HERE / f"values/{name}.yaml"]
        r = program.render(name, CHART, values)
        rendered.append(r)
        config = config_of(program, r)
        check_pod(c, program, r, config, names)
        check_wiring(c, r)
        special(c, r, config)
    embed = program.render("embed", HERE / "embed", dependencies=[CHART])
    rendered.append(embed)
    c.equal(sorted(o["kind"] for o in embed.objects), ["ConfigMap", "Deployment"], "embed: objects")
    check_pod(c, program, embed, config_of(program, embed), {"clusterId": "shop", "shutdownSeconds": 30})
    check_wiring(c, embed)
    check_refused(c, program)
    check_documented(c)
    if types:
        check_types(c, rendered, types)
    print(f"chart: {c.passed} checks passed, {c.failed} failed")
    return 1 if c.failed else 0


if __name__ == "__main__":
    sys.exit(main())
