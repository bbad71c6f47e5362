#!/usr/bin/env bash
# shellcheck disable=SC2154 # bench/run and what it sources before set the rest
# One hot counter under few and many clients, with few and many slots, and how long a write takes when so many a second are offered.
# Sourced, never run.

# BENCH_CLIENTS, BENCH_SLOTS, BENCH_OFFERED: numbers of clients, of slots, and writes offered a second.
read -ra clients_numbers <<<"${BENCH_CLIENTS:-1 2 4 8 16 32 64 128 256}"
read -ra clients_slots <<<"${BENCH_SLOTS:-1 2 4 8 16 32 64 128 256}"
read -ra clients_offered <<<"${BENCH_OFFERED:-500 1000 2000 4000 8000 16000}"
clients_on="on_one_row on_many_slots on_partitioned on_advisory on_skip_locked on_incr on_buffered"
clients_off="off_one_row off_many_slots off_incr off_buffered"
clients_of_slots="off_n_slots off_incr"
clients_offered_to="on_one_row on_many_slots on_incr on_buffered"
# Who waits for its turn is measured too, so there have to be enough of them.
clients_open=64
# The requirement: a write is acknowledged within this time, but for one of a hundred.
clients_most_ms=10

clients_runs() {
    local lanes
    lanes=$(wc -w <<<"$clients_on $clients_off")
    echo $(((lanes * ${#clients_numbers[@]} + 2 * ${#clients_slots[@]}) * rounds + 4 * ${#clients_offered[@]}))
}

clients_title() {
    case $1 in
    *_one_row) echo "one-row UPDATE" ;;
    *_many_slots) echo "64-slot upsert" ;;
    *_n_slots) echo "upsert over so many slots" ;;
    *_partitioned) echo "UPDATE of 16 partitions by slot" ;;
    *_advisory) echo "64 slots, advisory locks" ;;
    *_skip_locked) echo "64 slots, SKIP LOCKED" ;;
    *_incr) echo "counter_incr, slotted" ;;
    *_buffered) echo "counter_incr, buffered" ;;
    esac
}

clients_script() {
    case $1 in
    *_one_row) echo one_row_update ;;
    *_many_slots) echo many_slots_upsert ;;
    *_incr | *_buffered) echo counter_incr ;;
    *) echo "clients_${1#*_}" ;;
    esac
}

measure_clients() {
    local number lane slots offered
    cluster_psql -f "$root/bench/sql/clients_tables.sql"
    for round in $(seq "$rounds"); do
        for number in "${clients_numbers[@]}"; do
            for lane in $clients_on $clients_off; do clients_measure_rate "$lane" "$number"; done
        done
        for slots in "${clients_slots[@]}"; do
            for lane in $clients_of_slots; do clients_measure_slots "$lane" "$slots"; done
        done
    done
    round=1
    for lane in $clients_offered_to; do
        for offered in "${clients_offered[@]}"; do clients_measure_latency "$lane" "$offered"; done
    done
}

# Curves of many runs: two seconds show enough.
clients_seconds() { echo $((seconds < 2 ? seconds : 2)); }

clients_mode() { case $1 in *_buffered) echo buffered ;; *) echo slotted ;; esac }

# clients_measure_rate LANE CLIENTS
clients_measure_rate() {
    local clients=$2
    step=$((step + 1))
    progress_begins "[$step/$steps] round $round: $2 clients, $(clients_title "$1"), synchronous_commit ${1%%_*}: "
    mode=$(clients_mode "$1")
    run_pgbench "${1%%_*}" "$(clients_seconds)" "$(clients_script "$1")"
    record "clients_$1_$2" "$tps"
    progress "$(whole "$tps") a second"
}

# clients_measure_slots LANE SLOTS
clients_measure_slots() {
    step=$((step + 1))
    progress_begins "[$step/$steps] round $round: $2 slots, $(clients_title "$1"): "
    mode=slotted
    # For the sessions of this run: pgbench's own options are taken.
    if [ "$1" = off_incr ]; then
        cluster_psql -c "ALTER SYSTEM SET counter_ext.slots = $2" -c "SELECT pg_reload_conf()" >/dev/null
    fi
    run_pgbench off "$(clients_seconds)" "$(clients_script "$1")" -D slots="$2"
    if [ "$1" = off_incr ]; then
        cluster_psql -c "ALTER SYSTEM RESET counter_ext.slots" -c "SELECT pg_reload_conf()" >/dev/null
    fi
    record "slots_$1_$2" "$tps"
    progress "$(whole "$tps") a second"
}

# clients_measure_latency LANE OFFERED: so many writes a second are due, whether those before have ended or not, and a write's time
# begins when it is due (pgbench --rate).
clients_measure_latency() {
    local clients=$clients_open times
    step=$((step + 1))
    progress_begins "[$step/$steps] $(clients_title "$1"), $(whole "$2") a second offered: "
    mode=$(clients_mode "$1")
    rm -f "$work"/latency.*
    run_pgbench on "$seconds" "$(clients_script "$1")" --rate="$2" --log --log-prefix="$work/latency"
    times=$(cat "$work"/latency.* | awk '{ print $3 }' | sort -n | awk '
        { t[NR] = $1 }
        function of(p) { return t[int(p * NR) < 1 ? 1 : int(p * NR)] / 1000 }
        END { printf "%.2f %.2f %.2f", of(0.5), of(0.99), of(0.999) }')
    read -r p50 p99 p999 <<<"$times"
    record "latency_$1_$2" "$tps"
    record "latency_$1_$2_p50" "$p50"
    record "latency_$1_$2_p99" "$p99"
    record "latency_$1_$2_p999" "$p999"
    progress "p50 $p50 ms, p99 $p99 ms, p99.9 $p999 ms, $(whole "$tps") a second done"
}

# The most that was offered, step after step, with p99 in time and the rate held.
clients_kept() {
    local lane=$1 offered kept=0
    for offered in "${clients_offered[@]}"; do
        if awk "BEGIN { exit !($(median "latency_${lane}_${offered}_p99") < $clients_most_ms && $(median "latency_${lane}_$offered") > 0.9 * $offered) }"; then
            kept=$offered
        else
            break
        fi
    done
    echo "$kept"
}

clients_rows() {
    local lane offered
    cat <<EOF
A write is due at its time, whatever became of those before it, and its time counts from then: $clients_open clients, $seconds s each, synchronous_commit on.
The requirement is p99 < $clients_most_ms ms.

| writes a second offered | $(for lane in $clients_offered_to; do printf '%s: p50, p99, p99.9 in ms | ' "$(clients_title "$lane")"; done)
| --- | $(for lane in $clients_offered_to; do printf -- '--- | '; done)
EOF
    for offered in "${clients_offered[@]}"; do
        printf '| %s |' "$(whole "$offered")"
        for lane in $clients_offered_to; do
            printf ' %s, %s, %s |' "$(median "latency_${lane}_${offered}_p50")" "$(median "latency_${lane}_${offered}_p99")" \
                "$(median "latency_${lane}_${offered}_p999")"
        done
        printf '\n'
    done
    printf '| **kept up to** |'
    for lane in $clients_offered_to; do printf ' **%s** |' "$(whole "$(clients_kept "$lane")")"; done
    printf '\n'
}

clients_rounds() {
    local number slots lane
    for number in "${clients_numbers[@]}"; do
        for lane in $clients_on $clients_off; do
            rounds_row "$(clients_title "$lane")" "$number clients, synchronous_commit ${lane%%_*}" "clients_${lane}_$number"
        done
    done
    for slots in "${clients_slots[@]}"; do
        for lane in $clients_of_slots; do rounds_row "$(clients_title "$lane")" "$slots slots, synchronous_commit off" "slots_${lane}_$slots"; done
    done
}

clients_plots() {
    # shellcheck disable=SC2086 # lists of lanes
    {
        clients_plot clients_on "Clients that count at once, synchronous_commit on" clients "${clients_numbers[*]}" $clients_on
        clients_plot clients_off "Clients that count at once, synchronous_commit off" clients "${clients_numbers[*]}" $clients_off
        clients_plot slots "32 clients over N slots, synchronous_commit off" slots "${clients_slots[*]}" $clients_of_slots
        clients_plot latency "p99 of a write, in ms, when N a second are offered" latency "${clients_offered[*]}" $clients_offered_to
    }
}

# clients_plot NAME TITLE KIND NUMBERS LANE...
clients_plot() {
    local name=$1 title=$2 kind=$3 numbers=$4 number lane line csv axis unit="transactions a second" end=
    shift 4
    csv=$plots/$name.csv
    axis=$kind
    if [ "$kind" = latency ]; then axis="writes a second offered" unit="ms" end=_p99; fi
    line=$axis
    for lane in "$@"; do line+=",$(clients_title "$lane" | sed 's/, /: /')"; done
    echo "$line" >"$csv"
    for number in $numbers; do
        line=$number
        for lane in "$@"; do line+=",$(median "${kind}_${lane}_$number$end")"; done
        echo "$line" >>"$csv"
    done
    cargo run --quiet --locked --manifest-path "$root/Cargo.toml" -p counter_ext_plot -- "$csv" "$title" "$unit"
}
