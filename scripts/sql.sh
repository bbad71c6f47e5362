#!/usr/bin/env bash
# make sql: writes the SQL of the present version anew, as pgrx makes it of the
# library. To be run, looked at and committed with whatever changes that.
set -euo pipefail
# shellcheck source=scripts/lib/postgres.sh
source "$(dirname "$0")/lib/postgres.sh"

use_cargo
use_postgres
cargo_pgrx_is_here || bash "$root/scripts/setup.sh" sql
build_extension
frozen=$(frozen_sql)
made=$(made_sql)
if [ -f "$frozen" ] && [ "$made" = "$(cat "$frozen")" ]; then
    say "sql/${frozen##*/} is as it should be"
else
    printf '%s\n' "$made" >"$frozen"
    say "sql/${frozen##*/} is written: $(cd "$root" && git diff --shortstat -- "$frozen" 2>/dev/null)"
fi
