#!/usr/bin/env bash
# A server's copy of the extension, put back when the shell ends: tests install
# their own builds over it. Sourced, never run.

# shellcheck source=scripts/lib/postgres.sh
source "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"

# After use_postgres: what is installed now is installed again when this shell ends.
keep_installed_extension() {
    local file
    kept_dir=$(mktemp -d)
    at_exit put_kept_extension_back
    while read -r file; do cp -p "$file" "$kept_dir"; done < <(installed_files)
}

installed_files() {
    local file
    for file in "$(installed_library)" "$(extension_dir)/$extension".control "$(extension_dir)/$extension"--*.sql; do
        if [ -f "$file" ]; then printf '%s\n' "$file"; fi
    done
}

put_kept_extension_back() {
    local file
    while read -r file; do
        if [ ! -f "$kept_dir/${file##*/}" ]; then as_server_owner rm -f "$file"; fi
    done < <(installed_files)
    for file in "$kept_dir"/*; do
        case $file in
        *.sql | *.control) put "$file" 644 "$(extension_dir)/${file##*/}" ;;
        *'/*') ;;
        *) put "$file" 755 "$(installed_library)" ;;
        esac
    done
    rm -rf "$kept_dir"
}
