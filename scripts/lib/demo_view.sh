#!/usr/bin/env bash
# shellcheck disable=SC2034 # the script that sources this uses the colours
# What `make demo` draws: a lane a kind of counter, redrawn in place on
# a terminal; a line a redraw anywhere else. Sourced, never run.

view_lines=0
bars=(▁ ▂ ▃ ▄ ▅ ▆ ▇ █)

view_is_live() { [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; }

view_setup() {
    case "${LC_ALL:-${LC_CTYPE:-${LANG:-}}}" in
    *UTF-8* | *utf8*) ;;
    *) bars=(. : - '=' + '*' '%' '#') ;;
    esac
    bold='' dim='' green='' plain='' columns=80
    if view_is_live; then
        columns=$(tput cols 2>/dev/null || echo 80)
        bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' plain=$'\e[0m'
        at_exit view_restore
        printf '\e[?25l'
    fi
}

view_restore() { printf '\e[?25h'; }

# 1234567 -> 1,234,567, whatever the locale.
with_commas() {
    local digits=$1 out=
    while [ ${#digits} -gt 3 ]; do
        out=,${digits: -3}$out
        digits=${digits:0:-3}
    done
    printf '%s' "$digits$out"
}

# sparkline WIDTH HIGHEST RATE...: the last WIDTH rates as bars; all lanes share HIGHEST, so they compare.
sparkline() {
    local width=$1 highest=$2 rate index out=
    shift 2
    if [ $# -gt "$width" ]; then shift $(($# - width)); fi
    for rate in "$@"; do
        index=$((highest > 0 ? rate * (${#bars[@]} - 1) / highest : 0))
        out+=${bars[index]}
    done
    printf '%s' "$out"
}

# view_draw LINE...: over the lines drawn last time.
view_draw() {
    local line
    if [ "$view_lines" -gt 0 ]; then printf '\e[%sA' "$view_lines"; fi
    for line in "$@"; do printf '\e[2K%s\n' "$line"; done
    view_lines=$#
}
