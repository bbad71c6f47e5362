#!/usr/bin/env bash
# Which PostgreSQL we build for and install into. Sourced, never run.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/lib/extension.sh
source "$(dirname "${BASH_SOURCE[0]}")/extension.sh"

# The one every figure and expected output was made with comes first.
pg_majors="15 18 17 16"

pg_major_of() { "$1" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/'; }

pg_headers_of() { [ -f "$("$1" --includedir-server)/postgres.h" ]; }

# libpq-dev's pg_config knows the client only; the server's own lies beside its binaries.
server_pg_config() {
    local bindir
    bindir=$("$1" --bindir)
    if [ -x "$bindir/pg_config" ]; then printf '%s\n' "$bindir/pg_config"; else command -v "$1"; fi
}

# Where servers of a major version lie: Debian's and PGDG's packages, and what scripts/servers.sh has put up.
server_dirs() { printf '%s\n' "/usr/lib/postgresql/$1" "/usr/pgsql-$1" "$(servers_root)/pg$1"; }

servers_root() { printf '%s\n' "${COUNTER_EXT_SERVERS:-/opt}"; }

# The pg_config of an installed PostgreSQL $1 that has its headers. A client's package has neither them nor a server.
pg_config_of_major() {
    local dir
    while read -r dir; do
        if [ -x "$dir/bin/postgres" ] && [ -x "$dir/bin/pg_config" ] && pg_headers_of "$dir/bin/pg_config"; then
            printf '%s\n' "$dir/bin/pg_config"
            return
        fi
    done < <(server_dirs "$1")
    return 1
}

# Prints the pg_config to use: PG_CONFIG if set, else that of PostgreSQL PG if set, else what is installed with headers.
find_pg_config() {
    local major candidate
    if [ -n "${PG_CONFIG:-}" ]; then
        command -v "$PG_CONFIG" >/dev/null || return 1
        server_pg_config "$PG_CONFIG"
        return
    fi
    for major in ${PG:-$pg_majors}; do
        if pg_config_of_major "$major"; then return; fi
    done
    command -v pg_config >/dev/null || return 1
    candidate=$(server_pg_config pg_config)
    case " ${PG:-$pg_majors} " in *" $(pg_major_of "$candidate") "*) ;; *) return 1 ;; esac
    pg_headers_of "$candidate" || return 1
    printf '%s\n' "$candidate"
}

# Sets and exports PG_CONFIG, PG_MAJOR, PG_BIN and, for pgrx, which server it is to be built for.
use_postgres() {
    PG_CONFIG=$(find_pg_config) ||
        die "no PostgreSQL${PG:+ $PG} with server headers found; run scripts/setup.sh, or give PG_CONFIG=…/pg_config"
    PG_MAJOR=$(pg_major_of "$PG_CONFIG")
    PG_BIN=$("$PG_CONFIG" --bindir)
    case " $pg_majors " in
    *" $PG_MAJOR "*) ;;
    *) die "$PG_CONFIG is PostgreSQL $PG_MAJOR; $extension is built for 15 to 18" ;;
    esac
    if [ "${PG:-$PG_MAJOR}" != "$PG_MAJOR" ]; then die "PG=$PG, but $PG_CONFIG is PostgreSQL $PG_MAJOR"; fi
    export PG_CONFIG PG_MAJOR PG_BIN
    if ! pgrx_home_has_server; then export PGRX_PG_CONFIG_PATH=$PG_CONFIG; fi
}

# Whoever has told pgrx of this very server (cargo pgrx init) shares with us what they build by hand: what
# is built with PGRX_PG_CONFIG_PATH is built again without.
pgrx_home_has_server() {
    local config=${PGRX_HOME:-$HOME/.pgrx}/config.toml
    [ -z "${PGRX_PG_CONFIG_PATH:-}" ] && [ -f "$config" ] && grep -qxF "pg$PG_MAJOR = \"$PG_CONFIG\"" "$config"
}

# Cargo's arguments for this PostgreSQL.
pg_features() { printf '%s\n' --no-default-features --features "pg$PG_MAJOR"; }

can_write_server_dirs() {
    is_root || { [ -w "$("$PG_CONFIG" --pkglibdir)" ] && [ -w "$("$PG_CONFIG" --sharedir)/extension" ]; }
}
