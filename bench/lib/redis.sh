#!/usr/bin/env bash
# shellcheck disable=SC2154 # bench/run and what it sources before set the rest
# Redis as a peer: a throwaway server on a Unix socket, loaded by its own redis-benchmark. Sourced, never run.

redis_is_here() { command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; }

# Redis is a package away on Debian and Ubuntu. Its own service is not wanted.
redis_install() {
    if redis_is_here || ! command -v apt-get >/dev/null; then return; fi
    progress "installing redis-server, to be measured against"
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q -y install redis-server </dev/null >/dev/null 2>&1 ||
        progress "redis-server cannot be installed: its rows are left out"
}

# redis_start OPTION...: on a socket in a directory of its own, beside the cluster's file system.
redis_start() {
    local tries
    redis_dir=$(mktemp -d)
    redis-server --port 0 --unixsocket "$redis_dir/socket" --dir "$redis_dir" --save "" "$@" >"$redis_dir/log" 2>&1 &
    redis_pid=$!
    for tries in {1..100}; do
        if redis-cli -s "$redis_dir/socket" ping >/dev/null 2>&1; then return; fi
        sleep 0.05
    done
    cat "$redis_dir/log" >&2
    die "redis-server did not start in $((tries / 20)) s"
}

redis_stop() {
    if [ -z "${redis_pid:-}" ]; then return; fi
    kill "$redis_pid" 2>/dev/null
    wait "$redis_pid" 2>/dev/null
    redis_pid=
    rm -rf "$redis_dir"
}

# run_redis SECONDS PIPELINE OPTION...: sets tps, INCRs a second of one key. The number of requests follows from a short
# run first, since redis-benchmark knows no time.
run_redis() {
    local seconds=$1 pipeline=$2 first
    shift 2
    redis_start "$@"
    first=$(redis_rate 20000 "$pipeline")
    tps=$(redis_rate "$(calculate "int($first * $seconds / 10000) * 10000 + 10000")" "$pipeline")
    redis_stop
    [ -n "$tps" ] || die "redis-benchmark said nothing"
}

redis_rate() {
    redis-benchmark -s "$redis_dir/socket" -c "$clients" -P "$2" -n "$1" -t incr --csv 2>/dev/null |
        sed -n 's/^"INCR","\([0-9.]*\)".*/\1/p'
}
