#!/usr/bin/env bash
# A Debian package of the build for PG_CONFIG's server, and a clean system to try it
# on. Sourced, never run.

# shellcheck source=scripts/lib/postgres.sh
source "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"

deb_name() { printf 'postgresql-%s-%s\n' "$PG_MAJOR" "${extension//_/-}"; }

# Raised when the same version is packaged anew.
deb_revision=1

deb_file() {
    printf '%s/deb/%s_%s-%s_%s.deb\n' "${CARGO_TARGET_DIR:-$root/target}" "$(deb_name)" \
        "$(extension_version)" "$deb_revision" "$(dpkg --print-architecture)"
}

# The newest glibc that the library asks for.
needed_libc() { objdump -T "$1" | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -V | tail -n 1; }

# Prints the package's path.
build_deb() {
    local deb tree
    command -v dpkg-deb >/dev/null || die "dpkg-deb is missing: this is for Debian and its kin"
    deb=$(deb_file)
    tree=${deb%.deb}
    rm -rf "$tree"
    mkdir -p "$tree"
    (umask 022 && deb_tree "$tree")
    dpkg-deb --root-owner-group --build "$tree" "$deb" >/dev/null
    rm -rf "$tree"
    printf '%s\n' "$deb"
}

# deb_tree DIRECTORY: what dpkg-deb packs.
deb_tree() {
    local library=$1/usr/lib/postgresql/$PG_MAJOR/lib/$extension.so
    local share=$1/usr/share/postgresql/$PG_MAJOR/extension doc file
    doc=$1/usr/share/doc/$(deb_name)
    chmod 755 "$1"
    mkdir -p "$1/DEBIAN" "${library%/*}" "$share" "$doc"
    install -m 644 "$(built_library)" "$library"
    strip --strip-unneeded "$library"
    while read -r file; do install -m 644 "$file" "$share"; done < <(extension_files)
    install -m 644 "$root/LICENSE" "$doc/copyright"
    gzip -9n <"$root/CHANGELOG.md" >"$doc/changelog.gz"
    install -m 644 "$root/README.md" "$doc"
    deb_control "$library" "$(du -sk "$1/usr" | cut -f 1)" >"$1/DEBIAN/control"
    (cd "$1" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum >DEBIAN/md5sums)
}

# deb_control LIBRARY SIZE
deb_control() {
    cat <<CONTROL
Package: $(deb_name)
Version: $(extension_version)-$deb_revision
Architecture: $(dpkg --print-architecture)
Maintainer: The $extension contributors <nobody@localhost>
Installed-Size: $2
Depends: postgresql-$PG_MAJOR, libc6 (>= $(needed_libc "$1")), libgcc-s1
Section: database
Priority: optional
Description: $(cargo_toml_value description)
 Counters, likes, unique visitors, limits, series, leaderboards and counter
 caches that any number of clients change at once: an increment never waits
 for another one, belongs to its transaction, and is read from memory.
 .
 After installation: shared_preload_libraries = '$extension', a restart, and
 CREATE EXTENSION $extension in each database. After an upgrade: a restart,
 and ALTER EXTENSION $extension UPDATE in each database.
CONTROL
}

# A clean system of this one's kind with PostgreSQL and nothing else, in the folder `clean_system`. Fails with a
# line that says why where it cannot be had.
clean_system=

make_clean_system() {
    local mirror codename
    if ! is_root; then say "only root can make a clean system"; return 1; fi
    command -v debootstrap >/dev/null || { say "debootstrap is not installed"; return 1; }
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # shellcheck disable=SC2016 # apt-get's own variable
    mirror=$(apt-get indextargets --format '$(SITE)' "Codename: $codename" 'Component: main' 'Created-By: Packages' | head -n 1)
    [ -n "$mirror" ] || { say "apt knows no mirror of $codename"; return 1; }
    at_exit drop_clean_system
    clean_system=$(mktemp -d "/tmp/$extension-clean.XXXXXX")
    chmod 755 "$clean_system"
    if ! timeout 400 debootstrap --variant=minbase --include="postgresql-$PG_MAJOR" "$codename" "$clean_system" "$mirror" \
        >"$clean_system.log" 2>&1; then
        tail -n 5 "$clean_system.log" >&2
        say "debootstrap could not make $codename with postgresql-$PG_MAJOR"
        return 1
    fi
}

in_clean_system() { chroot "$clean_system" env LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

drop_clean_system() {
    [ -n "$clean_system" ] || return 0
    in_clean_system pg_ctlcluster -m immediate "$PG_MAJOR" main stop >/dev/null 2>&1
    rm -rf --one-file-system "$clean_system" "$clean_system.log"
}

# The first block of SQL in README.
first_example() { awk '/^```sql$/ { inside = 1; next } inside && /^```$/ { exit } inside' "$root/README.md"; }
