#!/usr/bin/env bash
# cluster_files.sh LOCK NAME...: one file of cluster tests after the other, each told in one piece when it has ended. The stage
# `cluster` runs several of these beside each other; whoever tells something holds LOCK.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

lock=$1
shift
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
status=0
for name in "$@"; do
    cargo test --locked --no-fail-fast -p counter_ext_cluster_tests --test "$name" -- --test-threads=1 >"$log" 2>&1 || status=1
    (
        flock 9
        printf '\n--- %s\n' "$name"
        cat "$log"
    ) 9>>"$lock"
done
exit $status
