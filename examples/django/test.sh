#!/usr/bin/env bash
# Runs the example's tests on a throwaway server that has the extension.
set -euo pipefail
# shellcheck source=scripts/lib/example.sh
source "$(dirname "$0")/../../scripts/lib/example.sh"

python=$(first_that_runs python3 -c 'import django, psycopg2') ||
    skip "no python3 here has Django and psycopg2; Debian has python3-django and python3-psycopg2"
start_example_server
cd "$root/examples/django"
export PYTHONPATH=. DJANGO_SETTINGS_MODULE=settings PYTHONDONTWRITEBYTECODE=1
"$python" -m django makemigrations --check --dry-run
count_tests "$python" -m django test
