#!/usr/bin/env bash
# shellcheck disable=SC2154 # bench/run and what it sources before set the rest
# Sketches beside postgresql-hll's, over the same data on the same server. Sourced, never run.

# BENCH_ROWS values and BENCH_SKETCHES sketches.
sketch_rows=${BENCH_ROWS:-10000000}
sketch_count=${BENCH_SKETCHES:-100000}

hll_is_here() { [ -e "$("$PG_CONFIG" --sharedir)/extension/hll.control" ]; }

hll_install() {
    local package
    package=postgresql-$PG_MAJOR-hll
    if hll_is_here || ! command -v apt-get >/dev/null; then return; fi
    progress "installing $package, to be measured against"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install "$package" </dev/null >/dev/null 2>&1 ||
        progress "$package cannot be installed: its rows are left out"
}

# Unlogged, so that the disk is not what is measured; in shared buffers or the system's cache, for both alike.
sketch_tables() {
    local lane
    progress "making $(whole "$sketch_rows") rows and $(whole "$sketch_count") sketches, a minute or two"
    cluster_psql -c "CREATE EXTENSION IF NOT EXISTS hll" -o /dev/null -v rows="$sketch_rows" -v sketches="$sketch_count" \
        -f "$root/bench/sql/sketch_tables.sql"
    # Who reads a table first pays for bringing it in: that is nobody who is measured.
    for lane in texts_ours distinct_ours union_ours union_hll bigints_ours; do
        cluster_psql -o /dev/null -c "SET max_parallel_workers_per_gather = 0" -c "$(sketch_statement $lane)"
    done
    cluster_psql -o /dev/null -c "SELECT count(counter_visit('saturated', g)) FROM generate_series(1, 3000000) g"
}

# measure_sketch LANE: milliseconds of its statement, in one process.
measure_sketch() {
    local time
    time=$(cluster_psql -c "SET max_parallel_workers_per_gather = 0" -c '\timing on' -c "$(sketch_statement "$1")" |
        sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -n 1)
    [ -n "$time" ] || die "no time was told for $1"
    record "$1" "$time"
    progress "$time ms"
}

sketch_statement() {
    case $1 in
    bigints_scan) echo "SELECT count(v) FROM sketch_bigints" ;;
    bigints_ours) echo "SELECT # counter_hll_agg(v) FROM sketch_bigints" ;;
    bigints_hll) echo "SELECT # hll_add_agg(hll_hash_bigint(v), 14) FROM sketch_bigints" ;;
    texts_scan) echo "SELECT count(v) FROM sketch_texts" ;;
    texts_ours) echo "SELECT # counter_hll_agg(v) FROM sketch_texts" ;;
    texts_hll) echo "SELECT # hll_add_agg(hll_hash_text(v), 14) FROM sketch_texts" ;;
    union_ours) echo "SELECT # counter_hll_union_agg(s) FROM sketches_ours" ;;
    union_hll) echo "SELECT # hll_union_agg(s) FROM sketches_hll" ;;
    distinct_ours) echo "SELECT counter_uniq(v) FROM sketch_repeated" ;;
    distinct_count) echo "SELECT count(DISTINCT v) FROM sketch_repeated" ;;
    esac
}

unique_viewer_rows() {
    longer_by "\`count(v)\` over $(whole "$sketch_rows") bigints, for \`counter_hll_agg(v)\`" 1.15 bigints_ours bigints_scan
    longer_by "\`count(v)\` over $(whole "$sketch_rows") texts, for \`counter_hll_agg(v)\`" 1.3 texts_ours texts_scan
    faster_by "postgresql-hll: aggregate of $(whole "$sketch_rows") bigints, for comparison" "" bigints_ours bigints_hll
    faster_by "postgresql-hll: aggregate of $(whole "$sketch_rows") texts" 1.3 texts_ours texts_hll
    faster_by "postgresql-hll: union of $(whole "$sketch_count") FULL sketches, log2m 14" 3 union_ours union_hll
    faster_by "\`count(DISTINCT)\` of $(whole "$sketch_rows") bigints, half of them distinct" 5 distinct_ours distinct_count
    at_least "\`SELECT 1\` with the same variable, for \`counter_visit\` of a saturated hot id" "on" 0.7 on_visit on_select_variable
    error_row
}

# faster_by AGAINST REACH OURS THEIRS, in milliseconds; without REACH only for comparison.
faster_by() {
    local ours theirs ratio reached=
    ours=$(median "$3")
    theirs=$(median "$4")
    ratio=$(calculate "$theirs / $ours")
    if [ -n "$2" ]; then reached=$(yes_when "$ratio >= $2"); fi
    row "$1" "" "${2:+>= ${2}x}" "$ours against $theirs ms: **$(ratio_text "$ratio")**" "$reached"
}

# longer_by AGAINST REACH OURS THEIRS, in milliseconds: at most so many times as long.
longer_by() {
    local ours theirs ratio
    ours=$(median "$3")
    theirs=$(median "$4")
    ratio=$(calculate "$ours / $theirs")
    row "$1" "" "≤ ${2}x" "$ours against $theirs ms: **$(printf '%.2f' "$ratio")x**" "$(yes_when "$ratio <= $2")"
}

# How far off both are for the same sketches, each of three times as many values as it has registers.
error_row() {
    local ours theirs ratio
    read -r ours theirs < <(cluster_psql -F ' ' -f "$root/bench/sql/sketch_error.sql" | tail -n 1)
    ratio=$(calculate "$ours / $theirs")
    row "postgresql-hll: RMSE of 1,000 sketches at log2m 11, n = 3m" "" "≤ 1.0x" \
        "$(calculate "$ours * 100" | cut -c 1-5) against $(calculate "$theirs * 100" | cut -c 1-5) %: **$(printf '%.2f' "$ratio")x**" \
        "$(yes_when "$ratio <= 1.0")"
}
