#!/usr/bin/env bash
# make deb: a Debian package for one major version of PostgreSQL, postgresql-15-counter-ext,
# in target/deb. PG=16 or PG_CONFIG=… chooses the server that it is built against; it is
# installed where Debian's and PGDG's packages of that version have their own files.
set -euo pipefail
# shellcheck source=scripts/lib/deb.sh
source "$(dirname "$0")/lib/deb.sh"

bash "$root/scripts/setup.sh" build
use_cargo
use_postgres
build_extension
refuse_stale_sql
say "written: $(build_deb)"
