#!/usr/bin/env bash
# make gateway: the example gateway on a throwaway cluster of its own, with simulated visitors, until Ctrl-C. GATEWAY_LISTEN
# (127.0.0.1:8080) is where; GATEWAY_RATE (200) views a second come; GATEWAY_SECONDS ends it by itself; GATEWAY_INSTALL=0 takes
# the extension that is installed and builds none.
set -euo pipefail
# shellcheck source=scripts/lib/cluster.sh
source "$(dirname "$0")/lib/cluster.sh"
# shellcheck source=scripts/lib/gateway.sh
source "$root/scripts/lib/gateway.sh"

# Visitors come from as many addresses, none of which reaches its limit of 600 writes a minute.
visitors=50

main() {
    local status=0
    bash "$root/scripts/setup.sh" build
    use_cargo
    use_postgres
    if [ "${GATEWAY_INSTALL:-1}" = 1 ]; then
        say "Building $extension and installing it into PostgreSQL $PG_MAJOR (about 5 minutes the first time)"
        install_extension
    fi
    say "Building the gateway (about two minutes the first time)"
    # shellcheck disable=SC2119 # without features
    gateway_build
    cluster_start "shared_preload_libraries=$extension"
    cluster_psql -f "$gateway_dir/setup.sql" >/dev/null
    gateway_start --listen "${GATEWAY_LISTEN:-127.0.0.1:8080}" --trust-proxy
    at_exit stop_visitors
    "$gateway_built/visitors" "$gateway_address" "$visitors" 0 200 "${GATEWAY_RATE:-200}" likes >/dev/null &
    visitors_pid=$!
    printf '\n  The gateway shows its page at  http://%s/\n\n' "$gateway_address"
    printf '    curl -X POST http://%s/v1/views/mine\n    curl http://%s/v1/views/mine\n' "$gateway_address" "$gateway_address"
    printf "    %s -h %s -p %s -U postgres -c 'TABLE counters'\n\n" "$PG_BIN/psql" "$PGHOST" "$PGPORT"
    say "  Ctrl-C ends it: what was acknowledged is counted first."
    # It ends the wait and nothing else. Then the status is the gateway's, which says whether all was counted.
    trap : INT
    if [ -n "${GATEWAY_SECONDS:-}" ]; then sleep "$GATEWAY_SECONDS" || true; else wait "$gateway_pid" || true; fi
    trap '' INT
    stop_visitors
    gateway_stop || status=$?
    say "the database has $(cluster_psql -c "SELECT counter_get('views')") views"
    return "$status"
}

stop_visitors() {
    if [ -n "${visitors_pid:-}" ]; then kill "$visitors_pid" 2>/dev/null || true; fi
    visitors_pid=
}

main
