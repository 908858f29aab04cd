#!/usr/bin/env python3
"""The demo against a daemon of this build on the CPU device, compared with the oracle.

Usage: demo_impact.py GPU_SIDECAR SOURCE_ROOT PACKAGES
Runs it twice on one daemon, over the socket and then as an Orleans client through the built-in
gateway with the events of the stream; the second run finds the grains that the first one left. Exit code 77:
this machine has no C compiler for the kernels.
"""
import json
import pathlib
import shutil
import socket as sockets
import subprocess
import sys
import tempfile
import time


def free_port():
    with sockets.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(socket, daemon):
    for _ in range(600):
        if socket.exists():
            return
        if daemon.poll() is not None:
            sys.exit(f"the daemon ended with {daemon.returncode}")
        time.sleep(0.1)  # a start-up is awaited; nothing is measured
    sys.exit("the daemon does not listen after 60 s")


def main():
    sidecar, root, packages = sys.argv[1:]
    root = pathlib.Path(root)
    if shutil.which("cc") is None:
        print("skipped: no C compiler")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        socket = folder / "gpu-sidecar.sock"
        gateway = f"127.0.0.1:{free_port()}"
        daemon = subprocess.Popen([
            sidecar, "serve", f"--socket.path={socket}", "--http.address=off",
            f"--kernels.root={root}/gpu/kernels", f"--kernels.include={root}/gpu/engine",
            f"--kernels.cache={folder}/cache", "--device.blocks=2",
            "--stream.mode=memory", f"--silo.endpoint={gateway}", f"--gateway.listen={gateway}",
            "--silo.cluster_id=demo", "--gateway.cluster_id=demo"])
        try:
            wait_for(socket, daemon)
            demo = [sidecar, "demo"]
            names = subprocess.run(demo + ["pick", "--packages", packages], check=True,
                                   stdout=subprocess.PIPE, text=True).stdout.strip()
            expected = folder / "expected"
            with expected.open("w") as out:
                subprocess.run([sys.executable, root / "tests/support/impact_oracle.py", packages,
                                names], check=True, stdout=out)
            for extra in (["--keep"], ["--credits", "2", "--gateway", gateway,
                                      "--cluster-id", "demo"]):
                result = subprocess.run(
                    demo + ["impact", "--socket", socket, "--packages", packages, "--ask", names,
                            "--expect", expected, "--calls", "50", "--rounds", "20", "--json"] +
                    extra, stdout=subprocess.PIPE, text=True)
                print(result.stdout)
                answer = json.loads(result.stdout)
                if result.returncode != 0 or not answer["pass"] or len(answer["asks"]) < 5:
                    return 1
            return 0
        finally:
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


sys.exit(main())
