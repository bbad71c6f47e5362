#!/usr/bin/env bash
# make test: every stage in order, up to the first that fails. The last line is
# always "N passed, N failed". STAGES="fmt clippy" runs only those. The server has
# afterwards what it had of the extension before.
set -euo pipefail
# shellcheck source=scripts/lib/kept.sh
source "$(dirname "$0")/lib/kept.sh"

all_stages="fmt clippy doc house sketches memory sql deb pgtest regress isolation cluster examples fuzz"

passed=0
failed=0
summary=()

describe() {
    case $1 in
    fmt) echo "formatting" ;;
    clippy) echo "clippy, warnings are errors" ;;
    doc) echo "rustdoc, warnings are errors" ;;
    house) echo "house rules: layers, unsafe, dependencies, files" ;;
    sketches) echo "without a server: sketches (laws, accuracy), plots" ;;
    memory) echo "shared memory without a server: every order of its steps (loom)" ;;
    sql) echo "the frozen SQL is what the library says" ;;
    deb) echo "the Debian package, on a clean system" ;;
    pgtest) echo "tests inside a server (cargo pgrx test)" ;;
    regress) echo "SQL regression tests, with and without preload" ;;
    isolation) echo "isolation specs" ;;
    cluster) echo "cluster tests: crash, ledger, dump, database commands" ;;
    examples) echo "examples: each one's own tests" ;;
    fuzz)
        if [ -n "${FUZZ_RUNS:-}" ]; then
            echo "any bytes read as a sketch, $FUZZ_RUNS times"
        else
            echo "any bytes read as a sketch, for ${FUZZ_SECONDS:-60} s"
        fi
        ;;
    *) die "there is no stage '$1'; the stages are: $all_stages" ;;
    esac
}

# Prints "PASSED FAILED" from what the runners of a stage said: cargo's
# "test result: …", pg_regress's "All N tests passed" or "N of M tests failed", and "N passed, N failed" of an example.
count_runner_results() {
    sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
        /^test result:/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) passed += $(i - 1)
                if ($i ~ /^failed/) failed += $(i - 1)
            }
        }
        /^(#)? *All [0-9]+ tests passed/ {
            for (i = 1; i <= NF; i++) if ($i == "All") passed += $(i + 1)
        }
        /^(#)? *[0-9]+ of [0-9]+ tests failed/ {
            for (i = 1; i <= NF; i++) if ($i == "of") { failed += $(i - 1); passed += $(i + 1) - $(i - 1) }
        }
        /^[0-9]+ passed, [0-9]+ failed$/ { passed += $1; failed += $3 }
        END { print passed + 0, failed + 0 }'
}

# count_stage NAME STATUS LOG: prints "PASSED FAILED". fmt, clippy, doc, sql, deb and fuzz are one check each.
# A stage that failed has a failure, whatever its runner said or did not live to
# say; so has one that ran no test at all.
count_stage() {
    local ok=0 bad=0
    case $1 in
    fmt | clippy | doc | sql | deb | fuzz) if [ "$2" = 0 ]; then ok=1; fi ;;
    *) read -r ok bad < <(count_runner_results "$3") ;;
    esac
    if [ "$bad" = 0 ] && { [ "$2" != 0 ] || [ "$ok" = 0 ]; }; then bad=1; fi
    echo "$ok" "$bad"
}

run_stage() {
    local name=$1 status=0 started=$SECONDS ok bad result
    printf '\n=== %s: %s\n' "$name" "$(describe "$name")"
    # tee -i: on Ctrl-C it must outlive the stage, which still has a cluster to stop.
    bash "$root/scripts/stage.sh" "$name" 2>&1 </dev/null | tee -i "$stage_log" || status=$?
    read -r ok bad < <(count_stage "$name" "$status" "$stage_log")
    passed=$((passed + ok))
    failed=$((failed + bad))
    if [ "$bad" = 0 ]; then result=ok; else result=FAILED; fi
    summary+=("$(printf '%-10s %-8s %5s passed %5s failed %6ss' "$name" "$result" "$ok" "$bad" $((SECONDS - started)))")
    say "=== $name: $result"
}

run_stages() {
    local name
    for name in "$@"; do
        if [ "$failed" = 0 ]; then
            run_stage "$name"
        else
            summary+=("$(printf '%-10s %-8s' "$name" "not run")")
        fi
    done
}

print_summary() {
    printf '\n'
    printf '%s\n' "${summary[@]}"
    printf '\n%s passed, %s failed\n' "$passed" "$failed"
}

drop_stage_log() { rm -f "${stage_log:-}"; }

# Suites run on a library that is optimized, but not across crates: that takes one processor five minutes more. What `make install`
# and `make bench` build is.
build_for_suites() {
    export CARGO_PROFILE_RELEASE_LTO=${CARGO_PROFILE_RELEASE_LTO:-off}
    export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=${CARGO_PROFILE_RELEASE_CODEGEN_UNITS:-16}
}

main() {
    local name
    for name in "$@"; do describe "$name" >/dev/null; done
    bash "$root/scripts/setup.sh" "$@"
    use_cargo
    use_postgres
    keep_installed_extension
    build_for_suites
    at_exit drop_stage_log
    stage_log=$(mktemp)
    run_stages "$@"
    print_summary
    [ "$failed" = 0 ]
}

# shellcheck disable=SC2086 # a list of names
main ${STAGES:-$all_stages}
