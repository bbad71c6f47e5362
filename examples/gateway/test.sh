#!/usr/bin/env bash
# The gateway's own checks: format, lints, its tests against a throwaway server, and its page in a browser where there is one.
# PG_CONFIG=… is the server, which has the extension installed; without it, and without chromium or playwright-core, tests say
# that they are skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

target=${CARGO_TARGET_DIR:-$PWD/../../target}
export CARGO_TARGET_DIR=$target/examples/gateway
export GATEWAY_PAGE_TEST=${GATEWAY_PAGE_TEST:-$target/page-test}
if [ -n "${PG_CONFIG:-}" ]; then export COUNTER_EXT_PG_CONFIG=$PG_CONFIG; fi

# Not --locked: what tests/cluster depends on is in this lock file too, and may have changed.
cargo fmt --check
cargo clippy --all-targets --all-features -- -D warnings
cargo test --no-fail-fast
