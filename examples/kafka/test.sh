#!/usr/bin/env bash
# Runs the consumer's tests: Kafka is librdkafka's mock cluster, the database a throwaway server that has the extension.
set -euo pipefail
# shellcheck source=scripts/lib/example.sh
source "$(dirname "$0")/../../scripts/lib/example.sh"

pkg-config --atleast-version=1.9.2 rdkafka 2>/dev/null ||
    skip "pkg-config finds no librdkafka 1.9.2 or later; Debian has librdkafka-dev and pkg-config"
use_cargo
start_example_server
cluster_psql -c "CREATE EXTENSION $extension"
export DATABASE_URL="host=$PGHOST port=$PGPORT user=$PGUSER dbname=$PGDATABASE"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}/examples/kafka"
cd "$root/examples/kafka"
cargo fmt --check
cargo test --locked
