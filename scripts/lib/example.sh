#!/usr/bin/env bash
# What the tests of the examples share: a throwaway server with the extension, an aloud skip, and
# the results of other people's test runners in the words that scripts/test.sh counts. Sourced, never run.

# shellcheck source=scripts/lib/cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"

# skip WHY: no failure, but said so that nobody takes it for a pass.
skip() {
    say "SKIPPED: $*"
    exit 0
}

# first_that_runs PROGRAM ARGUMENT...: prints the program that is found first, or Debian's, whichever can run the arguments.
first_that_runs() {
    local program=$1 candidate
    shift
    for candidate in "$program" "/usr/bin/$program"; do
        if "$candidate" "$@" >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# A server of the example's own, with the extension that is installed, which libpq's environment points at.
start_example_server() {
    use_postgres
    [ -f "$(installed_library)" ] || die "$PG_CONFIG has no $extension: \`make install\` first"
    cluster_start fsync=off "shared_preload_libraries=$extension"
}

# count_tests COMMAND [ARGUMENT]...: runs tests of unittest, node or minitest; fails when one does, or when there was none.
count_tests() {
    local log status=0 passed failed
    log=$(mktemp)
    "$@" 2>&1 | tee "$log" || status=$?
    read -r passed failed < <(read_results <"$log")
    rm -f "$log"
    if [ "$failed" = 0 ] && { [ "$status" != 0 ] || [ "$passed" = 0 ]; }; then failed=1; fi
    if [ "$failed" = 0 ]; then
        say "test result: ok. $passed passed; 0 failed"
        return
    fi
    say "test result: FAILED. $passed passed; $failed failed"
    cluster_show_log
    return 1
}

# Prints "PASSED FAILED" from the last lines of a runner.
read_results() {
    awk '
        function number(name) { return match($0, name) ? substr($0, RSTART + length(name)) + 0 : 0 }
        /^Ran [0-9]+ tests? in / { ran = $2 }
        /^(OK|FAILED)( \(|$)/ { failed = number("failures=") + number("errors="); ran -= number("skipped=") }
        /^# pass [0-9]+$/ { passed = $3 }
        /^# fail [0-9]+$/ { failed = $3; ran = passed + failed }
        /^[0-9]+ runs, [0-9]+ assertions, / { ran = $1 - $9; failed = $5 + $7 }
        END { passed = ran - failed; print (passed > 0 ? passed : 0), failed + 0 }'
}
