//! Which counter a key's is: `counter_id`.

use pgrx::prelude::*;

use crate::caches::key_id;
use crate::errors::OrRaise;
use crate::pg::args::{TextArg, TextBytes};

/// The id of the counter that a cache keeps of a key: the prefix and the key's text. A key that no id can have is kept as `~sha256:` and
/// the SHA-256 of its bytes in hexadecimal: one that is longer than 255 bytes with the prefix, one that reads like such a digest
/// itself, and, where there is no prefix, the empty one and those that begin with bytes 1 or 2. Of any other text too, say
/// an address: `counter_incr(counter_id('views:', address))`.
///
/// Errors: 22023 a prefix of more than 183 bytes; 42939 no id can begin like the prefix.
#[pg_extern(immutable, strict, parallel_safe)]
fn counter_id(prefix: TextArg<'_>, key: TextArg<'_>) -> TextBytes {
    TextBytes(key_id::of_key(prefix.0, key.0).or_raise())
}

extension_sql!(
    r#"
CREATE FUNCTION counter_id(prefix text, key numeric) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN @extschema@.counter_id($1, pg_catalog.trim_scale($2)::pg_catalog.text);
CREATE FUNCTION counter_id(prefix text, key uuid) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN @extschema@.counter_id($1, $2::pg_catalog.text);
"#,
    name = "counter_ids",
    requires = [counter_id]
);
