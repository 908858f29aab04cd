#!/usr/bin/env python3
"""Holds the include lines against the direction base <- orleans-proto, gpu, placement <- sidecar.

gpu/abi and gpu/engine are also compiled for the device: they see only each other and the C library.
Usage: check_includes.py SOURCE_ROOT
"""
import pathlib
import re
import sys

# folder of the includer (longest match wins) -> folders it may include
MAY_SEE = {
    "sidecar/base": ["sidecar/base"],
    "orleans-proto": ["sidecar/base", "orleans-proto"],
    "gpu": ["sidecar/base", "gpu"],
    "gpu/abi": ["gpu/abi"],
    "gpu/engine": ["gpu/abi", "gpu/engine"],
    "gpu/kernels": ["gpu/abi", "gpu/engine", "gpu/kernels"],
    "placement": ["sidecar/base", "placement"],
    "sidecar": ["sidecar", "orleans-proto", "gpu", "placement"],
    "tests": ["tests", "sidecar", "orleans-proto", "gpu", "placement"],
}
SUFFIXES = {".c", ".h", ".cu", ".cuh"}


def owner_of(path):
    parts = path.split("/")
    for n in range(len(parts) - 1, 0, -1):
        if "/".join(parts[:n]) in MAY_SEE:
            return "/".join(parts[:n])
    return None


def main():
    root = pathlib.Path(sys.argv[1])
    bad, seen = [], 0
    for top in ("sidecar", "orleans-proto", "gpu", "placement", "tests"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in SUFFIXES:
                continue
            rel = file.relative_to(root).as_posix()
            allowed = MAY_SEE[owner_of(rel)]
            seen += 1
            for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
                m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                if m is None:
                    continue
                target = m.group(1)
                if "/" not in target and "/kernels/" in rel:
                    continue  # a package's own files and k_grain.h, found by the kernel compiler
                if not any(target.startswith(a + "/") for a in allowed):
                    bad.append(f'{rel}:{number}: includes "{target}", may see only {", ".join(allowed)}')
                elif not (root / target).is_file():
                    bad.append(f'{rel}:{number}: includes "{target}", which is not a file')
    print(*bad, f"{seen} files checked, {len(bad)} wrong includes", sep="\n")
    return 1 if bad or seen == 0 else 0


sys.exit(main())
