#!/usr/bin/env bash
# pg_regress and pg_isolation_regress against the server that libpq's
# environment points at. Sourced, never run.

# shellcheck source=scripts/lib/postgres.sh
source "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"

# run_pg_regress RUNNER DIRECTORY SCHEDULE [OPTION]...: RUNNER is where pgxs keeps
# it (regress/pg_regress, isolation/pg_isolation_regress), SCHEDULE a file in DIRECTORY.
# Results go to a directory of their own; what differs is printed.
run_pg_regress() {
    local runner directory=$root/$2 schedule=$root/$2/$3
    runner=$(dirname "$("$PG_CONFIG" --pgxs)")/../test/$1
    shift 3
    [ -x "$runner" ] || die "$runner is not there: install the server's development package"
    [ -f "$schedule" ] || die "there is no ${schedule#"$root"/}"
    at_exit drop_regress_output
    regress_output=$(mktemp -d)
    if "$runner" --bindir="$PG_BIN" --inputdir="$directory" --outputdir="$regress_output" \
        --dbname="${extension}_regress" --schedule="$schedule" "$@"; then
        return 0
    fi
    show_regress_diffs
    return 1
}

show_regress_diffs() {
    if [ ! -s "$regress_output/regression.diffs" ]; then return; fi
    say "--- regression.diffs"
    # The results live in a directory that will be gone.
    sed "s#$regress_output/##; s#$root/##" "$regress_output/regression.diffs"
    say "---"
}

drop_regress_output() { rm -rf "${regress_output:-}"; }
