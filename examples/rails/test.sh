#!/usr/bin/env bash
# Runs the example's tests on a throwaway server that has the extension.
set -euo pipefail
# shellcheck source=scripts/lib/example.sh
source "$(dirname "$0")/../../scripts/lib/example.sh"

ruby=$(first_that_runs ruby -e 'require "active_record"; require "pg"; require "minitest"') ||
    skip "no ruby here has ActiveRecord, pg and minitest; Debian has ruby-activerecord, ruby-pg and ruby-minitest"
start_example_server
cd "$root/examples/rails"
count_tests "$ruby" blog_test.rb
