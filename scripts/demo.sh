#!/usr/bin/env bash
# make demo: one hot counter under 32 clients beside a plain UPDATE of one row,
# each in its turn on the same throwaway cluster; then the proof that nothing
# was lost. DEMO_SECONDS (6) and DEMO_CLIENTS (32) change the load.
set -euo pipefail
# shellcheck source=scripts/lib/cluster.sh
source "$(dirname "$0")/lib/cluster.sh"
# shellcheck source=scripts/lib/demo_view.sh
source "$root/scripts/lib/demo_view.sh"

seconds=${DEMO_SECONDS:-6}
clients=${DEMO_CLIENTS:-32}
counter=match:csk-mi
redraw_every=0.5

# One lane each: what a client runs, and a query for "total slots compactions folded".
# The id is bound as a parameter: pgbench would take a colon in the text for a variable.
row_sql="UPDATE plain_counter SET n = n + 1 WHERE id = :id::text"
row_probe="SELECT n, 0, 0, 0 FROM plain_counter"
counter_sql="SELECT counter_incr(:id::text)"
counter_probe="SELECT counter_get('$counter'),
    coalesce((SELECT slots FROM counter_info('$counter')), 0), compactions, rows_folded FROM counter_stats"

row_rates=() counter_rates=()
row_total=0 counter_total=0 slots=0 compactions=0 folded=0 highest=0

prepare() {
    cluster_start shared_preload_libraries=$extension max_connections=$((clients + 20))
    at_exit stop_load
    work=$(mktemp -d)
    cluster_psql <<SQL
CREATE EXTENSION $extension;
CREATE TABLE plain_counter (id text PRIMARY KEY, n bigint NOT NULL);
INSERT INTO plain_counter VALUES ('$counter', 0);
SQL
    wait_for_worker
    open_probe
}

# It is the launcher that finds the extension; compaction belongs to the show.
wait_for_worker() {
    local tries
    for tries in {1..100}; do
        if [ "$(cluster_psql -c 'SELECT worker_pid IS NOT NULL FROM counter_stats')" = t ]; then return; fi
        sleep 0.1
    done
    cluster_show_log
    die "no compaction worker after $((tries / 10)) s"
}

# One session for all measurements, so that measuring costs the load next to nothing.
open_probe() {
    coproc probe { exec "$PG_BIN/psql" -XqAt -F ' ' -v ON_ERROR_STOP=1 2>&1; }
    # bash forgets a coprocess's descriptors when it ends; ours stay.
    exec {probe_out}<&"${probe[0]}" {probe_in}>&"${probe[1]}"
}

# ask SQL: prints the one row of SQL, which has four columns, after the server's clock in microseconds.
ask() {
    local answer
    printf '%s\n' "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, q.* FROM ($1) q;" >&"$probe_in"
    IFS= read -r -t 10 -u "$probe_out" answer || die "the server does not answer"
    case $answer in [0-9]*' '*) printf '%s\n' "$answer" ;; *) die "$answer" ;; esac
}

# start_load SQL: pgbench in the background; its process id in load_pid.
start_load() {
    printf '%s;\n' "$1" >"$work/load.sql"
    "$PG_BIN/pgbench" -n -M prepared -c "$clients" -j "$(nproc)" -T "$seconds" \
        -D id="$counter" -f "$work/load.sql" >"$work/load.out" 2>&1 &
    load_pid=$!
}

stop_load() {
    if [ -n "${load_pid:-}" ]; then kill "$load_pid" 2>/dev/null; fi
    rm -rf "${work:-}"
}

# How many transactions pgbench was told are committed, how many a second, how long each took.
read_load_result() {
    wait "$load_pid" || {
        cat "$work/load.out" >&2
        die "pgbench failed"
    }
    load_pid=
    told=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$work/load.out")
    tps=$(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$work/load.out")
    latency=$(sed -n 's/^latency average = \([0-9.]*\) ms.*/\1/p' "$work/load.out")
}

# run_lane NAME SQL PROBE: load and view until pgbench is through.
run_lane() {
    local name=$1 sql=$2 probe_sql=$3 clock last_clock total last_total
    # The bulk of each lane's WAL is its own.
    cluster_psql -c CHECKPOINT
    read -r last_clock last_total _ < <(ask "$probe_sql")
    start_load "$sql"
    while load_runs; do
        sleep "$redraw_every"
        read -r clock total slots compactions folded < <(ask "$probe_sql")
        # The last interval has idle time in it and would draw a dip that never was.
        if load_runs; then note_rate "$name" $(((total - last_total) * 1000000 / (clock - last_clock))); fi
        note_total "$name" "$total"
        last_clock=$clock last_total=$total
        show "$name"
    done
    read_load_result
}

load_runs() { kill -0 "$load_pid" 2>/dev/null; }

note_rate() {
    if [ "$2" -gt "$highest" ]; then highest=$2; fi
    case $1 in row) row_rates+=("$2") ;; counter) counter_rates+=("$2") ;; esac
}

note_total() {
    case $1 in row) row_total=$2 ;; counter) counter_total=$2 ;; esac
}

show() {
    if view_is_live; then
        show_lanes
    else
        show_line "$1"
    fi
}

# lane TITLE TOTAL RATE...
lane() {
    local title=$1 total=$2 rate=0
    shift 2
    if [ $# -gt 0 ]; then rate=${!#}; fi
    printf '  %s%-28s%s %s%9s/s%s %12s  %s%s%s' "$bold" "$title" "$plain" \
        "$green" "$(with_commas "$rate")" "$plain" "$(with_commas "$total")" \
        "$green" "$(sparkline $((columns - 58)) "$highest" "$@")" "$plain"
}

show_lanes() {
    view_draw \
        "$dim$(printf '  %-28s %11s %12s' '' 'rate' 'total')$plain" \
        "$(lane "UPDATE ... SET n = n + 1" "$row_total" ${row_rates[@]+"${row_rates[@]}"})" \
        "$(lane "counter_incr('$counter')" "$counter_total" ${counter_rates[@]+"${counter_rates[@]}"})" \
        "" \
        "$(printf '  slot rows in use %s   compactions %s   rows folded %s' \
            "$(with_commas "$slots")" "$(with_commas "$compactions")" "$(with_commas "$folded")")"
}

show_line() {
    case $1 in
    row) plain_lane UPDATE "$row_total" ${row_rates[@]+"${row_rates[@]}"} ;;
    counter)
        plain_lane counter_incr "$counter_total" ${counter_rates[@]+"${counter_rates[@]}"}
        printf '  slot rows %s  compactions %s  rows folded %s' "$slots" "$compactions" "$folded"
        ;;
    esac
    printf '\n'
}

plain_lane() {
    local name=$1 total=$2 rate=0
    shift 2
    if [ $# -gt 0 ]; then rate=${!#}; fi
    printf '  %-12s %9s/s  total %11s' "$name" "$(with_commas "$rate")" "$(with_commas "$total")"
}

introduce() {
    printf '\n%s  One counter, %s clients, a transaction for each +1, synchronous_commit on.%s\n' "$bold" "$clients" "$plain"
    printf '  PostgreSQL %s, %s CPUs; first the plain row, then the counter, %s s each.\n\n' \
        "$PG_MAJOR" "$(nproc)" "$seconds"
}

proof_line() { printf '  %-44s %15s\n' "$1" "$(with_commas "$2")"; }

# Ends the demo with an error when a single increment is missing or one too many.
prove() {
    local row live exact
    row=$(cluster_psql -c "SELECT n FROM plain_counter")
    live=$(cluster_psql -c "SELECT counter_get('$counter')")
    exact=$(cluster_psql -c "SELECT counter_get_exact('$counter')")
    printf '\n%s  Nothing lost, nothing twice%s\n' "$bold" "$plain"
    proof_line "increments the clients were told are committed" "$counter_told"
    proof_line "counter_get         (shared memory)" "$live"
    proof_line "counter_get_exact   (the rows)" "$exact"
    if [ "$counter_told" != "$live" ] || [ "$counter_told" != "$exact" ]; then
        die "THE COUNTS DIFFER: told $counter_told, counter_get $live, counter_get_exact $exact"
    fi
    if [ "$row_told" != "$row" ]; then die "the plain row says $row, its clients were told $row_told"; fi
}

compare() {
    printf '\n%s  %s times the plain UPDATE%s\n' "$bold$green" \
        "$(awk -v a="$counter_tps" -v b="$row_tps" 'BEGIN { printf "%.1f", (b > 0 ? a / b : 0) }')" "$plain"
    printf '  %-16s %9s/s  %8s ms a call\n' counter_incr "$(with_commas "$counter_tps")" "$counter_latency"
    printf '  %-16s %9s/s  %8s ms a call\n' "UPDATE" "$(with_commas "$row_tps")" "$row_latency"
}

offer_psql() {
    if [ ! -t 0 ] || [ ! -t 1 ] || [ -n "${CI:-}" ]; then return; fi
    printf '\n  The cluster stays until you press Enter. From another terminal:\n\n'
    printf '    %s -h %s -p %s -U postgres\n\n' "$PG_BIN/psql" "$PGHOST" "$PGPORT"
    printf "    SELECT counter_incr('%s');\n    SELECT counter_get('%s');\n" "$counter" "$counter"
    printf '    TABLE counters;  TABLE counter_stats;\n\n'
    # Here Ctrl-C is as good an end as Enter.
    trap 'exit 0' INT
    read -r _ || true
}

main() {
    bash "$root/scripts/setup.sh" build
    use_cargo
    use_postgres
    say "Building $extension and installing it into PostgreSQL $PG_MAJOR (about 2 minutes the first time)"
    install_extension
    prepare
    view_setup
    introduce
    run_lane row "$row_sql" "$row_probe"
    row_told=$told row_tps=$tps row_latency=$latency
    run_lane counter "$counter_sql" "$counter_probe"
    counter_told=$told counter_tps=$tps counter_latency=$latency
    prove
    compare
    offer_psql
}

main
