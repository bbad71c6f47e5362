#!/usr/bin/env bash
# shellcheck disable=SC2154 # common.sh sets root
# The example gateway, started and stopped by scripts. Sourced, never run.

gateway_dir=$root/examples/gateway
gateway_built=${CARGO_TARGET_DIR:-$root/target}/examples/gateway/release

# gateway_build [ARGUMENT]...: its programs, without link-time optimisation.
gateway_build() {
    (cd "$gateway_dir" && CARGO_TARGET_DIR=${gateway_built%/release} cargo build --locked --release --bins "$@")
}

# gateway_start OPTION...: beside the cluster that runs; where it listens is in gateway_address, its process id in gateway_pid.
gateway_start() {
    local tries
    gateway_log=$(mktemp)
    "$gateway_built/gateway" --database "host=$PGHOST port=$PGPORT user=${gateway_user:-gateway} dbname=postgres" "$@" >"$gateway_log" &
    gateway_pid=$!
    at_exit gateway_stop
    for tries in {1..100}; do
        gateway_address=$(sed -n 's,^listening on http://,,p' "$gateway_log")
        if [ -n "$gateway_address" ]; then return; fi
        kill -0 "$gateway_pid" 2>/dev/null || die "the gateway did not start"
        sleep 0.1
    done
    die "the gateway does not listen after $((tries / 10)) s"
}

# It counts what is queued before it ends; what it says then is shown. The status is the gateway's: not 0 where it has given up
# views, or had died before.
gateway_stop() {
    local status=0
    if [ -z "${gateway_pid:-}" ]; then return; fi
    kill "$gateway_pid" 2>/dev/null || true
    wait "$gateway_pid" || status=$?
    gateway_pid=
    tail -n 1 "$gateway_log"
    rm -f "$gateway_log"
    return "$status"
}
