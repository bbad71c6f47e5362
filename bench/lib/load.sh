#!/usr/bin/env bash
# shellcheck disable=SC2154 # bench/run and what it sources before set the rest
# Load on the cluster, and sessions that stand in its way. Sourced, never run.

clients=32
threads=2

# Increments of the counter `hot` that some client was told are committed.
told_hot=0

# How increments of the next run are written.
mode=slotted

# run_pgbench SYNCHRONOUS_COMMIT SECONDS SCRIPT [OPTION]...: sets tps, and wal_bytes, what a transaction wrote to WAL.
run_pgbench() {
    local synchronous_commit=$1 seconds=$2 script=$3 done_count wal_before wal_after
    shift 3
    # Every run pays for its own pages in WAL, and for no other's checkpoint.
    cluster_psql -c CHECKPOINT
    wal_before=$(cluster_psql -c "SELECT pg_current_wal_insert_lsn() - '0/0'")
    PGOPTIONS="-c synchronous_commit=$synchronous_commit -c counter_ext.mode=$mode" \
        "$PG_BIN/pgbench" -n -M prepared -c $clients -j $threads -T "$seconds" "$@" \
        -f "$root/bench/sql/$script.sql" >"$work/pgbench.out" 2>"$work/pgbench.err" || load_failed "$script"
    tps=$(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$work/pgbench.out")
    done_count=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$work/pgbench.out")
    if [ -z "$tps" ] || [ -z "$done_count" ]; then load_failed "$script"; fi
    wal_after=$(cluster_psql -c "SELECT pg_current_wal_insert_lsn() - '0/0'")
    wal_bytes=$(calculate "($wal_after - $wal_before) / $done_count")
    if [ "$script" = counter_incr_many ]; then told_batches=$((told_batches + done_count)); fi
    if [ "$script" = counter_incr ]; then told_hot=$((told_hot + done_count)); fi
}

load_failed() {
    cat "$work/pgbench.out" "$work/pgbench.err" >&2
    cluster_show_log >&2
    die "pgbench failed on bench/sql/$1.sql"
}

# edge_rates SECONDS: "FIRST LAST", the rates in the first and the last SECONDS of what pgbench -P 1 said.
# Each line counts by the time it stands for: a server in trouble makes pgbench report late.
edge_rates() {
    awk -v edge="$1" '
        /^progress:/ { n++; at[n] = $2; span[n] = $2 - at[n - 1]; rate[n] = $4 }
        END {
            for (i = 1; i <= n; i++) {
                if (at[i] < edge + 0.5) { first += rate[i] * span[i]; first_span += span[i] }
                if (at[i] > at[n] - edge + 0.5) { last += rate[i] * span[i]; last_span += span[i] }
            }
            if (first_span > 0 && last_span > 0) printf "%.1f %.1f\n", first / first_span, last / last_span
        }' "$work/pgbench.err"
}

# hold SQL: one more session, which runs SQL and stays in the transaction that SQL began; what it answers in held_answer.
hold() {
    local line
    coproc holder { exec "$PG_BIN/psql" -XqAt -v ON_ERROR_STOP=1 2>&1; }
    holder_pid=$!
    # bash forgets a coprocess's descriptors when it ends; ours stay.
    exec {holder_out}<&"${holder[0]}" {holder_in}>&"${holder[1]}"
    held_answer=
    printf '%s\n\\echo held\n' "$1" >&"$holder_in"
    while IFS= read -r -t 60 -u "$holder_out" line; do
        if [ "$line" = held ]; then return; fi
        held_answer+="$line "
    done
    die "the session that should stand in the way does not: ${held_answer:-no answer}"
}

# Its transaction is over when this returns, so the next run has the cluster to itself.
let_go() {
    if [ -z "${holder_pid:-}" ]; then return; fi
    printf 'ROLLBACK;\n\\q\n' >&"$holder_in"
    wait "$holder_pid" || die "the session that stood in the way ended with an error"
    holder_pid=
    exec {holder_in}>&- {holder_out}<&-
}

end_holder() {
    if [ -n "${holder_pid:-}" ]; then kill "$holder_pid" 2>/dev/null; fi
}
