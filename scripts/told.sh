#!/usr/bin/env bash
# told.sh LOCK NAME COMMAND...: runs a command, and tells what it said in one piece when it has ended. Stages run several of these beside
# each other; whoever tells something holds LOCK.
set -uo pipefail

lock=$1 name=$2
shift 2
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
status=0
"$@" >"$log" 2>&1 || status=1
(
    flock 9
    printf '\n--- %s\n' "$name"
    cat "$log"
    [ "$status" = 0 ] || printf -- '--- %s FAILED\n' "$name"
) 9>>"$lock"
exit "$status"
