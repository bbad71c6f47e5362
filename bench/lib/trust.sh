#!/usr/bin/env bash
# shellcheck disable=SC2154 # bench/run and what it sources before set the rest
# Likes, batches, limits and counter caches beside what is written by hand. Sourced, never run.

trust_tables() {
    cluster_psql -o /dev/null -f "$root/bench/sql/trust_tables.sql"
    cluster_psql -o /dev/null -f "$root/bench/sql/cache_tables.sql"
}

# measure_apply LANE: milliseconds of a batch, in the one session that a consumer holds.
measure_apply() {
    local time
    time=$("$PG_BIN/pgbench" -n -M prepared -c 1 -T "$seconds" -f "$root/bench/sql/$1.sql" 2>"$work/pgbench.err" |
        tee "$work/pgbench.out" | sed -n 's/^latency average = \([0-9.]*\) ms.*/\1/p')
    [ -n "$time" ] || load_failed "$1"
    record "$1" "$time"
    progress "$time ms"
}

trust_rows() {
    at_least "\`INSERT … ON CONFLICT DO NOTHING\` and one-row \`UPDATE\`, for \`counter_like\` of one hot item" on 5 on_like_ours on_like_by_hand
    at_least "row trigger with \`UPDATE parent\`, for \`counter_rows\` of one parent" on 4 on_cache_ours on_cache_row_trigger
    at_least "\`SELECT 1\`, for \`counter_allow\`" "" 0.8 reading_allow reading_select_one
    faster_by "\`INSERT … SELECT unnest … ON CONFLICT\`, for \`counter_apply\` of 10,000 deltas over 1,000 ids" 2 apply_ours apply_by_hand
    bytes_row
}

# Random items and actors of seven digits, in the order they come.
bytes_row() {
    local each
    each=$(cluster_psql -o /dev/null -c "TRUNCATE counter_ext.liked" \
        -c "SELECT count(counter_like((random() * 1e6)::bigint, (random() * 1e6)::bigint)) FROM generate_series(1, 1000000)" \
        -c '\o' -c "SELECT round(sum(pg_relation_size(t)) / c) || ' in rows, ' || round(sum(pg_indexes_size(t)) / c) || ' in two indexes'
            FROM pg_partition_tree('counter_ext.liked') AS p (t), (SELECT count(*) AS c FROM counter_ext.liked) AS liked GROUP BY c")
    row "24 bytes of raw data (item, actor, time): bytes a like, of a million" "" "" "$each" ""
}
