# The SQL that makes one version of the extension the next, from three files: the older version's SQL, the newer
# one's, and what has to be said by hand, with a line "-- HERE COMES THE NEW VERSION." in it. At that line come the
# newer version's statements, so that an update ends where a new installation does: functions, aggregates and views
# replace those that are there, and so keep what depends on them; what tables, types, operators, operator classes and
# indexes of the older version have become is said by hand; casts are made anew.
#
# awk -v old=FILE -v new=FILE -v hand=FILE -f upgrade_sql.awk

# next_statement FILE: the next statement of a file into `statement`, with the comments that stand before it in
# `comments`. A statement begins on a line of its own, and ends with one.
function next_statement(file,    line, copy, is_open, in_dollars, in_body, in_comment) {
    statement = comments = ""
    while ((getline line < file) > 0) {
        if (!is_open) {
            if (line ~ /^[ \t]*$/) { comments = ""; continue }
            if (line ~ /^\/\*/) in_comment = 1
            if (in_comment) { if (line ~ /\*\//) in_comment = 0; continue }
            if (line ~ /^--/) { comments = comments line "\n"; continue }
            is_open = 1
        }
        statement = statement line "\n"
        copy = line
        if (gsub(/\$\$/, "", copy) % 2) in_dollars = !in_dollars
        if (line ~ /BEGIN ATOMIC/) in_body = 1
        if (in_body && line ~ /END;[ \t]*$/) in_body = 0
        if (!in_dollars && !in_body && line ~ /;[ \t]*(\/\*.*\*\/)?$/) return 1
    }
    close(file)
    if (is_open) fail(file " ends within a statement")
    return 0
}

# What a statement makes, as far as it cannot be made twice; else nothing.
function made(    text, words, left, right) {
    text = statement
    gsub(/@extschema@\.|"/, "", text)
    gsub(/[ \t\n]+/, " ", text)
    split(text, words, " ")
    if (text ~ /^CREATE (TABLE|TYPE|INDEX) /) return tolower(words[2]) " " without_end(words[3])
    if (text ~ /^CREATE OPERATOR CLASS /) return "operator class " words[4]
    if (text ~ /^CREATE CAST /) return "cast " substr(text, 13, index(text, ")") - 12)
    if (text ~ /^CREATE OPERATOR /) {
        left = option(text, "LEFTARG")
        right = option(text, "RIGHTARG")
        return "operator " words[3] "(" left "," right ")"
    }
    return ""
}

function without_end(word) { sub(/[;(].*$/, "", word); return word }

function option(text, name) {
    if (!match(text, name " = [^,)]+")) return ""
    text = substr(text, RSTART + length(name) + 3, RLENGTH - length(name) - 3)
    sub(/ +$/, "", text)
    return text
}

# Only what the newer version makes for the first time goes through as it is.
function carry_over(    what) {
    what = made()
    if (statement ~ /^CREATE SCHEMA / || statement ~ /^DO [^;]*\$\$.*CREATE SCHEMA /) return
    # Partitions are tables too.
    if (statement ~ /^DO .*'CREATE TABLE /) return
    if (what ~ /^cast / && (what in is_there)) printf "DROP %s;\n", "CAST " substr(what, 6)
    else if (what in is_there) return
    sub(/^CREATE +FUNCTION/, "CREATE OR REPLACE FUNCTION", statement)
    sub(/^CREATE AGGREGATE/, "CREATE OR REPLACE AGGREGATE", statement)
    sub(/^CREATE VIEW/, "CREATE OR REPLACE VIEW", statement)
    # What ends the script of a new installation ends this one too.
    if (statement ~ /^SELECT counter_ext\.note_extension_created/) { last = comments statement; return }
    printf "%s%s\n", comments, statement
}

function fail(message) { print "upgrade_sql: " message >"/dev/stderr"; failed = 1; exit 1 }

BEGIN {
    while (next_statement(old)) if ((what = made()) != "") is_there[what] = 1
    # A shell type and the type itself are two statements: both are there.
    while ((getline line < hand) > 0) {
        if (line ~ /^DROP (TABLE|INDEX|TYPE) /) {
            split(line, words, " ")
            delete is_there[tolower(words[2]) " " without_end(words[3])]
        }
        if (line != "-- HERE COMES THE NEW VERSION.") { print line; continue }
        while (next_statement(new)) carry_over()
        was_there = 1
    }
    if (!was_there) fail(hand " does not say where the new version comes")
    printf "\n%s", last
    exit failed
}
