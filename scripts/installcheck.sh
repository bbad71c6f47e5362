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
        die "cannot connect as a superuser; set PGHOST, PGPORT and PGUSER, or make yourself one: sudo -u postgres createuser -s $(id -un)"
    case "$preloaded" in
    *"$extension"*) echo schedule ;;
    *) echo schedule_no_preload ;;
    esac
}

# Tests prepare transactions, up to so many at once.
check_prepared_transactions() {
    local allowed
    allowed=$("$PG_BIN/psql" -XqAt -d postgres -c 'SHOW max_prepared_transactions')
    [ "$allowed" -ge 10 ] || die "max_prepared_transactions is $allowed on this server: set it to 10, and restart"
}

use_postgres
schedule=$(schedule_for_server)
check_prepared_transactions
run_pg_regress regress/pg_regress tests/pg_regress "$schedule"
say "The tests leave their database, as pg_regress does: DROP DATABASE ${extension}_regress;"
