#!/usr/bin/env bash
# Installs what is missing, and nothing else: safe to run again, quick when all is
# there. `setup.sh build` is for those who install or try the extension; stages of
# `make test` by name (`setup.sh regress pgtest`) add what each needs; without an
# argument all is installed. PG_CONFIG=… or PG=16 chooses a server.
set -euo pipefail
# shellcheck source=scripts/lib/postgres.sh
source "$(dirname "$0")/lib/postgres.sh"

stages=" $* "

# needed_by STAGE...: whether one of these is asked for.
needed_by() {
    local stage
    if [ "$stages" = "  " ]; then return; fi
    for stage in "$@"; do
        case $stages in *" $stage "*) return ;; esac
    done
    return 1
}

step() { printf '%s: ' "$1"; }

# cargo-pgrx needs pkg-config and OpenSSL's headers, its tests call sudo even as root; libFuzzer is C++.
build_packages="clang gcc libclang-dev make util-linux"
if needed_by pgtest sql; then build_packages+=" libssl-dev pkg-config sudo"; fi
if needed_by fuzz; then build_packages+=" g++"; fi

package_is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_build_packages() {
    local package
    for package in $build_packages; do
        if ! package_is_installed "$package"; then printf '%s ' "$package"; fi
    done
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" </dev/null; }

# A third party's list that cannot be had is no reason to stop.
refresh_package_lists() {
    if [ -n "${lists_are_fresh:-}" ]; then return; fi
    apt_get update || say "some package lists could not be refreshed; trying with what is there"
    lists_are_fresh=yes
}

# grep without -q: one that leaves at the first match kills apt-cache by SIGPIPE,
# and pipefail makes that "not available".
package_is_available() { apt-cache policy "$1" 2>/dev/null | grep 'Candidate: [0-9]' >/dev/null; }

check_rust() {
    local wanted have
    step "Rust"
    use_cargo
    wanted=$(cargo_toml_value rust-version)
    have=$(rustc --version | cut -d ' ' -f 2)
    if ! printf '%s\n' "$wanted" "$have" | sort -V -C; then
        die "rustc $have is too old, $wanted or newer is needed"
    fi
    if ! needed_by fmt clippy examples || { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
        say "rustc $have"
    elif command -v rustup >/dev/null; then
        say "rustc $have, adding rustfmt and clippy"
        rustup component add rustfmt clippy
    else
        say "rustc $have; rustfmt or clippy is missing, \`make test\` needs both"
    fi
}

install_build_packages() {
    local missing
    step "compilers and tools"
    if ! command -v apt-get >/dev/null; then
        say "not Debian or Ubuntu: taking for granted that these are there: $build_packages"
        return
    fi
    missing=$(missing_build_packages)
    if [ -z "$missing" ]; then
        say "there"
        return
    fi
    say "installing $missing"
    refresh_package_lists
    # shellcheck disable=SC2086 # a list of names
    apt_get install --no-install-recommends $missing
}

# A server that is there only lacks its headers; else the first there is.
choose_pg_major() {
    local major
    for major in ${PG:-$pg_majors}; do
        if [ -x "/usr/lib/postgresql/$major/bin/postgres" ] && package_is_available "postgresql-server-dev-$major"; then
            printf '%s\n' "$major"
            return
        fi
    done
    for major in ${PG:-$pg_majors}; do
        if package_is_available "postgresql-$major" && package_is_available "postgresql-server-dev-$major"; then
            printf '%s\n' "$major"
            return
        fi
    done
    return 1
}

# Debian makes and starts a cluster with the first server package. We want the
# binaries only, so this one installation is told not to; the user's own
# settings stay as they are.
no_main_cluster=/etc/postgresql-common/createcluster.d/$extension-setup.conf

forbid_main_cluster() {
    at_exit allow_main_cluster
    apt_get install --no-install-recommends postgresql-common
    as_root mkdir -p "${no_main_cluster%/*}"
    echo "create_main_cluster = false" | as_root tee "$no_main_cluster" >/dev/null
}

allow_main_cluster() {
    if [ -e "$no_main_cluster" ]; then as_root rm -f "$no_main_cluster"; fi
}

install_postgres() {
    local major
    step "PostgreSQL and its server headers"
    if find_pg_config >/dev/null; then
        use_postgres
        pg_headers_of "$PG_CONFIG" || die "$PG_CONFIG has no server headers ($("$PG_CONFIG" --includedir-server)/postgres.h)"
        say "$("$PG_CONFIG" --version) ($PG_CONFIG)"
        return
    fi
    if [ -n "${PG_CONFIG:-}" ]; then die "PG_CONFIG=$PG_CONFIG cannot be run"; fi
    command -v apt-get >/dev/null || die "none found, and no apt-get to install it: give PG_CONFIG=…/pg_config"
    say "none with headers yet"
    refresh_package_lists
    major=$(choose_pg_major) ||
        die "this system has no package of PostgreSQL ${PG:-15 to 18}: give PG_CONFIG=…/pg_config of one from 15 to 18, or run scripts/servers.sh"
    say "      installing postgresql-$major and postgresql-server-dev-$major, without a system cluster"
    forbid_main_cluster
    apt_get install --no-install-recommends "postgresql-$major" "postgresql-server-dev-$major"
    allow_main_cluster
    use_postgres
}

# A server that was built by hand comes without the system user that root's throwaway clusters need.
ensure_postgres_user() {
    if is_root && ! id postgres >/dev/null 2>&1; then
        say "      adding the system user postgres: root's throwaway clusters run as it"
        useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin postgres
    fi
    as_cluster_owner test -x "$PG_BIN/postgres" ||
        die "the user postgres cannot run $PG_BIN/postgres; move the server where it can"
}

# A cluster test makes the same sketches with postgresql-hll. Nothing else needs it, so
# its absence is no reason to stop here: the test then says what is missing.
install_hll() {
    local package=postgresql-$PG_MAJOR-hll
    step "postgresql-hll, to compare sketches with"
    if [ -f "$("$PG_CONFIG" --sharedir)/extension/hll.control" ]; then
        say "there"
        return
    fi
    if [ "$PG_BIN" != "/usr/lib/postgresql/$PG_MAJOR/bin" ] || ! command -v apt-get >/dev/null; then
        say "no package has it for this server; the test hll_golden is skipped without it"
        return
    fi
    say "installing $package"
    refresh_package_lists
    if ! package_is_available "$package"; then
        say "      this system has no package $package; the test hll_golden fails without it"
    elif ! apt_get install --no-install-recommends "$package"; then
        say "      $package could not be installed; the test hll_golden fails without it"
    fi
}

# Cluster tests and examples run these against the extension. As above: a test without its tool says so.
framework_packages="python3-alembic python3-django python3-psycopg2 python3-sqlalchemy ruby-activerecord ruby-minitest ruby-pg"

install_frameworks() {
    step "Alembic, Django, SQLAlchemy and ActiveRecord, to test with"
    # shellcheck disable=SC2086 # a list of names
    install_for_tests $framework_packages
}

# Without it the consumer of Kafka is left out: to build librdkafka from its source takes minutes.
install_librdkafka() {
    step "librdkafka, likewise"
    install_for_tests librdkafka-dev pkg-config
}

install_for_tests() {
    local package missing=""
    if ! command -v apt-get >/dev/null; then
        say "not Debian or Ubuntu: tests of those that are not there are skipped"
        return
    fi
    for package in "$@"; do
        if ! package_is_installed "$package"; then missing+="$package "; fi
    done
    if [ -z "$missing" ]; then
        say "there"
        return
    fi
    say "installing $missing"
    refresh_package_lists
    # shellcheck disable=SC2086 # a list of names
    apt_get install --no-install-recommends $missing ||
        say "      could not be installed; the tests that need them are skipped"
}

# A cluster test runs ops/ with these. Debian starts both as services; whoever installs them for a test wants the programs alone.
monitoring_packages="prometheus prometheus-postgres-exporter"

install_monitoring_tools() {
    local package missing=""
    step "Prometheus and its exporter, to test ops/ with"
    if ! command -v apt-get >/dev/null; then
        say "not Debian or Ubuntu: tests of what is not there are skipped"
        return
    fi
    for package in $monitoring_packages; do
        if ! package_is_installed "$package"; then missing+="$package "; fi
    done
    if [ -z "$missing" ]; then
        say "there"
        return
    fi
    say "installing $missing"
    refresh_package_lists
    at_exit allow_services
    forbid_services
    # shellcheck disable=SC2086 # a list of names
    if apt_get install --no-install-recommends $missing; then
        # Nor at the next boot. Without systemd there is nothing to tell.
        # shellcheck disable=SC2086 # likewise
        as_root systemctl disable $missing >/dev/null 2>&1 || true
    else
        say "      could not be installed; the tests that need them are skipped"
    fi
    allow_services
}

# invoke-rc.d asks this before it starts anything. One that is there already is somebody's own, and stays.
service_policy=/usr/sbin/policy-rc.d

forbid_services() {
    if [ -e "$service_policy" ]; then return; fi
    printf '#!/bin/sh\n# %s-setup\nexit 101\n' "$extension" | as_root tee "$service_policy" >/dev/null
    as_root chmod 755 "$service_policy"
}

allow_services() {
    if grep -qs "^# $extension-setup$" "$service_policy"; then as_root rm -f "$service_policy"; fi
}

# A cluster test counts through it; its service is not wanted either.
install_pgbouncer() {
    step "PgBouncer, to count through"
    if command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; then
        say "there"
        return
    fi
    if ! command -v apt-get >/dev/null; then
        say "not Debian or Ubuntu: the test pooler is skipped"
        return
    fi
    say "installing pgbouncer"
    refresh_package_lists
    at_exit allow_services
    forbid_services
    if apt_get install --no-install-recommends pgbouncer; then
        as_root systemctl disable pgbouncer >/dev/null 2>&1 || true
    else
        say "      could not be installed; the test pooler is skipped"
    fi
    allow_services
}

# npm_modules NAME FILES TEST: what a package.json names, by its lock file, below the target directory. Nothing of it runs while
# it is installed. Debian's npm is 360 packages: too many for somebody's own machine, so CI alone asks for it.
npm_modules() {
    local name=$1 files=$2 test=$3 directory=${CARGO_TARGET_DIR:-$root/target}/$1
    if cmp -s "$files/package-lock.json" "$directory/package-lock.json" && [ -e "$directory/node_modules/.package-lock.json" ]; then
        say "there"
        return
    fi
    if ! command -v npm >/dev/null && [ -n "${COUNTER_EXT_SETUP_NPM:-}" ] && command -v apt-get >/dev/null; then
        say "installing nodejs and npm, about a minute"
        refresh_package_lists
        apt_get install --no-install-recommends nodejs npm >/dev/null || true
        printf '      '
    fi
    if ! command -v npm >/dev/null; then
        say "there is no npm; the test $test is skipped"
        return
    fi
    say "npm ci of $name"
    mkdir -p "$directory"
    cp "$files/package.json" "$files/package-lock.json" "$directory"
    if ! (cd "$directory" && timeout 300 npm ci --ignore-scripts --no-audit --no-fund --fetch-retries 1 </dev/null); then
        say "      could not be installed; its test is skipped"
        rm -rf "$directory"
    fi
}

install_drizzle_kit() {
    step "drizzle-kit, likewise"
    npm_modules drizzle-kit "$root/tests/cluster/migrations/drizzle" drizzle_kit_leaves_the_views_alone
}

install_node_postgres() {
    step "node-postgres, likewise"
    npm_modules node-postgres "$root/examples/node" "of examples/node"
}

# The gateway's page is tested in a browser. That is 100 MB: CI alone asks for it, and whoever has one has the page tested as well.
install_browser() {
    step "chromium, to test the gateway's page in"
    if command -v chromium >/dev/null; then
        say "there"
    elif [ -z "${COUNTER_EXT_SETUP_BROWSER:-}" ] || ! command -v apt-get >/dev/null; then
        say "there is none; the page's test is skipped"
        return
    else
        say "installing it, about a minute"
        refresh_package_lists
        if ! apt_get install --no-install-recommends chromium fonts-dejavu-core >/dev/null; then
            say "      could not be installed; the page's test is skipped"
            return
        fi
    fi
    step "playwright-core, to look at it with"
    npm_modules page-test "$root/examples/gateway/page-test" the_page_ticks_and_can_be_used_by_everybody
}

install_cargo_pgrx() {
    local wanted
    wanted=$(cargo_toml_value pgrx)
    step "cargo-pgrx $wanted"
    [ -n "$wanted" ] || die "Cargo.toml pins no pgrx"
    if [ "$(cargo pgrx --version 2>/dev/null)" = "cargo-pgrx $wanted" ]; then
        say "there"
        return
    fi
    say "building it, about 4 minutes"
    cargo install --locked cargo-pgrx --version "=$wanted" </dev/null
}

check_rust
install_build_packages
install_postgres
ensure_postgres_user
if needed_by cluster; then install_hll; fi
if needed_by cluster examples; then install_frameworks; fi
if needed_by cluster; then
    install_monitoring_tools
    install_pgbouncer
    install_drizzle_kit
fi
if needed_by examples; then
    install_node_postgres
    install_librdkafka
    install_browser
fi
if needed_by pgtest sql; then install_cargo_pgrx; fi
