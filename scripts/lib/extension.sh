#!/usr/bin/env bash
# shellcheck disable=SC2154 # common.sh sets root and extension
# Building the extension and putting it into a server, as PGXS would: what is
# copied is the library that cargo makes and files of this repository. So nobody
# who only installs needs cargo-pgrx. Sourced by postgres.sh, never run.

# The version that CREATE EXTENSION makes.
extension_version() { sed -n "s/^default_version = '\(.*\)'$/\1/p" "$root/$extension.control"; }

# The SQL of that version, frozen: `make sql` writes it.
frozen_sql() { printf '%s\n' "$root/sql/$extension--$(extension_version).sql"; }

# The release build, for the server of PG_CONFIG.
build_extension() {
    local features
    mapfile -t features < <(pg_features)
    (cd "$root" && cargo build --locked --release --lib --package "$extension" "${features[@]}")
}

built_library() {
    local built=${CARGO_TARGET_DIR:-$root/target}/release/lib$extension
    if [ -f "$built.dylib" ]; then printf '%s\n' "$built.dylib"; else printf '%s\n' "$built.so"; fi
}

# What the server calls its libraries: .so nearly everywhere.
library_suffix() { sed -n 's/^DLSUFFIX *= *//p' "$(dirname "$("$PG_CONFIG" --pgxs)")/../Makefile.global"; }

installed_library() { printf '%s\n' "$("$PG_CONFIG" --pkglibdir)/$extension$(library_suffix)"; }

extension_dir() { printf '%s\n' "$("$PG_CONFIG" --sharedir)/extension"; }

# The SQL of versions that were released before: nothing but a test of updates makes databases of it.
released_sql() {
    local file
    for file in "$root/sql/$extension"--*.sql; do
        case ${file##*/} in
        *--*--*) ;;
        *) if [ "$file" != "$(frozen_sql)" ]; then printf '%s\n' "$file"; fi ;;
        esac
    done
}

# What is said by hand of how an older version becomes the present one. When that is
# released its file goes, and the script that was made of it stays as it is.
upgrades_by_hand() {
    local file
    for file in "$root"/sql/upgrade_from_*.sql; do
        if [ -f "$file" ]; then printf '%s\n' "$file"; fi
    done
}

# The script of the update that FILE says by hand.
upgrade_sql_of() {
    local version=${1##*/upgrade_from_}
    printf '%s\n' "$root/sql/$extension--${version%.sql}--$(extension_version).sql"
}

# Prints that script, as it follows from the frozen SQL of both versions.
made_upgrade_sql() {
    local version=${1##*/upgrade_from_}
    version=${version%.sql}
    printf '%s\n\n' "-- $extension $version to $(extension_version), made by \`make sql\`: edit sql/${1##*/}, not this."
    LC_ALL=C awk -v old="$root/sql/$extension--$version.sql" -v new="$(frozen_sql)" -v hand="$1" -f "$root/scripts/lib/upgrade_sql.awk"
}

# What the present version is made from, and how older ones become it. The SQL of
# an older version goes nowhere: its functions would only say that they are to be updated.
extension_files() { printf '%s\n' "$root/$extension.control" "$(frozen_sql)" "$root/sql/$extension"--*--*.sql; }

# put FILE MODE DESTINATION: at once and as a file of its own. A running server may
# have what was there mapped: written over in place, it would crash.
put() {
    as_server_owner install -m "$2" "$1" "$3.new"
    as_server_owner mv -f "$3.new" "$3"
}

# Whoever may write the server's own directories.
as_server_owner() {
    if can_write_server_dirs; then "$@"; else as_root "$@"; fi
}

copy_extension() {
    local directory file
    directory=$(extension_dir)
    put "$(built_library)" 755 "$(installed_library)"
    while read -r file; do
        if [ -f "$file" ]; then put "$file" 644 "$directory/${file##*/}"; fi
    done < <(extension_files)
}

# Into the server's own directories.
install_extension() {
    build_extension
    refuse_stale_sql
    copy_extension
}

# The servers that `make install` has put it into, a pg_config a line: `make uninstall` takes it out there and nowhere else.
install_record() { printf '%s\n' "${CARGO_TARGET_DIR:-$root/target}/installed"; }

note_installation() {
    if ! grep -qsxF "$PG_CONFIG" "$(install_record)"; then printf '%s\n' "$PG_CONFIG" >>"$(install_record)"; fi
}

forget_installation() {
    local others
    [ -f "$(install_record)" ] || return 0
    others=$(grep -vxF "$PG_CONFIG" "$(install_record)" || true)
    printf '%s' "${others:+$others$'\n'}" >"$(install_record)"
}

# For the tests of updates.
install_released_sql() {
    local file
    while read -r file; do put "$file" 644 "$(extension_dir)/${file##*/}"; done < <(released_sql)
}

cargo_pgrx_is_here() { [ "$(cargo pgrx --version 2>/dev/null)" = "cargo-pgrx $(cargo_toml_value pgrx)" ]; }

# Prints the SQL that pgrx makes of the library that was built last.
made_sql() {
    local made
    made=$(cd "$root" && cargo pgrx schema "pg$PG_MAJOR" --release --skip-build 2>/dev/null) ||
        die "cargo pgrx schema found no description of the SQL in $(built_library)"
    printf '%s\n' "-- $extension $(extension_version), made by \`make sql\`: edit src/ and sql/*.sql, not this."
    (cd "$root" && LC_ALL=C awk -f scripts/lib/order_sql.awk <<<"$made" | cat -s)
}

# Whoever changes what the library has in SQL is told so before an hour of tests is.
# Only who has cargo-pgrx can have changed it and be asked to renew the file.
refuse_stale_sql() {
    if cargo_pgrx_is_here; then check_frozen_sql; fi
}

check_frozen_sql() {
    local difference hand
    while read -r hand; do
        made_upgrade_sql "$hand" | cmp -s - "$(upgrade_sql_of "$hand")" ||
            die "sql/$(basename "$(upgrade_sql_of "$hand")") is not what follows from sql/${hand##*/} and sql/$(basename "$(frozen_sql)"): run \`make sql\`"
    done < <(upgrades_by_hand)
    if difference=$(made_sql | diff -u --label "sql/$(basename "$(frozen_sql)")" --label "what the library says" \
        "$(frozen_sql)" -); then
        return
    fi
    say "$difference" | head -n 60
    die "the SQL surface has changed: \`make sql\` renews sql/$(basename "$(frozen_sql)"); look at it and commit it"
}
