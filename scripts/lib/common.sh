#!/usr/bin/env bash
# What every script shares: where the repository is, how to speak, how to be
# another user, and what must happen when the shell ends. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck disable=SC2034 # the files that source this use it
extension=counter_ext

say() { printf '%s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# Where this user needs root: for packages and for the server's own directories.
as_root() {
    if is_root; then "$@"; else sudo "$@"; fi
}

# PostgreSQL refuses to run as root, so root's clusters belong to `postgres`,
# anybody else's to themselves. From /, because that user may not be able to
# enter the directory we stand in.
as_cluster_owner() {
    if is_root; then
        (cd / && exec runuser -u postgres -- "$@")
    else
        (cd / && exec "$@")
    fi
}

as_postgres() {
    if is_root; then as_cluster_owner "$@"; else (cd / && exec sudo -u postgres "$@"); fi
}

# at_exit FUNCTION: run it when this shell ends, for whatever reason; the last
# one registered runs first. A subshell starts with none: those of its parent
# are not its to run.
at_exit() {
    if [ "${exit_shell:-}" != "$BASHPID" ]; then
        exit_shell=$BASHPID
        exit_actions=()
        trap run_exit_actions EXIT
        trap 'exit 129' HUP
        trap 'exit 130' INT
        trap 'exit 143' TERM
    fi
    exit_actions=("$1" ${exit_actions[@]+"${exit_actions[@]}"})
}

run_exit_actions() {
    local status=$? action
    trap - EXIT
    # A second Ctrl-C must not leave half of a cluster behind.
    trap '' HUP INT TERM
    set +e
    for action in "${exit_actions[@]}"; do "$action"; done
    exit "$status"
}

# The Cargo.toml value of NAME in the first line that sets it, without quotes and '='.
cargo_toml_value() {
    sed -n "/^$1 *= *\"/{ s/^[^\"]*\"=\{0,1\}\([^\"]*\)\".*/\1/p; q; }" "$root/Cargo.toml"
}

# rustup puts cargo where a fresh shell may not look yet.
use_cargo() {
    if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    if command -v cargo >/dev/null; then return; fi
    if [ -n "${SUDO_USER:-}" ]; then
        die "there is no cargo under sudo; run this as $SUDO_USER: it calls sudo itself, only to copy files"
    fi
    die "Rust is missing: install rustup, then the toolchain $(cargo_toml_value rust-version) or newer"
}
