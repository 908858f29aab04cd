#!/usr/bin/env python3
"""What breaks when a package is removed, computed the plain way: rules as in docs/kernels.md, code
shared with nothing. The demo's answers are compared with this.

Usage: impact_oracle.py PACKAGES NAME[,NAME...]     ("-" reads the package list from standard input)

Prints for every name one line "impact NAME COUNT" and below it a line " PACKAGE" for each package
that breaks (the removed one is not among them), sorted.
"""
import re
import sys

CLAUSE = re.compile(r"^\s*([^\s(:|]+)(?::([^\s(]+))?\s*(?:\(\s*(<<|<=|>>|>=|=|<|>)\s*([^\s)]+)\s*\))?\s*$")


def paragraphs(lines):
    fields, last = {}, None
    for line in lines:
        line = line.rstrip("\r\n")
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, None
        elif line[0] in " \t":
            fields[last] += "\n" + line
        else:
            last, _, value = line.partition(":")
            last = last.lower()
            fields[last] = value.strip()
    if fields:
        yield fields


def sort_key_of_part(text):
    """Splits into (non-digits, number) pairs; each character gets dpkg's weight."""
    key = []
    for letters, digits in re.findall(r"([^0-9]*)([0-9]*)", text):
        weights = [-1 if c == "~" else ord(c) if c.isascii() and c.isalpha() else ord(c) + 256
                   for c in letters]
        # the end of the letters weighs 0: above "~", below everything else
        key.append((weights + [0], int(digits or "0")))
    # findall ends with one empty match, which stands for the end: ([0], 0)
    return key


def compare_lists(a, b):
    for i in range(max(len(a), len(b))):
        x = a[i] if i < len(a) else ([0], 0)
        y = b[i] if i < len(b) else ([0], 0)
        if x != y:
            return -1 if x < y else 1
    return 0


def split_version(version):
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    return epoch, upstream, revision


def compare_versions(a, b):
    for x, y in zip(split_version(a), split_version(b)):
        order = compare_lists(sort_key_of_part(x), sort_key_of_part(y))
        if order != 0:
            return order
    return 0


HOLDS = {
    "<<": lambda o: o < 0, "<=": lambda o: o <= 0, "<": lambda o: o <= 0, "=": lambda o: o == 0,
    ">=": lambda o: o >= 0, ">": lambda o: o >= 0, ">>": lambda o: o > 0,
}


def relations(text):
    """A list of clauses, each a list of (name, qualifier, operator, version)."""
    clauses = []
    for clause in text.split(","):
        if clause.strip():
            clauses.append([CLAUSE.match(a).groups() for a in clause.split("|")])
    return clauses


def read(lines):
    packages = {}
    for p in paragraphs(lines):
        if p.get("status", "install ok installed") != "install ok installed":
            continue
        old = packages.get(p["package"])
        if old is None or compare_versions(p.get("version", ""), old.get("version", "")) > 0:
            packages[p["package"]] = p
    return packages


def satisfiers(alternative, packages, provided):
    name, qualifier, operator, version = alternative
    found = set()
    candidates = [(q, v) for q, v in provided.get(name, [])]
    if name in packages:
        candidates.append((name, packages[name].get("version", "")))
    for package, has in candidates:
        if qualifier not in (None, "any") and packages[package].get("architecture") != qualifier:
            continue
        if operator is not None and (has is None or
                                     not HOLDS[operator](compare_versions(has, version))):
            continue
        found.add(package)
    return found


def main():
    source = sys.stdin if sys.argv[1] == "-" else open(sys.argv[1], encoding="utf-8",
                                                       errors="surrogateescape")
    packages = read(source)
    provided = {}
    for name, p in packages.items():
        for clause in relations(p.get("provides", "")):
            for virtual, _, operator, version in clause:
                provided.setdefault(virtual, []).append(
                    (name, version if operator == "=" else None))
    clauses = {}  # package -> list of sets of packages, any one of which satisfies the clause
    for name, p in packages.items():
        mine = []
        for field in ("depends", "pre-depends"):
            for clause in relations(p.get(field, "")):
                sets = [satisfiers(a, packages, provided) for a in clause]
                whole = frozenset().union(*sets)
                if whole:
                    mine.append(whole)
        clauses[name] = mine
    needs = {}
    for name, mine in clauses.items():
        for whole in mine:
            for package in whole:
                needs.setdefault(package, set()).add(name)

    for asked in sys.argv[2].split(","):
        if asked not in packages:
            sys.exit(f"no package {asked}")
        broken = {asked}
        look = set(needs.get(asked, ()))
        while look:  # the fixpoint: look again at whoever needs something that broke
            fell = {n for n in look - broken if any(whole <= broken for whole in clauses[n])}
            broken |= fell
            look = set().union(*(needs.get(n, ()) for n in fell))
        broken.remove(asked)
        print("impact", asked, len(broken))
        for name in sorted(broken):
            print("", name)


if __name__ == "__main__":
    main()
