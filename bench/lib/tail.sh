#!/usr/bin/env bash
# shellcheck disable=SC2154 # bench/run and what it sources before set the rest
# Many counters, most of them cold, beside a plain table of as many rows. Sourced, never run.
#
# For each number of counters: both are loaded in one statement, which is timed; then the lanes run, right after the load, in turn,
# round after round; at a million again a minute later. A figure's name is its lane's, then the number.

# BENCH_TAIL_SIZES: numbers of counters.
read -ra tail_sizes <<<"${BENCH_TAIL_SIZES:-100 1000 10000 100000 1000000 10000000}"
tail_main=1000000
tail_largest=${tail_sizes[-1]}
# Where a number's ids begin, so that no two numbers share counters, and all ids are of the same length.
tail_first() { echo $((100000000 + 20000000 * ${#1})); }

tail_each="select get off_upsert off_incr off_buffered on_upsert on_incr on_buffered"
tail_zipf="off_zipf_upsert off_zipf_buffered off_zipf_incr"

tail_lanes() {
    local lanes=$tail_each
    if [ "$1" = "$tail_largest" ]; then lanes+=" $tail_zipf"; fi
    if [ "$1" = "$tail_main" ]; then lanes+=" any get_many like_by_hand like"; fi
    if [ "$1" = "$tail_main" ] && hll_is_here; then lanes+=" sketch visit"; fi
    echo "$lanes"
}

tail_runs() {
    local size lanes count=0
    for size in "${tail_sizes[@]}"; do
        read -ra lanes < <(tail_lanes "$size")
        count=$((count + ${#lanes[@]} * rounds))
        if [ "$size" = $tail_main ]; then count=$((count + 8 * rounds)); fi
    done
    echo $count
}

tail_title() {
    case $1 in
    select) echo "SELECT by primary key" ;;
    get) echo "counter_get" ;;
    off_upsert) echo "upsert into a plain table, synchronous_commit off" ;;
    on_upsert) echo "upsert into a plain table, synchronous_commit on" ;;
    off_incr) echo "counter_incr, slotted, synchronous_commit off" ;;
    on_incr) echo "counter_incr, slotted, synchronous_commit on" ;;
    off_buffered) echo "counter_incr, buffered, synchronous_commit off" ;;
    on_buffered) echo "counter_incr, buffered, synchronous_commit on" ;;
    off_zipf_upsert) echo "upsert into a plain table, Zipf 1.0" ;;
    off_zipf_incr) echo "counter_incr, slotted, Zipf 1.0" ;;
    off_zipf_buffered) echo "counter_incr, buffered, Zipf 1.0" ;;
    any) echo "SELECT … WHERE id = ANY of 50 ids" ;;
    get_many) echo "counter_get_many of 50 ids" ;;
    sketch) echo "upsert of a postgresql-hll sketch, 100,000 ids" ;;
    visit) echo "counter_visit of new visitors, 100,000 ids" ;;
    like_by_hand) echo "like by hand, 100,000 items" ;;
    like) echo "counter_like, 100,000 items" ;;
    esac
}

tail_script() {
    case $1 in
    *zipf_upsert) echo tail_zipf_upsert ;;
    *zipf_*) echo tail_zipf_incr ;;
    *_upsert) echo tail_upsert ;;
    *_incr | *_buffered) echo tail_incr ;;
    *) echo "tail_$1" ;;
    esac
}

measure_tail() {
    local size lane first
    cluster_psql -f "$root/bench/sql/tail_tables.sql"
    if hll_is_here; then
        cluster_psql -c "SET client_min_messages = warning" -c "CREATE EXTENSION IF NOT EXISTS hll" \
            -c "DROP TABLE IF EXISTS tail_sketches" -c "CREATE TABLE tail_sketches (id text COLLATE \"C\" PRIMARY KEY, s hll NOT NULL)"
    fi
    for size in "${tail_sizes[@]}"; do
        first=$(tail_first "$size")
        tail_load "$size" "$first"
        for round in $(seq "$rounds"); do
            for lane in $(tail_lanes "$size"); do measure_tail_lane "$lane" "$size" "$first" "$size"; done
        done
        if [ "$size" = $tail_main ]; then
            record tail_memory "$(cluster_psql -c "SELECT counter_bytes / greatest(counters_in_memory, 1) FROM counter_stats")"
            tail_later "$size" "$first"
        fi
    done
}

tail_later() {
    progress "a minute without load"
    sleep 60
    for round in $(seq "$rounds"); do
        for lane in $tail_each; do measure_tail_lane "$lane" "$1" "$2" "$1_later"; done
    done
}

# measure_tail_lane LANE COUNTERS FIRST NAME
measure_tail_lane() {
    local synchronous_commit=on
    step=$((step + 1))
    progress_begins "[$step/$steps] round $round: $(whole "$2") counters: $(tail_title "$1"): "
    mode=slotted
    case $1 in *buffered) mode=buffered ;; esac
    case $1 in off_*) synchronous_commit=off ;; esac
    run_pgbench "$synchronous_commit" "$seconds" "$(tail_script "$1")" -D n="$2" -D first="$3"
    record "tail_$1_$4" "$tps"
    progress "$(whole "$tps") a second"
}

# Sets milliseconds, what a statement took.
time_statement() {
    milliseconds=$(cluster_psql -c '\timing on' "$@" | awk '/^Time: / { sum += $2 } END { printf "%.1f", sum }')
    [ -n "$milliseconds" ] || die "no time was told"
}

tail_bytes() { cluster_psql -c "SELECT pg_total_relation_size('$1')"; }

# Both as a user would: all new ids in one statement, ours with the compaction that it leaves behind.
tail_load() {
    local size=$1 first=$2 ids before
    progress "loading $(whole "$size") counters and as many rows"
    ids="generate_series($first::bigint, $first + $size - 1) AS g (n)"
    before=$(tail_bytes tail_plain)
    cluster_psql -c CHECKPOINT
    time_statement -c "INSERT INTO tail_plain SELECT 'c' || g.n, 1 FROM $ids ON CONFLICT (id) DO UPDATE SET n = tail_plain.n + 1"
    record "tail_load_rows_$size" "$milliseconds"
    record "tail_bytes_rows_$size" "$((($(tail_bytes tail_plain) - before) / size))"
    before=$(tail_bytes counter_ext.total)
    cluster_psql -c CHECKPOINT
    time_statement -o /dev/null -c "SELECT count(counter_incr('c' || g.n)) FROM $ids" -c '\o' -c "SELECT counter_compact()"
    record "tail_load_counters_$size" "$milliseconds"
    record "tail_bytes_counters_$size" "$((($(tail_bytes counter_ext.total) - before) / size))"
}

tail_has() { [ -n "${figures[tail_get_$1]:-}" ]; }

tail_rows() {
    local name when
    if tail_has $tail_main; then
        for name in $tail_main ${tail_main}_later; do
            when="$(whole $tail_main) counters, right after the load"
            if [ "$name" != $tail_main ]; then when="the same a minute later"; fi
            at_least "$when: \`SELECT … WHERE id =\`, for \`counter_get\`" "" 0.9 "tail_get_$name" "tail_select_$name"
            at_least "$when: \`INSERT … ON CONFLICT DO UPDATE\`, slotted" off 1.0 "tail_off_incr_$name" "tail_off_upsert_$name"
            at_least "$when: the same" on 1.0 "tail_on_incr_$name" "tail_on_upsert_$name"
            at_least "$when: the same, buffered" off 1.5 "tail_off_buffered_$name" "tail_off_upsert_$name"
            at_least "$when: the same, buffered" on 1.2 "tail_on_buffered_$name" "tail_on_upsert_$name"
        done
        faster_by "\`INSERT … SELECT … ON CONFLICT\` of $(whole $tail_main) new ids, for one statement of \`counter_incr\` and its compaction" 0.8 \
            tail_load_counters_$tail_main tail_load_rows_$tail_main
        at_least "\`SELECT … WHERE id = ANY\` of 50 random ids, for \`counter_get_many\`" "" 0.9 tail_get_many_$tail_main tail_any_$tail_main
        at_most "bytes a counter, rows and index, of the plain table's" 1.4 tail_bytes_counters_$tail_main tail_bytes_rows_$tail_main bytes
        row "shared memory a counter with an id of 10 bytes" "" "≤ 160 bytes" "**$(median tail_memory)** bytes" \
            "$(yes_when "$(median tail_memory) <= 160")"
        if hll_is_here; then
            at_least "a table of postgresql-hll sketches, for \`counter_visit\` of new visitors over 100,000 ids" on 1.0 \
                tail_visit_$tail_main tail_sketch_$tail_main
        fi
        at_least "likes by hand over 100,000 items, for \`counter_like\`" on 1.0 tail_like_$tail_main tail_like_by_hand_$tail_main
    fi
    if tail_has "$tail_largest"; then
        at_least "$(whole "$tail_largest") counters by Zipf 1.0: \`INSERT … ON CONFLICT DO UPDATE\`, buffered" off 2 \
            "tail_off_zipf_buffered_$tail_largest" "tail_off_zipf_upsert_$tail_largest"
        at_least "the same, slotted" off 1.2 "tail_off_zipf_incr_$tail_largest" "tail_off_zipf_upsert_$tail_largest"
    fi
    if tail_has 1000 && tail_has "$tail_largest"; then
        held_up_row get select
        held_up_row off_incr off_upsert
        held_up_row on_incr on_upsert
        held_up_row off_buffered off_upsert
        held_up_row on_buffered on_upsert
    fi
}

# held_up_row OURS THEIRS: what is left of the rate at the largest number, ours against the peer's.
held_up_row() {
    local ours theirs ratio
    ours=$(calculate "$(median "tail_$1_$tail_largest") / $(median tail_"$1"_1000)")
    theirs=$(calculate "$(median "tail_$2_$tail_largest") / $(median tail_"$2"_1000)")
    ratio=$(calculate "$ours / $theirs")
    row "rate at $(whole "$tail_largest") to that at 1,000: $(tail_title "$1"), of the peer's" "" ">= 1.0x" \
        "$(printf '%.2f against %.2f' "$ours" "$theirs"): **$(ratio_text "$ratio")**" "$(yes_when "$ratio >= 1.0")"
}

# at_most AGAINST REACH OURS THEIRS UNIT
at_most() {
    local ours theirs ratio
    ours=$(median "$3")
    theirs=$(median "$4")
    ratio=$(calculate "$ours / $theirs")
    row "$1" "" "≤ ${2}x" "$(whole "$ours") against $(whole "$theirs") $5: **$(printf '%.2f' "$ratio")x**" "$(yes_when "$ratio <= $2")"
}

tail_rounds() {
    local size lane
    for size in "${tail_sizes[@]}"; do
        for lane in $(tail_lanes "$size"); do
            rounds_row "$(tail_title "$lane")" "$(whole "$size") counters" "tail_${lane}_$size"
        done
        if [ "$size" = $tail_main ]; then
            for lane in $tail_each; do
                rounds_row "$(tail_title "$lane")" "$(whole "$size") counters, a minute later" "tail_${lane}_${size}_later"
            done
        fi
    done
}

# A file of figures, and a plot of it, for reads and for each synchronous_commit.
tail_plots() {
    tail_plot reads "Reading one of N counters" select get
    tail_plot writes_off "Counting one of N, synchronous_commit off" off_upsert off_incr off_buffered
    tail_plot writes_on "Counting one of N, synchronous_commit on" on_upsert on_incr on_buffered
}

# tail_plot NAME TITLE LANE...
tail_plot() {
    local name=$1 title=$2 size lane line csv
    shift 2
    csv=$plots/tail_$name.csv
    line="counters"
    for lane in "$@"; do line+=",$(tail_title "$lane" | sed 's/, synchronous_commit.*//; s/, /: /')"; done
    echo "$line" >"$csv"
    for size in "${tail_sizes[@]}"; do
        line=$size
        for lane in "$@"; do line+=",$(median "tail_${lane}_$size")"; done
        echo "$line" >>"$csv"
    done
    cargo run --quiet --locked --manifest-path "$root/Cargo.toml" -p counter_ext_plot -- "$csv" "$title" "transactions a second"
}
