#!/usr/bin/env bash
# A throwaway cluster: its own directory, a Unix socket in that directory and
# no TCP port, gone when the shell ends. One at a time; a system cluster is
# never touched. Sourced, never run.

# shellcheck source=scripts/lib/postgres.sh
source "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"

cluster_dir=

# cluster_start [SETTING=VALUE]...: initdb, start, point libpq's environment at it.
cluster_start() {
    [ -z "$cluster_dir" ] || die "a cluster is running already in $cluster_dir"
    at_exit cluster_stop
    cluster_make_dir
    if ! as_cluster_owner "$PG_BIN/initdb" -D "$cluster_dir/data" -U postgres -A trust -N \
        --no-locale -E UTF8 >"$cluster_dir/initdb.log" 2>&1; then
        cat "$cluster_dir/initdb.log" >&2
        die "initdb failed"
    fi
    cluster_configure "$@"
    cluster_start_again
    cluster_use
}

# After it was stopped, or killed.
cluster_start_again() {
    if ! as_cluster_owner "$PG_BIN/pg_ctl" start -w -s -t 60 -D "$cluster_dir/data" -l "$cluster_dir/server.log"; then
        cluster_show_log
        die "the throwaway cluster did not start"
    fi
}

# The owner makes it, so that it is theirs and they can reach it: root's TMPDIR
# may lie where `postgres` cannot enter, or be too long for a socket's path.
cluster_make_dir() {
    local base
    for base in "${TMPDIR:-/tmp}" /tmp; do
        if [ ${#base} -le 60 ] &&
            cluster_dir=$(as_cluster_owner mktemp -d "$base/$extension.XXXXXX" 2>/dev/null); then
            return
        fi
    done
    cluster_dir=
    die "no directory for a throwaway cluster: neither TMPDIR nor /tmp can be written"
}

cluster_configure() {
    local setting name value
    cluster_port=$(free_port)
    {
        printf "listen_addresses = ''\n"
        printf "unix_socket_directories = '%s'\n" "$cluster_dir"
        printf "port = %s\n" "$cluster_port"
        for setting in "$@"; do
            name=${setting%%=*}
            value=${setting#*=}
            printf "%s = '%s'\n" "$name" "${value//\'/\'\'}"
        done
    } | as_cluster_owner tee -a "$cluster_dir/data/postgresql.conf" >/dev/null
}

# The port only names the socket. A free one all the same: a client that forgot
# the host must find nobody, least of all somebody's real server.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            printf '%s\n' "$port"
            return
        fi
    done
}

cluster_use() {
    unset PGSERVICE PGSERVICEFILE PGHOSTADDR PGOPTIONS PGPASSWORD PGSSLMODE PGREQUIRESSL
    export PGHOST=$cluster_dir PGPORT=$cluster_port PGUSER=postgres PGDATABASE=postgres
}

cluster_psql() { "$PG_BIN/psql" -XqAt -v ON_ERROR_STOP=1 "$@"; }

cluster_show_log() {
    if [ -z "$cluster_dir" ] || [ ! -f "$cluster_dir/server.log" ]; then return; fi
    say "--- the end of the server's log"
    tail -n 40 "$cluster_dir/server.log"
    say "---"
}

# A server that ignores a fast stop gets an immediate one: a wedged worker
# must not keep the machine's clean-up waiting.
cluster_stop() {
    local dir=$cluster_dir
    if [ -z "$dir" ]; then return; fi
    cluster_dir=
    if [ -f "$dir/data/postmaster.pid" ]; then
        as_cluster_owner "$PG_BIN/pg_ctl" stop -s -m fast -t 20 -D "$dir/data" 2>/dev/null ||
            as_cluster_owner "$PG_BIN/pg_ctl" stop -s -m immediate -t 20 -D "$dir/data" ||
            say "the cluster in $dir does not stop; its directory stays" >&2
    fi
    if [ ! -f "$dir/data/postmaster.pid" ]; then rm -rf "$dir"; fi
}
