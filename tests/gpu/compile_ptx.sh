#!/usr/bin/env bash
# Compiles the resident engine with all sample kernels to PTX for one GPU architecture, with clang alone.
# Checks that the entry point is there, that every kernel is in the module, and that nothing the device
# lacks is called. Usage: compile_ptx.sh SOURCE_ROOT ARCH OUTPUT_DIR
set -euo pipefail
root=$1 arch=$2 out=$3
clang=$(command -v clang-16 || command -v clang-17 || command -v clang-18 || true)
[ -n "$clang" ] || { echo "no clang that knows $arch is installed"; exit 77; }

dispatch=$out/dispatch-$arch.h
{
    cases=""
    index=0
    for folder in "$root"/gpu/kernels/*/*/; do
        id=$(basename "$(dirname "$folder")")
        for source in "$folder"*.c; do echo "#include \"$source\""; done
        cases+="    case $index: k_handler_${id//-/_}(state, message, ctx); return true;"$'\n'
        index=$((index + 1))
    done
    echo "K_FN bool eng_dispatch(uint32_t kernel, void *state, const struct k_message *message,"
    echo "                       struct k_context *ctx)"
    printf '{\n    switch (kernel) {\n%s    }\n    return false;\n}\n' "$cases"
} >"$dispatch"

ptx=$out/resident-$arch.ptx
"$clang" -x cuda --cuda-device-only --cuda-path=/nonexistent -nocudainc -nocudalib \
    --cuda-gpu-arch="$arch" -O2 -Wall -Werror -Wno-unused-function -S \
    -I"$root" -I"$root/gpu/engine" "-DENG_DISPATCH=\"$dispatch\"" -o "$ptx" "$root/gpu/engine/resident.cu"

grep -q '^\.target '"$arch" "$ptx"
grep -q '\.visible \.entry eng_resident' "$ptx"
if grep '^\.extern' "$ptx"; then
    echo "the module calls what no device has"
    exit 1
fi
kernels=$(grep -c 'case [0-9]*: k_handler_' "$dispatch")
[ "$kernels" -gt 0 ]
echo "$arch: $(wc -l <"$ptx") lines of PTX, $kernels kernels"
