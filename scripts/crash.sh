#!/usr/bin/env bash
# make crash ROUNDS=500: rounds of load with a kill -9 in the middle of it, in both modes and mixed; see
# tests/cluster/tests/crash_rounds.rs. The table at its end is what docs/durability.md reports.
set -euo pipefail
# shellcheck source=scripts/lib/cluster.sh
source "$(dirname "$0")/lib/cluster.sh"

rounds=${ROUNDS:-500}
[[ $rounds =~ ^[1-9][0-9]*$ ]] || die "ROUNDS is '$rounds'; it must be a number from 1"
bash "$root/scripts/setup.sh" cluster
use_cargo
use_postgres
install_extension
say "$rounds rounds, about $((rounds * 4 / 60 + 1)) minutes; each is told when it has ended"
cd "$root"
COUNTER_EXT_PG_CONFIG=$PG_CONFIG COUNTER_EXT_CRASH_ROUNDS=$rounds \
    cargo test --locked -p counter_ext_cluster_tests --test crash_rounds -- --nocapture
