#!/usr/bin/env bash
# shellcheck disable=SC2154 # bench/run and what it sources before set the rest
# Counters on the nodes of a Citus cluster beside an upsert into a distributed table: a coordinator and two nodes, all on this
# machine. Sourced, never run.

citus_lanes="citus_hot_incr citus_hot_upsert citus_many_incr citus_many_upsert"
citus_dirs=()
citus_ports=()
# What the coordinator was told is committed of the counter `hot`, and what that is.
told_citus=0
live_citus=

citus_is_here() { [ -e "$("$PG_CONFIG" --sharedir)/extension/citus.control" ]; }

citus_skipped="SKIPPED: Citus is not installed beside this server, so nothing was measured on a cluster"

citus_runs() { if citus_is_here; then echo $(($(wc -w <<<"$citus_lanes") * rounds)); else echo 0; fi; }

citus_title() {
    case $1 in
    citus_hot_incr) echo "counter_incr of one id, sent on by the coordinator" ;;
    citus_hot_upsert) echo "upsert of one row of a distributed table" ;;
    citus_many_incr) echo "counter_incr of 1,000 ids, sent on by the coordinator" ;;
    citus_many_upsert) echo "upsert of 1,000 rows of a distributed table" ;;
    esac
}

measure_citus() {
    local lane host=$PGHOST port=$PGPORT
    if ! citus_is_here; then
        progress "$citus_skipped"
        return
    fi
    progress "starting a coordinator and two nodes"
    at_exit citus_stop
    for _ in coordinator node node; do citus_start_server; done
    citus_use 0
    citus_join
    cluster_psql -f "$root/bench/sql/citus_tables.sql"
    for round in $(seq "$rounds"); do
        for lane in $citus_lanes; do measure_citus_lane "$lane"; done
    done
    live_citus=$(cluster_psql -c "SELECT counter_get('hot')")
    citus_stop
    export PGHOST=$host PGPORT=$port
}

# In directories of their own, beside the cluster that the other groups use.
citus_start_server() {
    local cluster_dir='' cluster_port=''
    cluster_start shared_buffers=256MB max_connections=200 wal_level=logical max_prepared_transactions=200 \
        shared_preload_libraries="citus,$extension" citus.node_conninfo=sslmode=disable
    citus_dirs+=("$cluster_dir")
    citus_ports+=("$cluster_port")
}

citus_use() { export PGHOST=${citus_dirs[$1]} PGPORT=${citus_ports[$1]}; }

citus_join() {
    local at
    for at in 0 1 2; do
        citus_use "$at"
        cluster_psql -o /dev/null -c "ALTER SYSTEM SET citus.local_hostname = '${citus_dirs[$at]}'" -c "SELECT pg_reload_conf()" \
            -c "CREATE EXTENSION citus"
    done
    citus_use 0
    cluster_psql -o /dev/null -c "SELECT citus_set_coordinator_host('${citus_dirs[0]}', ${citus_ports[0]})"
    for at in 1 2; do cluster_psql -o /dev/null -c "SELECT citus_add_node('${citus_dirs[$at]}', ${citus_ports[$at]})"; done
    cluster_psql -o /dev/null -c "CREATE EXTENSION $extension"
    cluster_psql -o /dev/null -c "SELECT counter_citus_setup()"
}

measure_citus_lane() {
    local before
    step=$((step + 1))
    mode=slotted
    progress_begins "[$step/$steps] round $round: $(citus_title "$1"), synchronous_commit on: "
    before=$(cluster_psql -c "SELECT counter_get('hot')")
    run_pgbench on "$seconds" "$1"
    if [ "$1" = citus_hot_incr ]; then
        told_citus=$((told_citus + $(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$work/pgbench.out")))
    elif [ "$(cluster_psql -c "SELECT counter_get('hot')")" != "$before" ]; then
        die "a lane that does not count the counter 'hot' has changed it"
    fi
    record "$1" "$tps"
    progress "$(whole "$tps") a second"
}

citus_rows() {
    if ! citus_is_here; then
        row "$citus_skipped" "" "" "" ""
        return
    fi
    at_least "upsert into a distributed table, one hot id" on 4 citus_hot_incr citus_hot_upsert
    at_least "upsert into a distributed table, 1,000 ids" on 1.1 citus_many_incr citus_many_upsert
}

citus_rounds() {
    local lane
    if ! citus_is_here; then return; fi
    for lane in $citus_lanes; do rounds_row "$(citus_title "$lane")" "synchronous_commit on" "$lane"; done
}

# All of a counter is on one node, whatever the coordinator has sent where.
citus_count() {
    if [ -z "$live_citus" ]; then return; fi
    counts+=("| hot, on a Citus cluster | $(whole "$told_citus") | $(whole "$live_citus") | |")
    if [ "$told_citus" != "$live_citus" ]; then counts_differ=yes; fi
}

citus_stop() {
    local cluster_dir dir
    for dir in "${citus_dirs[@]}"; do
        cluster_dir=$dir
        cluster_stop
    done
    citus_dirs=() citus_ports=()
}
