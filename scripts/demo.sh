#!/usr/bin/env bash
# make demo, half a minute: one hot counter under 32 clients, as a plain row and
# as a counter in both modes, each in its turn on one throwaway cluster, while a
# reader watches. Then the server is killed in the middle of the load and started
# again; the clients' word and the counter must agree. DEMO_SECONDS (4, a lane) and
# DEMO_CLIENTS (32) change the load.
set -euo pipefail
# shellcheck source=scripts/lib/cluster.sh
source "$(dirname "$0")/lib/cluster.sh"
# shellcheck source=scripts/lib/demo_view.sh
source "$root/scripts/lib/demo_view.sh"

seconds=${DEMO_SECONDS:-4}
clients=${DEMO_CLIENTS:-32}
redraw_every=0.5

# A lane each: what a client runs, and a query for "total slots compactions folded".
# The id is bound as a parameter: pgbench would take a colon in the text for a variable.
row_sql="UPDATE plain_counter SET n = n + 1 WHERE id = :id::text"
row_probe="SELECT n, 0, 0, 0 FROM plain_counter"
counter_sql="SELECT counter_incr(:id::text)"
# probe_of COUNTER
probe_of() {
    printf '%s' "SELECT counter_get('$1'), coalesce((SELECT slots FROM counter_info('$1')), 0),
        compactions, rows_folded FROM counter_stats"
}

# Of each lane: the total that was seen last, the rates so far, and what pgbench said at its end.
declare -A totals=([row]=0 [slotted]=0 [buffered]=0 [crash]=0) rates=() told=() tps=() latency=()
slots=0 compactions=0 folded=0 highest=0 load_pids=()

prepare() {
    cluster_start shared_preload_libraries=$extension max_connections=$((clients + 20))
    at_exit stop_load
    work=$(mktemp -d)
    cluster_psql <<SQL
CREATE EXTENSION $extension;
CREATE TABLE plain_counter (id text PRIMARY KEY, n bigint NOT NULL);
INSERT INTO plain_counter VALUES ('match:row', 0);
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

# The reader: one session, so that watching costs the load next to nothing.
open_probe() {
    coproc probe { exec "$PG_BIN/psql" -XqAt -F ' ' -v ON_ERROR_STOP=1 2>&1; }
    # bash forgets a coprocess's descriptors when it ends; ours stay.
    exec {probe_out}<&"${probe[0]}" {probe_in}>&"${probe[1]}"
    # shellcheck disable=SC2154 # coproc sets it
    probe_pid=$probe_PID
}

close_probe() {
    kill "$probe_pid" 2>/dev/null || true
    wait "$probe_pid" 2>/dev/null || true
    exec {probe_in}>&- {probe_out}<&-
}

# ask SQL: prints the one row of SQL, which has four columns, after the server's clock in microseconds.
ask() {
    local answer
    printf '%s\n' "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, q.* FROM ($1) q;" >&"$probe_in"
    IFS= read -r -t 10 -u "$probe_out" answer || die "the server does not answer"
    case $answer in [0-9]*' '*) printf '%s\n' "$answer" ;; *) die "$answer" ;; esac
}

# start_load NAME SQL COUNTER CLIENTS MODE SECONDS: pgbench in the background.
start_load() {
    printf '%s;\n' "$2" >"$work/$1.sql"
    PGOPTIONS="-c counter_ext.mode=$5" "$PG_BIN/pgbench" -n -M prepared -c "$4" -j "$(nproc)" -T "$6" \
        -D id="$3" -f "$work/$1.sql" >"$work/$1.out" 2>&1 &
    load_pids+=($!)
}

load_runs() {
    local pid
    for pid in "${load_pids[@]}"; do
        if kill -0 "$pid" 2>/dev/null; then return; fi
    done
    return 1
}

stop_load() {
    if load_runs; then kill "${load_pids[@]}" 2>/dev/null; fi
    rm -rf "${work:-}"
}

# What pgbench says at its end: how many transactions it was told are committed, how many a second, how long each took.
said() { sed -n "s/^$2\([0-9.]*\).*/\1/p" "$work/$1.out"; }

told_committed() { said "$1" 'number of transactions actually processed: '; }

# run_lane NAME SQL COUNTER MODE PROBE: load, and what the reader sees meanwhile.
run_lane() {
    local name=$1
    # The bulk of each lane's WAL is its own.
    cluster_psql -c CHECKPOINT
    load_pids=()
    start_load "$name" "$2" "$3" "$clients" "$4" "$seconds"
    watch_load "$name" "$5" "$((seconds + 60))"
    wait "${load_pids[0]}" || {
        cat "$work/$name.out" >&2
        die "pgbench failed"
    }
    told[$name]=$(told_committed "$name")
    tps[$name]=$(said "$name" 'tps = ' | cut -d . -f 1)
    latency[$name]=$(said "$name" 'latency average = ')
}

# watch_load NAME PROBE SECONDS: what the reader sees, until the load ends or the time is up.
watch_load() {
    local name=$1 clock last_clock total last_total end=$((SECONDS + $3))
    read -r last_clock last_total _ < <(ask "$2")
    while load_runs && [ "$SECONDS" -lt "$end" ]; do
        sleep "$redraw_every"
        read -r clock total slots compactions folded < <(ask "$2")
        # The last interval has idle time in it and would draw a dip that never was.
        if load_runs; then note_rate "$name" $(((total - last_total) * 1000000 / (clock - last_clock))); fi
        totals[$name]=$total last_clock=$clock last_total=$total
        show "$name"
    done
}

note_rate() {
    if [ "$2" -gt "$highest" ]; then highest=$2; fi
    rates[$1]="${rates[$1]:-} $2"
}

# The postmaster stands still first, so that nobody is born after its children were counted. Then everything goes at once,
# as where a machine loses its power.
kill_server() {
    local postmaster victims
    postmaster=$(head -n 1 "$cluster_dir/data/postmaster.pid")
    kill -STOP "$postmaster"
    mapfile -t victims < <(children_of "$postmaster")
    kill -KILL "${victims[@]}" "$postmaster"
    wait_until_gone "${victims[@]}" "$postmaster"
    # A dead process that nobody has taken in yet seems to be there, and its locks to be held.
    rm -f "$cluster_dir/data/postmaster.pid" "$cluster_dir/.s.PGSQL.$PGPORT" "$cluster_dir/.s.PGSQL.$PGPORT.lock"
}

wait_until_gone() {
    local pid tries
    for pid in "$@"; do
        for tries in {1..200}; do
            case $(state_of "$pid") in '' | Z) break ;; esac
            if [ "$tries" = 200 ]; then die "process $pid does not die"; fi
            sleep 0.05
        done
    done
}

# The letter that /proc has for a process's state; nothing where there is none.
state_of() {
    local line
    line=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    line=${line##*) }
    printf '%s' "${line%% *}"
}

children_of() {
    local file line fields
    for file in /proc/[0-9]*/stat; do
        # A process may have ended meanwhile.
        line=$(cat "$file" 2>/dev/null) || continue
        read -ra fields <<<"${line##*) }"
        if [ "${fields[1]}" = "$1" ]; then printf '%s\n' "${line%% *}"; fi
    done
}

# Half of the clients count one counter slotted, half buffered; in the middle of it the server is killed.
crash() {
    local name=crash counter=match:crash half=$(((clients + 1) / 2)) began
    cluster_psql -c CHECKPOINT
    load_pids=()
    start_load crash_slotted "$counter_sql" "$counter" "$half" slotted 60
    start_load crash_buffered "$counter_sql" "$counter" "$half" buffered 60
    watch_load "$name" "$(probe_of "$counter")" "$(((seconds + 1) / 2 + 1))"
    load_runs || { cat "$work"/crash_*.out >&2; die "the load has ended before the crash"; }
    say_below "kill -9 of the server and all its processes, in the middle of it"
    began=${EPOCHREALTIME/[.,]/}
    kill_server
    # Both end with errors, as they should: nobody answers them any more.
    wait "${load_pids[@]}" 2>/dev/null || true
    close_probe
    cluster_start_again
    open_probe
    local counted in_doubt acknowledged
    counted=$(cluster_psql -c "SELECT counter_get('$counter')")
    totals[$name]=$counted
    acknowledged=$(($(told_committed crash_slotted) + $(told_committed crash_buffered)))
    in_doubt=$((2 * half))
    say_below "it answers again after $(awk -v us=$((${EPOCHREALTIME/[.,]/} - began)) 'BEGIN { printf "%.1f", us / 1e6 }') s"
    printf '\n'
    proof_line "increments acknowledged before the crash" "$acknowledged"
    proof_line "counter_get after it" "$counted"
    if [ "$counted" -lt "$acknowledged" ]; then die "$((acknowledged - counted)) INCREMENTS ARE LOST"; fi
    if [ "$counted" -gt $((acknowledged + in_doubt)) ]; then
        die "$counted is more than was acknowledged and the $in_doubt commits that got no answer"
    fi
    printf '  %sNothing acknowledged is lost.%s' "$bold$green" "$plain"
    if [ "$counted" -gt "$acknowledged" ]; then
        printf ' The other %s committed at the last moment, before their clients were told.' "$((counted - acknowledged))"
    fi
    printf '\n'
}

show() {
    if view_is_live; then
        show_lanes
    else
        show_line "$1"
    fi
}

# say_below TEXT: under what was drawn, which stays.
say_below() {
    printf '  %s%s%s\n' "$bold" "$1" "$plain"
    # shellcheck disable=SC2034 # demo_view.sh reads it
    view_lines=0
}

# last_rate NAME
last_rate() {
    local all
    read -ra all <<<"${rates[$1]:-0}"
    printf '%s' "${all[-1]}"
}

# lane TITLE NAME
lane() {
    local all
    read -ra all <<<"${rates[$2]:-}"
    printf '  %s%-30s%s %s%9s/s%s %12s  %s%s%s' "$bold" "$1" "$plain" \
        "$green" "$(with_commas "$(last_rate "$2")")" "$plain" "$(with_commas "${totals[$2]}")" \
        "$green" "$(sparkline $((columns - 60)) "$highest" ${all[@]+"${all[@]}"})" "$plain"
}

show_lanes() {
    view_draw \
        "$dim$(printf '  %-30s %11s %12s' '' 'rate' 'total')$plain" \
        "$(lane "UPDATE ... SET n = n + 1" row)" \
        "$(lane "counter_incr, slotted" slotted)" \
        "$(lane "counter_incr, buffered" buffered)" \
        "$(lane "both on one counter, killed" crash)" \
        "" \
        "$(printf '  slot rows in use %s   compactions %s   rows folded %s' \
            "$(with_commas "$slots")" "$(with_commas "$compactions")" "$(with_commas "$folded")")"
}

show_line() {
    printf '  %-10s %9s/s  total %11s' "$1" "$(with_commas "$(last_rate "$1")")" "$(with_commas "${totals[$1]}")"
    if [ "$1" != row ]; then printf '  slot rows %s  compactions %s  rows folded %s' "$slots" "$compactions" "$folded"; fi
    printf '\n'
}

introduce() {
    printf '\n%s  One counter, %s clients, a transaction for each + 1, synchronous_commit on.%s\n' "$bold" "$clients" "$plain"
    printf '  PostgreSQL %s, %s CPUs; %s s each: a plain row, a counter in slotted mode, one in buffered mode. Then a crash.\n\n' \
        "$PG_MAJOR" "$(nproc)" "$seconds"
}

proof_line() { printf '  %-54s %15s\n' "$1" "$(with_commas "$2")"; }

# Ends the demo with an error when a single increment is missing or one too many.
prove() {
    local name row live exact
    cluster_psql -c "SELECT counter_compact()" >/dev/null
    row=$(cluster_psql -c "SELECT n FROM plain_counter")
    if [ "${told[row]}" != "$row" ]; then die "the plain row says $row, its clients were told ${told[row]}"; fi
    printf '\n'
    for name in slotted buffered; do
        live=$(cluster_psql -c "SELECT counter_get('match:$name')")
        exact=$(cluster_psql -c "SELECT counter_get_exact('match:$name')")
        if [ "${told[$name]}" != "$live" ] || [ "${told[$name]}" != "$exact" ]; then
            die "THE COUNTS DIFFER: told ${told[$name]}, counter_get $live, counter_get_exact $exact"
        fi
        proof_line "$name: clients were told, and memory and rows say" "$live"
    done
}

compare() {
    local name
    printf '\n'
    for name in row slotted buffered; do
        printf '  %-16s %9s/s  %8s ms a call' "$name" "$(with_commas "${tps[$name]}")" "${latency[$name]}"
        if [ "$name" != row ]; then
            printf '  %s%s times the plain UPDATE%s' "$bold$green" \
                "$(awk -v a="${tps[$name]}" -v b="${tps[row]}" 'BEGIN { printf "%.1f", (b > 0 ? a / b : 0) }')" "$plain"
        fi
        printf '\n'
    done
}

offer_psql() {
    if [ ! -t 0 ] || [ ! -t 1 ] || [ -n "${CI:-}" ]; then return; fi
    printf '\n  The server stays until you press Enter here, which stops and removes it. From another terminal:\n\n'
    printf '    %s -h %s -p %s -U postgres\n\n' "$PG_BIN/psql" "$PGHOST" "$PGPORT"
    printf "    SELECT counter_incr('match:slotted');\n    SELECT counter_get('match:slotted');\n"
    printf '    TABLE counters;  TABLE counter_stats;\n\n'
    # Here Ctrl-C is as good an end as Enter.
    trap 'exit 0' INT
    read -r _ || true
}

main() {
    bash "$root/scripts/setup.sh" build
    use_cargo
    use_postgres
    say "Building $extension and installing it into PostgreSQL $PG_MAJOR (about 5 minutes the first time)"
    install_extension
    prepare
    view_setup
    introduce
    run_lane row "$row_sql" match:row slotted "$row_probe"
    run_lane slotted "$counter_sql" match:slotted slotted "$(probe_of match:slotted)"
    run_lane buffered "$counter_sql" match:buffered buffered "$(probe_of match:buffered)"
    crash
    prove
    compare
    offer_psql
}

main
