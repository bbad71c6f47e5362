# Every target is a script in scripts/ that can be run and read by itself.
# PG_CONFIG=…/pg_config or PG=16 chooses the server; without them, the installed one.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export PG PG_CONFIG CLUSTER_JOBS STAGES MAJORS FUZZ_SECONDS FUZZ_RUNS MINUTES ROUNDS DEMO_SECONDS DEMO_CLIENTS
export GATEWAY_LISTEN GATEWAY_RATE GATEWAY_SECONDS

# Files of cluster tests that are about several servers. Those of Citus say aloud that they are skipped where it is not installed.
many_servers := nodes node_names citus citus_retries replication standby standby_journal failover pooler

.PHONY: help setup demo gateway gateway-bench test test-cluster matrix servers sql install uninstall deb installcheck bench soak crash clean

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing for all of these: PostgreSQL with headers, libclang, the pinned cargo-pgrx
	@bash scripts/setup.sh

demo: ## half a minute: a hot counter under 32 clients beside a plain UPDATE, live, and a kill -9 in the middle (DEMO_SECONDS=4 a lane)
	@bash scripts/demo.sh

gateway: ## examples/gateway on a throwaway server with simulated visitors: a page of live totals (GATEWAY_LISTEN=127.0.0.1:8080)
	@bash scripts/gateway.sh

gateway-bench: ## the gateway under load, beside the same gateway on plain rows and on Redis
	@bash scripts/gateway_bench.sh

test: ## everything (STAGES="fmt clippy doc house sketches memory sql deb pgtest regress isolation cluster examples fuzz", FUZZ_SECONDS=60 or FUZZ_RUNS=)
	@bash scripts/test.sh

test-cluster: ## of these, what is about several servers: nodes, Citus, standbys, failover, poolers
	@STAGES=cluster CLUSTER_FILES="$(many_servers)" bash scripts/test.sh

matrix: ## the tests that need a server, on PostgreSQL 15 to 18 as far as they are there (STAGES, as above)
	@bash scripts/matrix.sh

servers: ## PostgreSQL 16, 17 and 18 for `make matrix`, where this system has no packages of them
	@bash scripts/servers.sh

sql: ## renew sql/counter_ext--VERSION.sql, after a change of what SQL sees
	@bash scripts/sql.sh

install: ## release build into the server of PG_CONFIG
	@bash scripts/install.sh

uninstall: ## remove what `make install` has copied there; first DROP EXTENSION and the line in postgresql.conf, see docs/install.md
	@bash scripts/uninstall.sh

deb: ## a Debian package of the release build in target/deb (PG=16)
	@bash scripts/deb.sh

installcheck: ## SQL tests against the running server (PGHOST, PGPORT, PGUSER)
	@bash scripts/installcheck.sh

bench: ## what bench/RESULTS.md reports, measured again
	@bash bench/run

soak: ## all features at once while anything dies (MINUTES=30)
	@bash scripts/soak.sh

crash: ## rounds of load with a kill -9 in the middle, in both modes (ROUNDS=500)
	@bash scripts/crash.sh

clean: ## remove everything that was built
	cargo clean
