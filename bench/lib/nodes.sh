#!/usr/bin/env bash
# shellcheck disable=SC2154 # bench/run and what it sources before set the rest
# Two nodes that count the same counters, on two clusters of their own: how long a new counter of one takes to show on the other. Sourced, never run.

# Increments a second on the first node, of one counter or of a thousand.
nodes_rate=10000
nodes_lanes="hot hot_buffered ids ids_buffered"
# A lag is that of a counter that is made anew, so many a second, beside this load.
nodes_probes=50
# Transactions that wait for the second node, to see how fast it applies them.
nodes_backlog=20000
node_dirs=()
node_ports=()
nodes_main_dir=

nodes_runs() { echo $((($(wc -w <<<"$nodes_lanes") + 1) * rounds)); }

nodes_title() {
    case $1 in
    hot) echo "a new counter shows, beside increments of one counter" ;;
    hot_buffered) echo "a new counter shows, beside increments of one counter, buffered" ;;
    ids) echo "a new counter shows, beside increments of 1,000 counters" ;;
    ids_buffered) echo "a new counter shows, beside increments of 1,000 counters, buffered" ;;
    apply) echo "increments of cold counters, applied" ;;
    esac
}

node_psql() {
    local node=$1
    shift
    PGHOST=${node_dirs[$node]} PGPORT=${node_ports[$node]} cluster_psql "$@"
}

node_pgbench() { PGHOST=${node_dirs[1]} PGPORT=${node_ports[1]} "$PG_BIN/pgbench" -n -M prepared "$@"; }

nodes_start() {
    local node
    nodes_main_dir=$cluster_dir nodes_main_port=$cluster_port
    at_exit nodes_stop
    for node in 1 2; do
        cluster_dir=
        cluster_start shared_buffers=256MB max_connections=100 shared_preload_libraries="$extension" wal_level=logical \
            max_worker_processes=16 max_logical_replication_workers=8 counter_ext.node="$node"
        node_dirs[node]=$cluster_dir
        node_ports[node]=$cluster_port
        cluster_psql -c "CREATE EXTENSION $extension" -f "$root/bench/sql/nodes_tables.sql"
        wait_for_worker
    done
    nodes_set_up 1 2 &
    nodes_set_up 2 1
    wait $! || die "the first node is not ready"
}

nodes_set_up() {
    node_psql "$1" -c "SET client_min_messages = warning" \
        -c "CALL counter_node_setup($1, ARRAY['host=${node_dirs[$2]} port=${node_ports[$2]} user=postgres dbname=postgres'])"
}

# The cluster that all other groups use is the current one again.
nodes_stop() {
    local dir
    if [ "$cluster_dir" != "$nodes_main_dir" ]; then cluster_stop; fi
    for dir in "${node_dirs[@]}"; do
        cluster_dir=$dir
        cluster_stop
    done
    node_dirs=()
    cluster_dir=$nodes_main_dir cluster_port=$nodes_main_port
    cluster_use
}

measure_nodes() {
    local lane
    progress "starting two nodes"
    nodes_start
    for round in $(seq "$rounds"); do
        for lane in $nodes_lanes; do measure_nodes_lag "$lane"; done
        measure_nodes_apply
    done
    nodes_check
    nodes_stop
}

measure_nodes_lag() {
    local lane=$1 load observer lags script=nodes_hot probe
    step=$((step + 1))
    progress_begins "[$step/$steps] round $round: $(nodes_title "$lane"): "
    mode=slotted
    case $lane in *_buffered) mode=buffered ;; esac
    case $lane in ids*) script=nodes_ids ;; esac
    PGOPTIONS="-c synchronous_commit=off -c counter_ext.mode=$mode" node_pgbench -c "$clients" -j "$threads" -R $nodes_rate -T $((seconds + 2)) \
        -f "$root/bench/sql/$script.sql" >"$work/pgbench.out" 2>"$work/pgbench.err" &
    load=$!
    probe=$round:$lane
    node_psql 2 -v probe="$probe:" -v count=$((nodes_probes * seconds)) -f "$root/bench/sql/nodes_lags.sql" >"$work/lags.out" &
    observer=$!
    # The observer looks before there is anything to see.
    sleep 1
    node_pgbench -c 1 -R $nodes_probes -t $((nodes_probes * seconds)) -D probe="$probe:" -f "$root/bench/sql/nodes_probe.sql" \
        >"$work/probe.out" 2>&1 || die "$(cat "$work/probe.out")"
    wait $observer || die "the probes have not arrived"
    lags=$(cat "$work/lags.out")
    wait $load || load_failed $script
    tps=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$work/pgbench.out")
    if [ -z "$tps" ] || [ -z "$lags" ]; then load_failed $script; fi
    record "nodes_${lane}_rate" "$tps"
    record "nodes_${lane}_p50" "${lags%|*}"
    record "nodes_${lane}_p99" "${lags#*|}"
    progress "p50 ${lags%|*} ms, p99 ${lags#*|} ms, beside $(whole "$tps") a second"
    node_await "end:$probe"
}

# A last increment has arrived, and so everything before it.
node_await() {
    node_psql 1 -o /dev/null -c "SELECT counter_compact()" -c "SELECT counter_incr('$1')"
    node_psql 2 -v probe="$1" -f "$root/bench/sql/nodes_await.sql"
}

measure_nodes_apply() {
    local began ended
    step=$((step + 1))
    progress_begins "[$step/$steps] round $round: $(nodes_title apply): "
    node_psql 2 -c "ALTER SUBSCRIPTION counter_node_1 DISABLE"
    PGOPTIONS="-c synchronous_commit=off" node_pgbench -c "$clients" -j "$threads" -t $((nodes_backlog / clients)) \
        -f "$root/bench/sql/nodes_cold.sql" >"$work/pgbench.out" 2>"$work/pgbench.err" || load_failed nodes_cold
    node_psql 1 -o /dev/null -c "SELECT counter_incr('end:$round:apply')"
    began=$(date +%s%N)
    node_psql 2 -c "ALTER SUBSCRIPTION counter_node_1 ENABLE"
    node_psql 2 -v probe="end:$round:apply" -f "$root/bench/sql/nodes_await.sql"
    ended=$(date +%s%N)
    tps=$(calculate "$nodes_backlog * 1e9 / ($ended - $began)")
    record nodes_apply "$tps"
    progress "$(whole "$tps") a second"
}

# Both have come to the same.
nodes_check() {
    local sums
    node_await checked
    sums=$(for node in 1 2; do
        node_psql "$node" -o /dev/null -c "SELECT counter_compact()"
        node_psql "$node" -c "SELECT count(*), sum(value), md5(string_agg(id || ' ' || value, ',' ORDER BY id COLLATE \"C\")) FROM counters" || echo "node $node"
    done)
    [ "$(wc -l <<<"$sums")" = 2 ] && [ "$(sort -u <<<"$sums" | wc -l)" = 1 ] || die "THE NODES DIFFER: $sums"
}

nodes_rows() {
    local lane
    for lane in $nodes_lanes; do
        row "$(nodes_title "$lane"), $(whole "$(median "nodes_${lane}_rate")") a second on the other node" off "" \
            "p50 **$(median "nodes_${lane}_p50") ms**, p99 **$(median "nodes_${lane}_p99") ms**" ""
    done
    row "$(nodes_title apply), a second" off "" "**$(whole "$(median nodes_apply)")**" ""
}

nodes_rounds() {
    local lane which
    for lane in $nodes_lanes; do
        for which in p50 p99; do rounds_row "$(nodes_title "$lane")" "$which, ms" "nodes_${lane}_$which"; done
    done
    rounds_row "$(nodes_title apply)" "synchronous_commit off" nodes_apply
}
