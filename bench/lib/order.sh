#!/usr/bin/env bash
# shellcheck disable=SC2154 # bench/run and what it sources before set the rest
# Leaderboards, series and live totals beside Redis' sorted sets and what is written by hand. Sourced, never run.

# BENCH_ORDER_SIZES: numbers of members. BENCH_EVENTS: raw events of a day. Sizes that only show how things grow run shorter, so that
# all of them take a quarter of an hour.
read -ra order_sizes <<<"${BENCH_ORDER_SIZES:-1000 10000 100000 1000000 10000000}"
order_events=${BENCH_EVENTS:-10000000}
order_main=1000000
order_redis="redis_zincrby redis_zrevrange redis_zrevrank"
order_kinds="plain tracked ranked watched"
# What a board is changed by, a second, while it is read.
order_beside=100

order_lanes() {
    echo "top rank off_incr"
    if [ "$1" != $order_main ]; then return; fi
    echo "rank_any top_beside rank_any_beside off_incr_buffered plain_top plain_rank"
    if redis_is_here; then echo "$order_redis"; fi
}

order_runs() {
    local size count=0
    for size in "${order_sizes[@]}"; do count=$((count + $(order_lanes "$size" | wc -w) * rounds)); done
    echo $((count + ($(wc -w <<<"$order_kinds") + 2) * rounds))
}

order_title() {
    case $1 in
    off_incr) echo "counter_incr of a member" ;;
    off_incr_buffered) echo "counter_incr of a member, buffered" ;;
    top) echo "counter_board_top, 10" ;;
    rank) echo "counter_board_rank, in the middle" ;;
    rank_any) echo "counter_board_rank of any member" ;;
    top_beside) echo "counter_board_top, 10, beside $order_beside increments a second" ;;
    rank_any_beside) echo "counter_board_rank of any member, beside $order_beside increments a second" ;;
    plain_top) echo "ORDER BY an indexed column LIMIT 10" ;;
    plain_rank) echo "count(*) WHERE score >, in the middle" ;;
    redis_zincrby) echo "Redis ZINCRBY" ;;
    redis_zrevrange) echo "Redis ZREVRANGE 0 9" ;;
    redis_zrevrank) echo "Redis ZREVRANK, in the middle" ;;
    off_plain) echo "counter_incr of a hot counter that nothing follows" ;;
    off_tracked) echo "the same, tracked" ;;
    off_ranked) echo "the same, on a board" ;;
    off_watched) echo "the same, watched" ;;
    series) echo "counter_series of 24 h by minute" ;;
    events) echo "GROUP BY date_trunc over raw events" ;;
    esac
}

measure_order() {
    local size lane kind lane_seconds
    progress "making $(whole $order_main) rows and $(whole "$order_events") events, a minute or two"
    cluster_psql -v events="$order_events" -f "$root/bench/sql/order_tables.sql"
    for size in "${order_sizes[@]}"; do
        order_load "$size"
        if [ "$size" = $order_main ] && redis_is_here; then order_fill_redis; fi
        for round in $(seq "$rounds"); do
            for lane in $(order_lanes "$size"); do measure_order_lane "$lane" "$size"; done
        done
        if [ "$size" = $order_main ]; then redis_stop; fi
    done
    order_follow
    for round in $(seq "$rounds"); do
        for kind in $order_kinds; do measure_order_lane "off_$kind" hot; done
        for lane in series events; do measure_order_statement $lane; done
    done
}

# A board of so many members with scores in no order, all of it built.
order_load() {
    local size=$1 before tries
    progress "making a board of $(whole "$size") members"
    cluster_psql -o /dev/null -c "SELECT count(counter_incr('g$size:' || n, 1 + n * 2654435761 % 1000000)) FROM generate_series(1::bigint, $size) AS n" \
        -c "SELECT counter_compact()"
    before=$(order_bytes)
    cluster_psql -o /dev/null -c "SELECT counter_board('g$size:')"
    # Whoever asks for a pass has the worker go on without a rest.
    for tries in {1..10000}; do
        if [ "$(cluster_psql -c "SELECT state FROM counter_ext.board_state WHERE prefix = 'g$size:'")" = 1 ]; then break; fi
        cluster_psql -o /dev/null -c "SELECT counter_compact()"
    done
    [ "$tries" -lt 10000 ] || die "the board of $size members is not built after $tries passes"
    record "order_bytes_$size" "$((($(order_bytes) - before) / size))"
    # Whose score is in the middle.
    middle=$(cluster_psql -c "SELECT member FROM counter_ext.board_member WHERE board = 'g$size:' ORDER BY place OFFSET $size / 2 LIMIT 1")
}

order_bytes() {
    cluster_psql -c "SELECT pg_total_relation_size('counter_ext.board_member') + pg_total_relation_size('counter_ext.board_count')"
}

# The same members and scores.
order_fill_redis() {
    redis_start --appendonly no
    cluster_psql -c "SELECT 'ZADD board ' || score || ' ' || member FROM order_plain" |
        redis-cli -s "$redis_dir/socket" --pipe >/dev/null
}

measure_order_lane() {
    step=$((step + 1))
    progress_begins "[$step/$steps] round $round: $(order_title "$1"), $2: "
    mode=slotted
    case $1 in *_buffered) mode=buffered ;; esac
    lane_seconds=$seconds
    case $2 in "$order_main" | hot) ;; *) lane_seconds=$((seconds < 3 ? seconds : 3)) ;; esac
    # A board as it is between two passes is what is read; the worker has then what the lane before left behind.
    case $1 in top* | rank*) cluster_psql -o /dev/null -c "SELECT counter_compact()" ;; esac
    case $1 in
    redis_zincrby) tps=$(redis_command_rate -r $order_main ZINCRBY board 1 __rand_int__) ;;
    redis_zrevrange) tps=$(redis_command_rate ZREVRANGE board 0 9) ;;
    redis_zrevrank) tps=$(redis_command_rate ZREVRANK board "$middle") ;;
    off_incr | off_incr_buffered) run_pgbench off "$lane_seconds" order_incr -D n="$2" ;;
    *_beside) order_run_beside "$1" "$2" ;;
    off_*) run_pgbench off "$lane_seconds" order_followed -D id="followed:${1#off_}:hot" ;;
    *) run_pgbench on "$lane_seconds" "order_$1" -D n="$2" -D middle="$middle" ;;
    esac
    [ -n "$tps" ] || die "no rate was told"
    record "order_$1_$2" "$tps"
    progress "$(whole "$tps") a second"
}

# A lane that reads, while somebody changes members at a steady rate.
order_run_beside() {
    local writer
    PGOPTIONS="-c synchronous_commit=off" "$PG_BIN/pgbench" -n -M prepared -c 1 -R $order_beside -T $((lane_seconds + 60)) -D n="$2" \
        -f "$root/bench/sql/order_incr.sql" >/dev/null 2>&1 &
    writer=$!
    run_pgbench on "$lane_seconds" "order_${1%_beside}" -D n="$2" -D middle="$middle"
    kill $writer
    wait $writer 2>/dev/null || true
}

# redis_command_rate [-r KEYS] COMMAND...: about as long as the other lanes.
redis_command_rate() {
    local first
    first=$(redis_command_run 20000 "$@")
    redis_command_run "$(calculate "int($first * $seconds / 10000) * 10000 + 10000" | cut -d . -f 1)" "$@"
}

redis_command_run() {
    local requests=$1
    shift
    redis-benchmark -s "$redis_dir/socket" -c "$clients" -n "$requests" --csv "$@" 2>/dev/null | tail -n 1 |
        sed -n 's/^"[^"]*","\([0-9.]*\)".*/\1/p'
}

order_follow() {
    cluster_psql -o /dev/null -c "SELECT counter_track('followed:tracked:', resolutions => '{minute,hour,day}', keep => '{2 days,90 days,forever}')" \
        -c "SELECT counter_board('followed:ranked:')" -c "SELECT counter_watch('followed:watched:', 'bench')" \
        -c "SELECT counter_track('series', resolutions => '{minute,hour,day}', keep => '{2 days,90 days,forever}')" \
        -c "SELECT count(counter_incr_at('series', at, n)) FROM (SELECT date_trunc('minute', at) AS at, count(*) AS n FROM order_events GROUP BY 1) AS minutes" \
        -c "SELECT counter_compact()"
}

measure_order_statement() {
    local day="date_trunc('hour', now()) - interval '1 day', date_trunc('hour', now())"
    step=$((step + 1))
    progress_begins "[$step/$steps] round $round: $(order_title "$1"): "
    case $1 in
    series) time_statement -o /dev/null -c "SELECT * FROM counter_series('series', $day, 'minute')" ;;
    events) time_statement -o /dev/null -c "SELECT date_trunc('minute', at), count(*) FROM order_events WHERE id = 'series' GROUP BY 1 ORDER BY 1" ;;
    esac
    record "order_$1" "$milliseconds"
    progress "$milliseconds ms"
}

order_rows() {
    local size
    if [ -n "${figures[order_off_incr_$order_main]:-}" ]; then
        if redis_is_here; then
            at_least "Redis ZINCRBY on a board of 10^6, no persistence, unpipelined, for \`counter_incr\` of a member" off 0.6 order_off_incr_$order_main order_redis_zincrby_$order_main
            at_least "the same, for \`counter_incr\` of a member, buffered" off 0.6 order_off_incr_buffered_$order_main order_redis_zincrby_$order_main
            at_least "Redis ZREVRANGE 0 9, for \`counter_board_top\`" "" 0.5 order_top_$order_main order_redis_zrevrange_$order_main
            at_least "Redis ZREVRANK in the middle of 10^6, for \`counter_board_rank\`" "" 0.4 order_rank_$order_main order_redis_zrevrank_$order_main
        fi
        at_least "\`SELECT count(*) … WHERE score >\` with an index, in the middle of 10^6" "" 100 order_rank_$order_main order_plain_rank_$order_main
        at_least "\`ORDER BY\` an indexed column \`LIMIT 10\` over 10^6, for \`counter_board_top\`" "" 0.7 order_top_$order_main order_plain_top_$order_main
    fi
    faster_by "\`GROUP BY date_trunc\` over $(whole "$order_events") raw events, for \`counter_series\` of 24 h by minute" 100 order_series order_events
    at_least "the same counter that nothing follows, for one that is tracked" off 0.98 order_off_tracked_hot order_off_plain_hot
    at_least "the same, for one on a board" off 0.98 order_off_ranked_hot order_off_plain_hot
    at_least "the same, for one that is watched" off 0.98 order_off_watched_hot order_off_plain_hot
    cat <<EOF

| members of a board | \`counter_board_rank\` a second | \`counter_board_top\` a second | \`counter_incr\` a second | bytes a member, index and counts included |
| --- | --- | --- | --- | --- |
EOF
    for size in "${order_sizes[@]}"; do
        printf '| %s | %s | %s | %s | %s |\n' "$(whole "$size")" "$(whole "$(median "order_rank_$size")")" "$(whole "$(median "order_top_$size")")" \
            "$(whole "$(median "order_off_incr_$size")")" "$(median "order_bytes_$size")"
    done
}

order_rounds() {
    local size lane kind
    for size in "${order_sizes[@]}"; do
        for lane in $(order_lanes "$size"); do
            rounds_row "$(order_title "$lane")" "$(whole "$size") members" "order_${lane}_$size"
        done
    done
    for kind in $order_kinds; do rounds_row "$(order_title "off_$kind")" "synchronous_commit off" "order_off_${kind}_hot"; done
    for lane in series events; do rounds_row "$(order_title $lane)" "one statement, ms" "order_$lane"; done
}
