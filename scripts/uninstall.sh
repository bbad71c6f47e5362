#!/usr/bin/env bash
# make uninstall: takes what `make install` has copied out of the server of PG_CONFIG or PG; without them, out of the one that
# `make install` of this directory has put it into. Databases are not touched.
set -euo pipefail
# shellcheck source=scripts/lib/postgres.sh
source "$(dirname "$0")/lib/postgres.sh"

choose_server() {
    local servers=()
    if [ -n "${PG:-}${PG_CONFIG:-}" ] || [ ! -s "$(install_record)" ]; then return; fi
    mapfile -t servers <"$(install_record)"
    if [ ${#servers[@]} -gt 1 ]; then
        die "it was installed into several servers; say which with PG_CONFIG=…:
$(printf '  %s\n' "${servers[@]}")"
    fi
    PG_CONFIG=${servers[0]}
}

choose_server
use_postgres
if package=$(dpkg -S "$(installed_library)" 2>/dev/null); then
    die "$(installed_library) is of the package ${package%%:*}: remove that"
fi
removed=0
for file in "$(installed_library)" "$(extension_dir)/$extension.control" "$(extension_dir)/$extension"--*.sql; do
    [ -e "$file" ] || continue
    as_server_owner rm -f "$file"
    say "removed $file"
    removed=$((removed + 1))
done
forget_installation
if [ "$removed" = 0 ]; then
    say "$extension is not installed in PostgreSQL $PG_MAJOR ($PG_CONFIG)"
else
    say "A server does not start any more while shared_preload_libraries in its postgresql.conf names '$extension'."
fi
