#!/usr/bin/env bash
# make installcheck: the SQL regression tests against the running server that
# PGHOST, PGPORT and PGUSER point at, with the extension installed there.
set -euo pipefail
# shellcheck source=scripts/lib/regress.sh
source "$(dirname "$0")/lib/regress.sh"

# What can be expected of a server depends on whether it has the library preloaded.
schedule_for_server() {
    local preloaded
    preloaded=$("$PG_BIN/psql" -XqAt -d postgres -c 'SHOW shared_preload_libraries') ||
        die "no server to test; set PGHOST, PGPORT and PGUSER"
    case "$preloaded" in
    *"$extension"*) echo schedule ;;
    *) echo schedule_no_preload ;;
    esac
}

use_postgres
schedule=$(schedule_for_server)
run_pg_regress regress/pg_regress tests/pg_regress "$schedule"
