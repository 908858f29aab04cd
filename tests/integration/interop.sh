#!/usr/bin/env bash
# The product against real Orleans: the sample silo (placement/dotnet/samples) with our silo link, and a real .NET
# client with our built-in gateway. Needs the .NET SDK and Microsoft.Orleans.* from NuGet; without them it says so
# and exits 77. Usage: interop.sh SOURCE_ROOT BUILD_DIR    (ORLEANS_VERSION, DOTNET_BUILD_ARGS from the environment)
set -euo pipefail
root=$1 build=$2
. "$root/deploy/local/lib.sh"
version=${ORLEANS_VERSION:-}
command -v dotnet >/dev/null || { echo "SKIPPED: the .NET SDK is not installed"; exit 77; }

dir=$(mktemp -d)
trap 'stop_all; rm -rf "$dir"' EXIT
dotnet_build "$root/placement/dotnet/samples/SampleSilo" "$dir/silo" "$version" ||
    { echo "SKIPPED: Microsoft.Orleans.* cannot be restored"; exit 77; }
dotnet_build "$root/placement/dotnet/samples/SampleClient" "$dir/client" "$version"

echo "== our silo link against the sample silo"
silo_port=$(free_port) gateway_port=$(free_port)
start silo "$dir/silo.log" dotnet "$dir/silo/SampleSilo.dll" \
    --SiloPort "$silo_port" --GatewayPort "$gateway_port" --Socket "$dir/sidecar.sock"
wait_for "$dir/silo.log" "SILO READY"
"$build/tests/integration/interop_silo" "127.0.0.1:$gateway_port" default
stop_all

echo "== a .NET client against the built-in gateway"
gateway_port=$(free_port)
start daemon "$dir/daemon.log" "$build/sidecar/gpu-sidecar" serve --socket.path="$dir/sidecar.sock" \
    --kernels.root="$root/gpu/kernels" --kernels.include="$root/gpu/engine" --kernels.cache="$dir/cache" \
    --http.address=off --gateway.listen="127.0.0.1:$gateway_port" --silo.endpoint="127.0.0.1:$gateway_port" \
    --stream.mode=memory --stream.provider=StreamProvider
printf 'Package: %s\nStatus: install ok installed\nVersion: 1\n%s\n\n' \
    base "" middle "Depends: base" top "Depends: middle" other "Depends: nothing | base" >"$dir/packages"
until "$build/sidecar/gpu-sidecar" demo impact --socket "$dir/sidecar.sock" --packages "$dir/packages" \
    --ask base --keep >"$dir/demo.log" 2>&1; do
    alive daemon || { cat "$dir/daemon.log" "$dir/demo.log"; exit 1; }
    [ $((tries = ${tries:-0} + 1)) -lt 50 ] || { cat "$dir/demo.log"; exit 1; }
    sleep 0.2
done
dotnet "$dir/client/SampleClient.dll" --GatewayPort "$gateway_port" base middle top
echo "interop: all passed, Orleans ${version:-of the project files}"
