#!/usr/bin/env python3
"""Asks impact_oracle.py and the impact kernel (impact_check) about the same packages of a list.

Usage: impact_compare.py IMPACT_CHECK PACKAGES NAME[,NAME...]
Names that the list does not have are left out. Exit code 77: there is no such list here.
"""
import pathlib
import re
import subprocess
import sys
import tempfile


def main():
    check, packages, names = sys.argv[1:]
    try:
        text = pathlib.Path(packages).read_text(errors="surrogateescape")
    except OSError as e:
        print(f"skipped: {e}")
        return 77
    have = set(re.findall(r"^Package: (\S+)$", text, re.M))
    names = ",".join(n for n in names.split(",") if n in have)
    if not names:
        print("skipped: none of these packages is in the list")
        return 77
    oracle = pathlib.Path(__file__).with_name("impact_oracle.py")
    with tempfile.NamedTemporaryFile("w") as expected:
        subprocess.run([sys.executable, oracle, packages, names], stdout=expected, check=True)
        return subprocess.run([check, packages, expected.name, names], check=False).returncode


sys.exit(main())
