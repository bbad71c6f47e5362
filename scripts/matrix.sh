#!/usr/bin/env bash
# make matrix: what depends on the server, on each PostgreSQL from 15 to 18 that this
# machine has or can get (scripts/servers.sh). The end says what passed where, and
# which could not be had. STAGES="regress isolation" runs only those, MAJORS="16 18" only there.
set -euo pipefail
# shellcheck source=scripts/lib/postgres.sh
source "$(dirname "$0")/lib/postgres.sh"

stages=${STAGES:-clippy pgtest regress isolation cluster}
summary=()
failed=0

test_on() {
    local major=$1 config log=$2 status=0
    if ! config=$(PG_CONFIG='' pg_config_of_major "$major"); then
        bash "$root/scripts/servers.sh" "$major" || true
        if ! config=$(pg_config_of_major "$major"); then
            summary+=("PostgreSQL $major: not run, it cannot be had on this machine")
            return
        fi
    fi
    say "=== PostgreSQL $major ($config)"
    PG_CONFIG=$config STAGES=$stages bash "$root/scripts/test.sh" 2>&1 </dev/null | tee -i "$log" || status=1
    if [ "$status" != 0 ]; then failed=1; fi
    summary+=("$("$config" --version): $(tail -n 1 "$log")")
}

drop_log() { rm -f "${log:-}"; }

main() {
    local major
    unset PG PG_CONFIG
    at_exit drop_log
    log=$(mktemp)
    for major in ${MAJORS:-15 16 17 18}; do test_on "$major" "$log"; done
    printf '\n'
    printf '%s\n' "${summary[@]}"
    [ "$failed" = 0 ]
}

main
