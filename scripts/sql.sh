#!/usr/bin/env bash
# make sql: writes the SQL of the present version anew, as pgrx makes it of the
# library, and the scripts by which older versions become it. To be run, looked at
# and committed with whatever changes that.
set -euo pipefail
# shellcheck source=scripts/lib/postgres.sh
source "$(dirname "$0")/lib/postgres.sh"

use_cargo
use_postgres
cargo_pgrx_is_here || bash "$root/scripts/setup.sh" sql
build_extension

# write FILE TEXT
write() {
    if [ -f "$1" ] && [ "$2" = "$(cat "$1")" ]; then
        say "sql/${1##*/} is as it should be"
    else
        printf '%s\n' "$2" >"$1"
        say "sql/${1##*/} is written: $(cd "$root" && git diff --shortstat -- "$1" 2>/dev/null)"
    fi
}

write "$(frozen_sql)" "$(made_sql)"
while read -r hand; do write "$(upgrade_sql_of "$hand")" "$(made_upgrade_sql "$hand")"; done < <(upgrades_by_hand)
