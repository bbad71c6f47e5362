#!/usr/bin/env bash
# make install: the release build into the server of PG_CONFIG.
set -euo pipefail
# shellcheck source=scripts/lib/postgres.sh
source "$(dirname "$0")/lib/postgres.sh"

bash "$root/scripts/setup.sh" build
use_cargo
use_postgres
install_extension
note_installation
say "Installed. For the worker and reads from memory set shared_preload_libraries = '$extension' and restart;"
say "then, in each database: CREATE EXTENSION $extension; or, where an older version of it is: ALTER EXTENSION $extension UPDATE;"
