#!/usr/bin/env bash
# shellcheck disable=SC2154 # bench/run and what it sources before set the rest
# The report: what was reached, every round's figures, the counts, the machine.
# Sourced, never run.

report() {
    cat <<EOF
# Benchmark results

Written by \`bench/run\`; [README.md](README.md) says what each row means and how to run it again.

$clients clients, \`pgbench -M prepared -j $threads\`, $seconds s a run ($snapshot_seconds s under a held snapshot), $(rounds_text),
one throwaway cluster with PostgreSQL's default settings but \`shared_buffers = 4GB\`, \`max_connections = 300\` and
\`shared_preload_libraries = $extension\`. Ratios are of medians; compare them, not the bare figures, with another machine's.

| against | synchronous_commit | reach | measured | reached |
| --- | --- | --- | --- | --- |
$(report_rows)

## Buffered mode

| against | synchronous_commit | reach | measured | reached |
| --- | --- | --- | --- | --- |
$(buffered_rows)

## Unique viewers

| against | synchronous_commit | reach | measured | reached |
| --- | --- | --- | --- | --- |
$(if is_measured sketches && hll_is_here; then unique_viewer_rows; fi)

## Likes, limits, batches, counter caches

| against | synchronous_commit | reach | measured | reached |
| --- | --- | --- | --- | --- |
$(if is_measured trust; then trust_rows; fi)

## Many counters

| against | synchronous_commit | reach | measured | reached |
| --- | --- | --- | --- | --- |
$(if is_measured tail; then tail_rows; fi)

## Over time and in order

| against | synchronous_commit | reach | measured | reached |
| --- | --- | --- | --- | --- |
$(if is_measured order; then order_rows; fi)

## Few and many clients

$(if is_measured clients; then clients_rows; fi)

## On a Citus cluster

| against | synchronous_commit | reach | measured | reached |
| --- | --- | --- | --- | --- |
$(if is_measured citus; then citus_rows; fi)

## Several nodes

| against | synchronous_commit | reach | measured | reached |
| --- | --- | --- | --- | --- |
$(if is_measured nodes; then nodes_rows; fi)

## Every round

A second, in the order of the rounds, unless it says otherwise.

| lane | conditions | figures |
| --- | --- | --- |
$(report_rounds)

## Nothing lost, nothing twice

| counter | clients were told | counter_get | counter_get_exact |
| --- | --- | --- | --- |
$(printf '%s\n' "${counts[@]}")

## Machine

$(describe_machine)
EOF
}

rounds_text() {
    local text="medians of $rounds interleaved rounds"
    if [ "$rounds" = 1 ]; then text="a single round"; fi
    if [ "$snapshot_rounds" != "$rounds" ]; then text+=" ($snapshot_rounds under a held snapshot)"; fi
    echo "$text"
}

report_rows() {
    if is_measured durable; then
        at_least "one-row \`UPDATE … + 1\`" on 8 on_counter on_one_row
        at_least "hand-made 64-slot upsert" on 1.15 on_counter on_many_slots
    fi
    if is_measured async; then at_least "hand-made 64-slot upsert" off 1.1 off_counter off_many_slots; fi
    if is_measured reads; then
        at_least "\`SELECT 1\`, for \`counter_get\`" "" 0.95 counter_get select_one
        beside "\`SELECT sum()\` over 64 slots, for \`counter_get\`, for comparison" "" counter_get many_slots_sum
    fi
    if is_measured statement; then
        a_call_beyond "in the aggregate" counter_direct series_direct
        a_call_beyond "in a subquery" counter_subquery series_subquery
    fi
    if is_measured durable; then
        at_least "the same without a long transaction that counted" on 0.95 on_counter_long_transaction on_counter
        at_least "the same without a long transaction that holds a slot row" on 0.95 on_counter_held_slot on_counter
    fi
    if is_measured snapshot; then
        last_against_first "its first $edge_seconds s under a held snapshot, for the last $edge_seconds of $snapshot_seconds s" ">= 0.8x" snapshot_counter
        last_against_first "the same of the one-row UPDATE, for comparison" "" snapshot_one_row
        last_against_first "the same of the 64-slot upsert, for comparison" "" snapshot_many_slots
    fi
}

buffered_rows() {
    if is_measured async; then
        at_least "\`SELECT 1\`" off 0.9 off_buffered off_select_one
        at_least "one-row \`UPDATE … + 1\`" off 5 off_buffered off_one_row
        at_least "hand-made 64-slot upsert" off 2.3 off_buffered off_many_slots
    fi
    if is_measured durable; then
        at_least "hand-made 64-slot upsert" on 1.5 on_buffered on_many_slots
        at_least "one-row \`UPDATE … + 1\`" on 11 on_buffered on_one_row
    fi
    if is_measured redis && redis_is_here; then
        at_least "Redis INCR, no persistence, unpipelined" off 1.0 off_redis_buffered redis_memory
        at_least "Redis INCR, appendfsync always, unpipelined" on 0.7 on_redis_buffered redis_always
        at_least "Redis INCR, pipeline of 32, for \`counter_incr_many\` of 1,000 ids" off 1.5 off_batch redis_pipeline
    fi
    if is_measured snapshot; then
        last_against_first "its first $edge_seconds s under a held snapshot, for the last $edge_seconds of $snapshot_seconds s" ">= 0.95x" snapshot_buffered 0.95
    fi
    if is_measured durable; then wal_row; fi
}

wal_row() {
    local ours theirs ratio
    ours=$(median on_buffered_wal)
    theirs=$(median on_many_slots_wal)
    ratio=$(calculate "$ours / $theirs")
    row "WAL bytes an increment, one a transaction, of the 64-slot upsert" on "≤ 0.4x" \
        "$(printf '%.1f' "$ours") against $(printf '%.1f' "$theirs") bytes: **$(printf '%.2f' "$ratio")x**" "$(yes_when "$ratio <= 0.4")"
}

# row AGAINST SYNCHRONOUS_COMMIT REACH MEASURED REACHED
row() { printf '| %s | %s | %s | %s | %s |\n' "$1" "$2" "${3/>=/≥}" "$4" "$5"; }

# at_least AGAINST SYNCHRONOUS_COMMIT REACH OURS THEIRS
at_least() {
    local ours theirs ratio
    ours=$(median "$4")
    theirs=$(median "$5")
    ratio=$(calculate "$ours / $theirs")
    row "$1" "$2" ">= ${3}x" "$(whole "$ours") against $(whole "$theirs") tps: **$(ratio_text "$ratio")**" \
        "$(yes_when "$ratio >= $3")"
}

# beside AGAINST SYNCHRONOUS_COMMIT OURS THEIRS: only for comparison.
beside() {
    local ours theirs
    ours=$(median "$3")
    theirs=$(median "$4")
    row "$1" "$2" "" "$(whole "$ours") against $(whole "$theirs") tps: **$(ratio_text "$(calculate "$ours / $theirs")")**" ""
}

# A millisecond for a million calls is a nanosecond for each.
a_call_beyond() {
    local ours bare nanoseconds
    ours=$(median "$2")
    bare=$(median "$3")
    nanoseconds=$(calculate "$ours - $bare")
    row "the bare series, \`counter_incr\` 10^6 times in one statement, $1" on "≤ 100 ns a call" \
        "$ours against $bare ms: **$(printf '%.0f' "$nanoseconds") ns a call**" "$(yes_when "$nanoseconds <= 100")"
}

# last_against_first AGAINST REACH LANE [RATIO]; without REACH only for comparison.
last_against_first() {
    local first last ratio reached=
    first=$(median "$3_first")
    last=$(median "$3_last")
    ratio=$(calculate "$last / $first")
    if [ -n "$2" ]; then reached=$(yes_when "$ratio >= ${4:-0.8}"); fi
    row "$1" off "$2" "$(whole "$last") against $(whole "$first") tps: **$(ratio_text "$ratio")**; rows and index $(median "$3_size") MB" "$reached"
}

report_rounds() {
    local group lane
    for group in $groups; do
        case $group in
        tail) tail_rounds ;;
        order) order_rounds ;;
        clients) clients_rounds ;;
        citus) citus_rounds ;;
        nodes) nodes_rounds ;;
        esac
        for lane in $(lanes_of "$group"); do
            case $group in
            statement) report_statement ;;
            snapshot)
                rounds_row "$(lane_title "$lane")" "$(lane_conditions "$lane"); the first $edge_seconds s" "${lane}_first"
                rounds_row "$(lane_title "$lane")" "$(lane_conditions "$lane"); the last $edge_seconds s" "${lane}_last"
                ;;
            *) rounds_row "$(lane_title "$lane")" "$(lane_conditions "$lane")" "$lane" ;;
            esac
        done
    done
}

# One round's figure after the other.
rounds_row() {
    local figure text=
    for figure in ${figures[$3]}; do text+="$(whole "$figure"), "; done
    printf '| %s | %s | %s |\n' "$1" "$2" "${text%, }"
}

report_statement() {
    rounds_row "count(g) of the series" "one statement, ms" series_direct
    rounds_row "count(counter_incr('bulk')) over the series" "one statement, ms" counter_direct
    rounds_row "the series in a subquery" "one statement, ms" series_subquery
    rounds_row "counter_incr('bulk') in a subquery" "one statement, ms" counter_subquery
}
