# The SQL of `cargo pgrx schema` in an order that only the source decides: pgrx's own
# is another one each time. What a part names as required comes before it; else
# parts go by file, and in a file schema, SQL, triggers' functions, functions, by name.
# Leaves out where in the source each part is, which every edit would change.

BEGIN { separator = "\001" }

/^\/\* <begin connected objects> \*\/$/ { parts++; lines = 0; in_requires = 0; next }
/^\/\* <\/end connected objects> \*\/$/ { finish_part(); next }
{
    lines++
    if (lines == 1 && match($0, /^-- [^ :]+:[0-9]+$/)) {
        split(substr($0, 4), place, ":")
        file[parts] = place[1]
        line[parts] = place[2]
        next
    }
    if ($0 == "-- bootstrap") { is_first[parts] = 1; next }
    if ($0 == "-- finalize") { is_last[parts] = 1; next }
    if ($0 == "-- requires:") { in_requires = 1; next }
    if (in_requires && match($0, /^--   [^ ]+$/)) {
        required[parts] = required[parts] " " last_name(substr($0, 6))
        next
    }
    in_requires = 0
    if (lines == 2 && match($0, /^-- [a-z_0-9]+(::[a-z_0-9]+)+$/)) name[parts] = last_name($0)
    # In Rust a function may have another name than in SQL, by which others require it.
    else if (parts in name && match($0, /'[a-z_0-9]+_wrapper'/)) name[parts] = substr($0, RSTART + 1, RLENGTH - 10)
    if (match($0, /^-- Skipped due to /)) is_skipped[parts] = 1
    text[parts] = text[parts] $0 "\n"
}

function last_name(path) { sub(/^.*::/, "", path); return path }

# A part without a place in the source is pgrx's own heading.
function finish_part(    kind) {
    if (!(parts in file)) { parts--; return }
    if (parts in name) kind = text[parts] ~ /RETURNS TRIGGER/ ? 2 : 3
    else if (text[parts] ~ /^CREATE SCHEMA/ || text[parts] ~ /\nCREATE SCHEMA IF NOT EXISTS [a-z_]+; *\/\*/) kind = 0
    else { kind = 1; name[parts] = name_in_source(file[parts], line[parts]) }
    key[parts] = file[parts] separator kind separator name[parts] separator text[parts]
    if (is_first[parts]) key[parts] = "\001" key[parts]
    if (is_last[parts]) key[parts] = "\177" key[parts]
    provided[name[parts]]++
}

# extension_sql! has its name behind the SQL.
function name_in_source(path, number,    at, row, found) {
    while ((getline row < path) > 0) {
        at++
        if (at >= number && match(row, /name = "[^"]+"/)) { found = substr(row, RSTART + 8, RLENGTH - 9); break }
    }
    close(path)
    if (found == "") fail("no name of the SQL at " path ":" number)
    return found
}

function is_ready(part,    names, count, i) {
    count = split(required[part], names, " ")
    for (i = 1; i <= count; i++) {
        if (!(names[i] in provided)) fail(file[part] ":" line[part] " requires " names[i] ", which is not there")
        if (provided[names[i]] > 0) return 0
    }
    return 1
}

function fail(message) { print "order_sql: " message >"/dev/stderr"; failed = 1; exit 1 }

END {
    if (failed) exit 1
    for (done = 0; done < parts; done++) {
        next_part = 0
        for (part = 1; part <= parts; part++)
            if (!(part in is_written) && is_ready(part) && (!next_part || key[part] < key[next_part])) next_part = part
        if (!next_part) fail("parts require each other in a circle")
        is_written[next_part] = 1
        provided[name[next_part]]--
        if (!is_skipped[next_part]) printf "\n-- %s\n%s", file[next_part], text[next_part]
    }
}
