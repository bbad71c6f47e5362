#!/usr/bin/env bash
# Runs the example's tests on a throwaway server that has the extension.
set -euo pipefail
# shellcheck source=scripts/lib/example.sh
source "$(dirname "$0")/../../scripts/lib/example.sh"

python=$(first_that_runs python3 -c 'import sqlalchemy, psycopg2; assert sqlalchemy.__version__ >= "1.4"') ||
    skip "no python3 here has SQLAlchemy 1.4 or later and psycopg2; Debian has python3-sqlalchemy and python3-psycopg2"
start_example_server
cd "$root/examples/sqlalchemy"
PYTHONDONTWRITEBYTECODE=1 count_tests "$python" -m unittest test_blog
