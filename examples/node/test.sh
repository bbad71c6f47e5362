#!/usr/bin/env bash
# Runs the example's tests on a throwaway server that has the extension.
set -euo pipefail
# shellcheck source=scripts/lib/example.sh
source "$(dirname "$0")/../../scripts/lib/example.sh"

# node itself looks beside the example, where `npm ci` puts pg; scripts/setup.sh puts it below the target directory, Debian into /usr/share.
export NODE_PATH=${CARGO_TARGET_DIR:-$root/target}/node-postgres/node_modules:/usr/share/nodejs
cd "$root/examples/node"
node=$(first_that_runs node -e 'require("node:test"); require("pg")') ||
    skip "no node here is 18 or later and has pg; Debian has nodejs and node-pg, or run \`npm ci\` in examples/node"
start_example_server
count_tests "$node" --test --test-reporter=tap
