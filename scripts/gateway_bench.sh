#!/usr/bin/env bash
# make gateway-bench: POST /v1/views of the example gateway under load, on counter_ext, on plain rows and on Redis, all of them
# durable: PostgreSQL with synchronous_commit on, Redis with appendfsync always. BENCH_SECONDS (5) is the length of a run,
# BENCH_CLIENTS (64) how many connections ask, BENCH_RATE (1000) the load of the last columns; GATEWAY_INSTALL=0 builds no extension.
set -euo pipefail
# shellcheck source=scripts/lib/cluster.sh
source "$(dirname "$0")/lib/cluster.sh"
# shellcheck source=scripts/lib/gateway.sh
source "$root/scripts/lib/gateway.sh"
progress() { say "$*" >&2; }
# shellcheck source=bench/lib/redis.sh
source "$root/bench/lib/redis.sh"

seconds=${BENCH_SECONDS:-5}
clients=${BENCH_CLIENTS:-64}
rate=${BENCH_RATE:-1000}

# lane TITLE OPTION...: the gateway so, under each of the loads.
lane() {
    local title=$1 load figures
    shift
    progress "$title"
    gateway_start --listen 127.0.0.1:0 --trust-proxy --connections 16 "$@"
    printf '%s\n' "$title"
    for load in "1000" "1" "1000 $rate"; do
        # shellcheck disable=SC2086 # items, and a rate
        figures=$("$gateway_built/visitors" "$gateway_address" "$clients" "$seconds" $load) ||
            die "$title: visitors were not answered: $figures"
        # shellcheck disable=SC2086
        printf '  %-24s %s\n' "$(describe_load $load)" "$figures"
    done
    gateway_stop >&2 || die "$title: the gateway has not counted all that it took in"
}

describe_load() {
    if [ $# = 2 ]; then
        echo "$2 a second are sent"
    elif [ "$1" = 1 ]; then
        echo "one item, closed loop"
    else
        echo "$1 items, closed loop"
    fi
}

main() {
    bash "$root/scripts/setup.sh" build >&2
    use_cargo
    use_postgres
    if [ "${GATEWAY_INSTALL:-1}" = 1 ]; then install_extension >&2; fi
    gateway_build --features redis >&2
    cluster_start "shared_preload_libraries=$extension" "shared_buffers=1GB"
    cluster_psql -f "$gateway_dir/setup.sql" >/dev/null
    cluster_psql -f "$gateway_dir/plain.sql" >/dev/null
    printf 'PostgreSQL %s, %s CPUs, %s clients, %s s a run\n\n' "$PG_MAJOR" "$(nproc)" "$clients" "$seconds"
    lane "counter_ext" --limit 0
    lane "counter_ext, a limit a client asked for each view" --limit 1000000
    lane "plain rows, an upsert a view" --limit 0 --store update --batch 1 --writers 16
    lane "plain rows, in batches" --limit 0 --store update
    if redis_is_here; then
        at_exit redis_stop
        redis_start --appendonly yes --appendfsync always
        lane "Redis, in batches" --limit 0 --store redis --redis "unix://$redis_dir/socket"
        redis_stop
    else
        say "redis-server is not here: its rows are left out"
    fi
}

main
