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
    runner=$(find_runner "$1") || return 1
    shift 3
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

# find_runner NAME: the server's own, or where that one does not even start (as the one that comes with the
# wheel of PostgreSQL 18), another major's: a runner is a client like any other.
find_runner() {
    local own runner major config
    own=$(runner_of "$PG_CONFIG" "$1")
    [ -x "$own" ] || die "$own is not there: install the server's development package"
    if starts "$own"; then
        printf '%s' "$own"
        return
    fi
    for major in $pg_majors; do
        if config=$(PG_CONFIG='' pg_config_of_major "$major") && runner=$(runner_of "$config" "$1") && starts "$runner"; then
            say "$own does not start; $runner runs the tests" >&2
            printf '%s' "$runner"
            return
        fi
    done
    die "$own does not start, and there is no other"
}

runner_of() { printf '%s/../test/%s' "$(dirname "$("$1" --pgxs)")" "$2"; }

# In a shell of its own, which keeps quiet about how it ended.
starts() { bash -c '"$1" --version; exit' starts "$1" >/dev/null 2>&1; }

show_regress_diffs() {
    if [ ! -s "$regress_output/regression.diffs" ]; then return; fi
    say "--- regression.diffs"
    # The results live in a directory that will be gone.
    sed "s#$regress_output/##; s#$root/##" "$regress_output/regression.diffs"
    say "---"
}

drop_regress_output() { rm -rf "${regress_output:-}"; }
