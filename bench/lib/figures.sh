#!/usr/bin/env bash
# The figures of a run, and the arithmetic on them. Sourced, never run.

# What was measured, by lane: a figure a round, separated by blanks.
declare -A figures=()

record() { figures[$1]+="$2 "; }

median() {
    # shellcheck disable=SC2086 # a list of figures
    printf '%s\n' ${figures[$1]} | sort -g |
        awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

calculate() { awk "BEGIN { printf \"%.6f\", $1 }"; }

# Rounded down, so that no ratio looks as if it reached what it did not.
ratio_text() { awk -v r="$1" 'BEGIN { printf "%.2fx", int(r * 100 + 1e-6) / 100 }'; }

yes_when() { if awk "BEGIN { exit !($1) }"; then echo yes; else echo no; fi; }

# 1234567.8 -> 1,234,568
whole() { printf '%.0f\n' "$1" | sed -e :a -e 's/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/' -e ta; }
