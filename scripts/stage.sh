#!/usr/bin/env bash
# One stage of `make test`, by name. scripts/test.sh runs them in order and counts.
set -euo pipefail
# shellcheck source=scripts/lib/cluster.sh
source "$(dirname "$0")/lib/cluster.sh"
# shellcheck source=scripts/lib/regress.sh
source "$root/scripts/lib/regress.sh"
# shellcheck source=scripts/lib/deb.sh
source "$root/scripts/lib/deb.sh"

stage_fmt() {
    cargo fmt --all --check
    cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
}

stage_clippy() {
    cargo clippy --locked --workspace --all-targets "${features[@]}" -- -D warnings
}

stage_doc() {
    RUSTDOCFLAGS="-D warnings" \
        cargo doc --locked --workspace --no-deps --document-private-items "${features[@]}"
}

stage_house() { cargo test --locked --no-fail-fast -p counter_ext_house; }

stage_sketches() { cargo test --locked --no-fail-fast -p counter_ext_sketches -p counter_ext_plot; }

stage_memory() { cargo test --locked --no-fail-fast -p counter_ext_memory_model; }

# What is frozen in sql/ is what the library says of itself.
stage_sql() {
    build_extension
    check_frozen_sql
    say "sql/$(basename "$(frozen_sql)") is what pgrx makes of the library"
}

# pgrx's own cluster. Its user has to be one that PostgreSQL runs as and, where
# the server's directories are not ours to write, sudo has to copy the library.
stage_pgtest() {
    local runas=()
    if is_root || ! can_write_server_dirs; then
        make_pgtest_dir
        unlink_installed_library
        runas=(--runas postgres --pgdata "$pgtest_dir")
    fi
    # pgrx takes the database user from USER, which a bare container lacks. What its workaround adds to the
    # flags of all crates build.rs says for ours alone, so that this and the other stages share what they build.
    USER=${USER:-$(id -un)} CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1 \
        cargo pgrx test "pg$PG_MAJOR" ${runas[@]+"${runas[@]}"}
}

make_pgtest_dir() {
    at_exit drop_pgtest_dir
    pgtest_dir=$(as_postgres mktemp -d "/tmp/$extension-pgtest.XXXXXX")
    # pgrx looks into it as the user it was started by.
    as_postgres chmod 755 "$pgtest_dir"
}

# It overwrites the library in place when it copies by sudo; a running server that has
# it mapped would crash. Unlinked, that server keeps its own copy.
unlink_installed_library() { as_server_owner rm -f "$(installed_library)"; }

# pgrx stops its server when its tests end, but not when they are interrupted.
drop_pgtest_dir() {
    local pid_file
    for pid_file in "$pgtest_dir"/*/postmaster.pid; do
        if [ -e "$pid_file" ]; then
            as_postgres "$PG_BIN/pg_ctl" stop -s -m immediate -D "${pid_file%/*}"
        fi
    done
    as_root rm -rf "$pgtest_dir"
}

# fsync off: these clusters live for a minute and never crash.
base_settings=(fsync=off max_prepared_transactions=10)

# The short schedules run beside the long one, which tells how far it is; they are told when it has ended.
stage_regress() {
    local failed=0
    install_extension
    at_exit end_beside
    beside=$(mktemp -d)
    # A process group of its own, so that all of it can be ended; a subshell a cluster: each is gone when its schedule ends.
    set -m
    (
        (regress_on schedule_no_preload) || failed=1
        (regress_on schedule_small_memory shared_preload_libraries=$extension counter_ext.max_sketches=32 counter_ext.max_counters=16) ||
            failed=1
        exit "$failed"
    ) >"$beside/log" 2>&1 &
    beside_group=$!
    set +m
    (regress_on schedule shared_preload_libraries=$extension) || failed=1
    wait "$beside_group" || failed=1
    beside_group=
    cat "$beside/log"
    [ "$failed" = 0 ] || die "a schedule failed"
}

end_beside() {
    if [ -n "${beside_group:-}" ]; then
        kill -TERM -- "-$beside_group" 2>/dev/null
        wait "$beside_group"
    fi
    rm -rf "${beside:-}"
}

stage_isolation() {
    install_extension
    cluster_start "${base_settings[@]}" shared_preload_libraries=$extension
    regress_with_log isolation/pg_isolation_regress tests/isolation schedule --load-extension=$extension
}

# regress_on SCHEDULE [SETTING=VALUE]...
regress_on() {
    local schedule=$1
    shift
    say "--- $schedule, server started with: ${*:-defaults}"
    cluster_start "${base_settings[@]}" "$@"
    regress_with_log regress/pg_regress tests/pg_regress "$schedule"
}

regress_with_log() {
    if run_pg_regress "$@"; then return; fi
    cluster_show_log
    return 1
}

# Files of cluster tests run beside each other, one a processor: they wait for disks and workers more than they compute.
# CLUSTER_JOBS=1 runs one after the other. The longest begins first. CLUSTER_FILES="nodes standby" runs these alone.
stage_cluster() {
    local names name
    check_jobs
    install_extension
    install_released_sql
    export COUNTER_EXT_PG_CONFIG=$PG_CONFIG
    cargo test --locked --lib -p counter_ext_cluster_tests
    cargo test --locked --no-run -p counter_ext_cluster_tests
    if [ -n "${CLUSTER_FILES:-}" ]; then
        read -ra names <<<"$CLUSTER_FILES"
    else
        mapfile -t names < <(cd tests/cluster/tests && printf '%s\n' soak.rs buffered_crash.rs *.rs | awk '!seen[$0]++' | sed 's/\.rs$//')
    fi
    for name in "${names[@]}"; do [ -e "tests/cluster/tests/$name.rs" ] || die "there is no file $name of cluster tests"; done
    export COUNTER_EXT_SOAK_SECONDS=${COUNTER_EXT_SOAK_SECONDS:-300}
    say "${#names[@]} files of cluster tests, $jobs at a time; each is told when it has ended"
    beside_each_other "${names[@]}" -- \
        cargo test --locked --no-fail-fast -p counter_ext_cluster_tests --test {} -- --test-threads=1
}

# Each example has its own test.sh, which skips aloud what its machine cannot run. One that fails keeps no other from running.
stage_examples() {
    check_jobs
    install_extension
    say "the tests of the examples, $jobs at a time; each is told when it has ended"
    beside_each_other examples/*/test.sh -- bash {}
}

check_jobs() {
    jobs=${CLUSTER_JOBS:-$(getconf _NPROCESSORS_ONLN)}
    [[ $jobs =~ ^[1-9][0-9]*$ ]] || die "CLUSTER_JOBS is '$jobs'; it must be a number from 1"
}

# beside_each_other NAME... -- COMMAND...: runs the command for each name, which stands in it as {}, so many at a time as `jobs` says.
beside_each_other() {
    local names=()
    while [ "$1" != -- ]; do
        names+=("$1")
        shift
    done
    shift
    at_exit drop_told_lock
    told_lock=$(mktemp)
    printf '%s\n' "${names[@]}" | xargs -P "$jobs" -I{} bash scripts/told.sh "$told_lock" {} "$@"
}

drop_told_lock() { rm -f "${told_lock:-}"; }

# The package holds what is installed; on a clean system, where one can be made, it makes README's first example work.
stage_deb() {
    local deb listed file told
    command -v dpkg-deb >/dev/null || { say "SKIPPED: there is no dpkg-deb on this system"; return; }
    build_extension
    deb=$(build_deb)
    dpkg-deb --info "$deb"
    listed=$(dpkg-deb --contents "$deb")
    while read -r file; do
        [[ $listed == *"/usr/share/postgresql/$PG_MAJOR/extension/${file##*/}"* ]] || die "${file##*/} is not in $deb"
    done < <(extension_files)
    [[ $listed == *"/usr/lib/postgresql/$PG_MAJOR/lib/$extension.so"* ]] || die "the library is not in $deb"
    if ! make_clean_system; then
        say "SKIPPED: the package is not tried on a clean system"
        return
    fi
    cp "$deb" "$clean_system/tmp/package.deb"
    in_clean_system dpkg --install /tmp/package.deb
    echo "shared_preload_libraries = '$extension'" >>"$clean_system/etc/postgresql/$PG_MAJOR/main/postgresql.conf"
    in_clean_system pg_ctlcluster "$PG_MAJOR" main start
    told=$(first_example | in_clean_system runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1)
    # What counter_incr returns is void, an empty line.
    [ "$(tail -n 1 <<<"$told")" = 1 ] || die "README's first example says: $told"
    say "README's first example works on a clean system with $(basename "$deb")"
    in_clean_system dpkg --purge "$(deb_name)"
}

cargo_fuzz_version=0.13.1

# FUZZ_SECONDS=… fuzzes longer or shorter, FUZZ_RUNS=… so many inputs. What was found interesting is kept below
# target/, so that each run goes on from the last; what crashes is kept in
# tests/fuzz/artifacts and tried first from then on. No sanitizer: it has nothing to
# find in code without `unsafe`, and without it stable Rust will do.
stage_fuzz() {
    local seconds=${FUZZ_SECONDS:-60} built=${CARGO_TARGET_DIR:-$root/target}/fuzz
    local crashes=tests/fuzz/artifacts/decode
    local limit=(-max_total_time="$seconds") told="$seconds s"
    [[ $seconds =~ ^[1-9][0-9]*$ ]] || die "FUZZ_SECONDS is '$seconds'; it must be a number of seconds from 1"
    if [ -n "${FUZZ_RUNS:-}" ]; then
        [[ $FUZZ_RUNS =~ ^[1-9][0-9]*$ ]] || die "FUZZ_RUNS is '$FUZZ_RUNS'; it must be a number of inputs from 1"
        limit=(-runs="$FUZZ_RUNS") told="$FUZZ_RUNS inputs"
    fi
    install_cargo_fuzz
    # cargo-fuzz has no --locked of its own.
    cargo fetch --locked --manifest-path tests/fuzz/Cargo.toml
    mkdir -p "$built/corpus" "$crashes"
    say "--- building the target and libFuzzer if need be, about half a minute; then fuzzing for $told"
    cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none --target-dir "$built" \
        decode "$built/corpus" "$crashes" tests/fuzz/seeds/decode -- \
        "${limit[@]}" -timeout=30 -max_len=4200 2>&1 | thin_out_fuzz_log
}

install_cargo_fuzz() {
    if [ "$(cargo fuzz --version 2>/dev/null)" = "cargo-fuzz $cargo_fuzz_version" ]; then return; fi
    say "--- building cargo-fuzz $cargo_fuzz_version, about a minute"
    cargo install --locked cargo-fuzz --version "=$cargo_fuzz_version" </dev/null
}

# libFuzzer says a line for each input that it keeps, thousands in all: one in twenty shows that it lives.
thin_out_fuzz_log() {
    awk '/^###### Recommended dictionary/, /^###### End of/ { next }
        /^#[0-9]+\t(NEW|REDUCE)/ && kept++ % 20 { next }
        { print; fflush() }'
}

main() {
    declare -F "stage_$1" >/dev/null || die "there is no stage '$1'"
    use_cargo
    use_postgres
    mapfile -t features < <(pg_features)
    cd "$root"
    "stage_$1"
}

main "${1:-}"
