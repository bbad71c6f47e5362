#!/usr/bin/env bash
# Which PostgreSQL we build for and install into. Sourced, never run.

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

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

# Prints the pg_config to use: PG_CONFIG if set, else what is installed with headers.
find_pg_config() {
    local major candidate
    if [ -n "${PG_CONFIG:-}" ]; then
        command -v "$PG_CONFIG" >/dev/null || return 1
        server_pg_config "$PG_CONFIG"
        return
    fi
    for major in $pg_majors; do
        candidate=/usr/lib/postgresql/$major/bin/pg_config
        if [ -x "$candidate" ] && pg_headers_of "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    command -v pg_config >/dev/null || return 1
    candidate=$(server_pg_config pg_config)
    case " $pg_majors " in *" $(pg_major_of "$candidate") "*) ;; *) return 1 ;; esac
    pg_headers_of "$candidate" || return 1
    printf '%s\n' "$candidate"
}

# Sets and exports PG_CONFIG, PG_MAJOR, PG_BIN and, where needed, PGRX_HOME.
use_postgres() {
    PG_CONFIG=$(find_pg_config) ||
        die "no PostgreSQL with server headers found; run scripts/setup.sh, or give PG_CONFIG=…/pg_config"
    PG_MAJOR=$(pg_major_of "$PG_CONFIG")
    PG_BIN=$("$PG_CONFIG" --bindir)
    case " $pg_majors " in
    *" $PG_MAJOR "*) ;;
    *) die "$PG_CONFIG is PostgreSQL $PG_MAJOR; $extension is built for 15 to 18" ;;
    esac
    choose_pgrx_home
    export PG_CONFIG PG_MAJOR PG_BIN
}

pgrx_default_home() { printf '%s\n' "${PGRX_HOME:-$HOME/.pgrx}"; }

# What the pgrx home $1 has for this PostgreSQL.
pgrx_configured() {
    if [ ! -f "$1/config.toml" ]; then return; fi
    sed -n "s/^pg$PG_MAJOR *= *\"\(.*\)\"/\1/p" "$1/config.toml"
}

# `cargo pgrx init` rewrites its configuration whole. A user's own that names
# other servers is left alone; we keep ours under target/ then.
choose_pgrx_home() {
    local home
    home=$(pgrx_default_home)
    if [ -f "$home/config.toml" ] && [ "$(pgrx_configured "$home")" != "$PG_CONFIG" ]; then
        export PGRX_HOME=$root/target/pgrx-home/pg$PG_MAJOR
    fi
}

pgrx_is_initialised() { [ "$(pgrx_configured "$(pgrx_default_home)")" = "$PG_CONFIG" ]; }

# Cargo's arguments for this PostgreSQL.
pg_features() { printf '%s\n' --no-default-features --features "pg$PG_MAJOR"; }

can_write_server_dirs() {
    is_root || { [ -w "$("$PG_CONFIG" --pkglibdir)" ] && [ -w "$("$PG_CONFIG" --sharedir)/extension" ]; }
}

# cargo-pgrx overwrites the library in place when it copies by sudo; a running
# server that has it mapped would crash. Unlinked, that server keeps its own copy.
unlink_installed_library() {
    local library
    library=$("$PG_CONFIG" --pkglibdir)/$extension.so
    if [ -e "$library" ]; then as_root rm -f "$library"; fi
}

# The release build, into the server's own directories.
install_extension() {
    local sudo=()
    if ! can_write_server_dirs; then
        sudo=(--sudo)
        unlink_installed_library
    fi
    (cd "$root" && cargo pgrx install --release --pg-config "$PG_CONFIG" ${sudo[@]+"${sudo[@]}"})
}
