#!/usr/bin/env bash
# make soak MINUTES=30: all features at once, while backends, workers and the server die at random; see tests/cluster/tests/soak.rs.
set -euo pipefail
# shellcheck source=scripts/lib/cluster.sh
source "$(dirname "$0")/lib/cluster.sh"

minutes=${MINUTES:-30}
[[ $minutes =~ ^[1-9][0-9]*$ ]] || die "MINUTES is '$minutes'; it must be a number from 1"
bash "$root/scripts/setup.sh" cluster
use_cargo
use_postgres
install_extension
say "$minutes minutes; each round is told when it begins. COUNTER_EXT_TEST_SEED=… repeats the random choices of a run"
cd "$root"
COUNTER_EXT_PG_CONFIG=$PG_CONFIG COUNTER_EXT_SOAK_SECONDS=$((minutes * 60)) \
    cargo test --locked -p counter_ext_cluster_tests --test soak -- --nocapture
