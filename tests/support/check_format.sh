#!/usr/bin/env bash
# clang-format decides how C reads; this names the files it would change. Usage: check_format.sh ROOT
set -euo pipefail
cd "$1"
command -v clang-format >/dev/null || { echo "clang-format is not installed"; exit 77; }
mapfile -t files < <(find sidecar orleans-proto gpu placement tests -name '*.[ch]' -o -name '*.cu' | sort)
[ ${#files[@]} -gt 0 ]
clang-format --dry-run -Werror "${files[@]}"
echo "${#files[@]} files are formatted"
