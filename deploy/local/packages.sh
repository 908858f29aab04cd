# Sourced by deploy/local/demo and tests/run: what each needs of Debian 12, and how it gets there.
BUILD_PACKAGES=(build-essential cmake ninja-build pkg-config python3
    libevent-dev libmsgpack-dev libssl-dev libyaml-dev libxxhash-dev libcmocka-dev)
TEST_PACKAGES=(git clang clang-16 clang-format libclang-rt-14-dev curl)

install_packages() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "all needed packages are installed"
        return
    fi
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "needs root or sudo to install: ${missing[*]}" >&2; return 1; }
        sudo=(sudo)
    fi
    echo "installing: ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
