#!/usr/bin/env bash
# shellcheck disable=SC2154 # bench/run and what it sources before set the rest
# What the figures were measured on. Sourced, never run.

machine_cpu() { sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed -n 1p; }

machine_memory() { awk '/^MemTotal:/ { printf "%.1f GiB\n", $2 / 1048576 }' /proc/meminfo; }

# A file system in memory makes every flush free, and the durable figures worthless.
cluster_filesystem() { df --output=fstype "$cluster_dir" | sed -n '$p'; }

# The commit, and whether what was built differs from it.
source_commit() {
    local commit
    commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null) || {
        echo "unknown"
        return
    }
    if [ -n "$(git -C "$root" status --porcelain -- src sql Cargo.toml Cargo.lock counter_ext.control)" ]; then
        commit+=", with changes not committed"
    fi
    if ! installs; then commit+=", but measured is what was installed before"; fi
    printf '%s\n' "$commit"
}

describe_machine() {
    cat <<EOF
| | |
| --- | --- |
| date | $(date -u '+%Y-%m-%d %H:%M UTC') |
| commit | $(source_commit) |
| processor | $(nproc) cores, $(machine_cpu) |
| memory | $(machine_memory) |
| load average before the first run | $load_before |
| kernel | $(uname -sr) |
| file system of the cluster | $(cluster_filesystem) |
| PostgreSQL | $(cluster_psql -c 'SHOW server_version') |
| rustc | $(rustc --version | cut -d ' ' -f 2) |
EOF
}
