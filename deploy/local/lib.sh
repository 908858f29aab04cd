# Sourced by the scripts that run several processes: start, wait for, stop.
declare -A running=()

# start NAME LOG COMMAND...
start() {
    local name=$1 log=$2
    shift 2
    "$@" >"$log" 2>&1 &
    running[$name]=$!
}

alive() {
    kill -0 "${running[$1]}" 2>/dev/null
}

# stop NAME: asks, then waits until it is gone
stop() {
    local pid=${running[$1]:-}
    [ -n "$pid" ] || return 0
    unset "running[$1]"
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

stop_all() {
    local name
    for name in "${!running[@]}"; do stop "$name"; done
}

# wait_for LOG TEXT [SECONDS]
wait_for() {
    local end=$((SECONDS + ${3:-60}))
    until grep -qF "$2" "$1" 2>/dev/null; do
        if [ $SECONDS -ge $end ]; then
            echo "no \"$2\" in $1 after ${3:-60} s; its last lines:" >&2
            tail -n 20 "$1" >&2
            return 1
        fi
        sleep 0.1
    done
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# dotnet_build PROJECT_FOLDER OUTPUT [ORLEANS_VERSION]; DOTNET_BUILD_ARGS: more arguments, e.g. of a private feed
dotnet_build() {
    local args=(-c Release -f net10.0 -nologo -v quiet -o "$2")
    [ -z "${3:-}" ] || args+=("-p:OrleansVersion=$3")
    # shellcheck disable=SC2086
    dotnet build "$1" "${args[@]}" ${DOTNET_BUILD_ARGS:-} >"$2.build.log" 2>&1 || { tail -n 15 "$2.build.log"; return 1; }
}
