//! Idempotent counting: `counter_incr_once`, `counter_apply`, `counter_apply_reset`.
//!
//! Ids, tokens and sources are text, or of any type that names something (`pg/naming`): the SQL below declares the functions for
//! those types, each as the C function `…_of`, which asks PostgreSQL what it was called with.

use pgrx::AnyElement;
use pgrx::prelude::*;

use super::increments::{checked_deltas, valid_ids};
use crate::errors::{self, CounterError, OrRaise, check_key, given};
use crate::idempotency::batch::Borders;
use crate::idempotency::errors::IdempotencyError;
use crate::idempotency::{self, Delta};
use crate::owners::{self, check_id};
use crate::pg::args::{BigintArray, TextArg, TextArray, TimestampArray};
use crate::pg::naming::name_of;
use crate::sharding::batches;

/// Adds `delta` to a counter unless `token` (1 to 255 bytes) has been seen for it; returns whether it did. Tokens are remembered
/// for `counter_ext.token_retention`. One that another transaction is just using is waited for: if that rolls back, this
/// one counts. The token commits or rolls back with the caller's transaction.
///
/// Errors: those of `counter_incr`; 22023 empty or over-long token, or one that was seen for this counter with another delta; 42501 INSERT on
/// counter_ext.token is missing.
#[pg_extern(strict)]
fn counter_incr_once(id: TextArg<'_>, delta: i64, token: TextArg<'_>) -> bool {
    increment_once(id.0, delta, token.0).or_raise()
}

/// As above, for ids and tokens of other types. Errors: 42804 a type that names nothing.
#[pg_extern(sql = false)]
fn counter_incr_once_of(id: AnyElement, delta: i64, token: AnyElement) -> bool {
    let once = || increment_once(&name_of("id", &id)?, delta, &name_of("token", &token)?);
    once().or_raise()
}

fn increment_once(id: &[u8], delta: i64, token: &[u8]) -> Result<bool, CounterError> {
    check_id(id)?;
    check_key("token", token)?;
    idempotency::increment_once(id, delta, token)
}

/// Adds a batch, `deltas[i]` to `ids[i]` (1 to each without `deltas`), if `upto` is greater than what its source has delivered
/// so far; returns whether it did. Whoever delivers the same batch again gives it the same end: of one that ends elsewhere it is not
/// known what it has in common with others. Batches of one source are put in order: the second of two concurrent ones waits for
/// the first to end. What counter_ext.source_offset says of a source is described there.
///
/// Errors: those of `counter_incr_many`; 22023 empty or over-long source; 22004 NULL source or offset; 42501 INSERT or UPDATE on
/// counter_ext.source_offset is missing; 55006 another transaction changes the source's row by hand.
#[pg_extern]
fn counter_apply(
    source: Option<TextArg<'_>>,
    upto: Option<i64>,
    ids: Option<TextArray<'_>>,
    deltas: default!(Option<BigintArray<'_>>, "NULL"),
) -> bool {
    apply(source.map(|source| source.0), upto, ids, deltas).or_raise()
}

/// As above, for sources of other types. Errors: 42804 a type that names nothing.
#[pg_extern(sql = false)]
fn counter_apply_of(
    source: Option<AnyElement>,
    upto: Option<i64>,
    ids: Option<TextArray<'_>>,
    deltas: Option<BigintArray<'_>>,
) -> bool {
    source_name(source).and_then(|source| apply(source.as_deref(), upto, ids, deltas)).or_raise()
}

/// As above, for batches that may overlap others: of the offsets from `first` to `upto` those count that are past what the source
/// has delivered. The delta of offset `first + i` is `deltas[i]` (1 without `deltas`), to counter `ids[i]`; a NULL id counts nothing. Or
/// `offsets[i]` says which offset it belongs to: then an offset may have any number of them, in any order. Offsets between one batch and the next may
/// be missing. `at[i]` is when it happened, NULL for now, as are all without `at`: it is counted as by `counter_incr_at`. Of what counts no more, since the
/// source has delivered it, the time is not looked at. Returns whether `upto` is past what the source had delivered.
///
/// Errors: those of the above; 22023 `upto` is less than `first`, or an element of `offsets` outside of them; 2202E as many ids as offsets are
/// needed, or as many offsets, or times, as ids; 22004 NULL offset, or NULL delta of an id; of a delta with a time: 55000 and 22008 as `counter_incr_at`.
#[pg_extern(name = "counter_apply")]
#[allow(clippy::too_many_arguments)]
fn counter_apply_from(
    source: Option<TextArg<'_>>,
    first: Option<i64>,
    upto: Option<i64>,
    ids: Option<TextArray<'_>>,
    deltas: Option<BigintArray<'_>>,
    offsets: default!(Option<BigintArray<'_>>, "NULL"),
    at: default!(Option<TimestampArray<'_>>, "NULL"),
) -> bool {
    apply_from(source.map(|source| source.0), (first, upto), (ids, deltas), offsets, at).or_raise()
}

/// As above, for sources of other types. Errors: 42804 a type that names nothing.
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn counter_apply_from_of(
    source: Option<AnyElement>,
    first: Option<i64>,
    upto: Option<i64>,
    ids: Option<TextArray<'_>>,
    deltas: Option<BigintArray<'_>>,
    offsets: Option<BigintArray<'_>>,
    at: Option<TimestampArray<'_>>,
) -> bool {
    source_name(source)
        .and_then(|source| apply_from(source.as_deref(), (first, upto), (ids, deltas), offsets, at))
        .or_raise()
}

/// Forgets how far a source has delivered: its next batch counts, whatever its offsets are. Returns how far that was, NULL where the source
/// is unknown, or was reset before. For a source that begins anew; what it delivers again counts again. A batch that another
/// transaction has just applied is waited for. Who did it, when, and the offset are kept in counter_ext.source_offset.
///
/// Errors: 22023 empty or over-long source; 25006 read-only transaction or standby; 42501 SELECT or DELETE on
/// counter_ext.source_offset is missing; 55006 another transaction changes the source's row by hand.
#[pg_extern(strict)]
fn counter_apply_reset(source: TextArg<'_>) -> Option<i64> {
    reset(source.0).or_raise()
}

/// As above, for sources of other types. Errors: 42804 a type that names nothing.
#[pg_extern(sql = false)]
fn counter_apply_reset_of(source: AnyElement) -> Option<i64> {
    name_of("source", &source).and_then(|source| reset(&source)).or_raise()
}

fn reset(source: &[u8]) -> Result<Option<i64>, CounterError> {
    check_key("source", source)?;
    owners::check(source)?;
    idempotency::reset(source)
}

fn source_name(source: Option<AnyElement>) -> Result<Option<Vec<u8>>, CounterError> {
    source.map(|source| name_of("source", &source)).transpose()
}

fn checked_source(source: Option<&[u8]>) -> Result<&[u8], CounterError> {
    let source = given("source", source)?;
    check_key("source", source)?;
    Ok(source)
}

fn apply(
    source: Option<&[u8]>,
    upto: Option<i64>,
    ids: Option<TextArray<'_>>,
    deltas: Option<BigintArray<'_>>,
) -> Result<bool, CounterError> {
    let source = checked_source(source)?;
    let upto = given("upto", upto)?;
    let ids = valid_ids(ids)?;
    let deltas = checked_deltas(deltas, ids.len())?;
    let count = ids.len();
    let of_the_end =
        ids.zip(deltas).map(|(id, delta)| Delta { offset: upto, id: Some(id), delta, at_us: None });
    apply_anywhere(source, Borders { first: None, upto }, (count, false), of_the_end)
}

/// Here, or where counters are spread over nodes, wherever they are.
fn apply_anywhere<'a>(
    source: &[u8],
    borders: Borders,
    given: (usize, bool),
    deltas: impl Iterator<Item = Delta<&'a [u8]>>,
) -> Result<bool, CounterError> {
    if owners::are_spread()? {
        return batches::apply(source, borders, given, deltas);
    }
    owners::check_serves()?;
    idempotency::apply(source, borders, given, deltas)
}

fn apply_from(
    source: Option<&[u8]>,
    (first, upto): (Option<i64>, Option<i64>),
    (ids, deltas): (Option<TextArray<'_>>, Option<BigintArray<'_>>),
    offsets: Option<BigintArray<'_>>,
    at: Option<TimestampArray<'_>>,
) -> Result<bool, CounterError> {
    let source = checked_source(source)?;
    let (first, upto) = (given("first", first)?, given("upto", upto)?);
    if upto < first {
        return Err(IdempotencyError::EndsBeforeFirst { first, upto }.into());
    }
    let borders = Borders { first: Some(first), upto };
    let ids = ids_or_none(ids)?;
    let deltas = deltas_of(ids.clone(), deltas)?;
    let count = ids.len();
    let has_times = at.is_some();
    let each = ids.zip(deltas).zip(times_of(at, count)?);
    let Some(offsets) = offsets else {
        if borders.width(first) != count as i128 {
            return Err(IdempotencyError::NotOneEach { first, upto, ids: count }.into());
        }
        let each =
            (first..=upto).zip(each).map(|(offset, ((id, delta), at_us))| Delta { offset, id, delta, at_us });
        return apply_anywhere(source, borders, (count, has_times), each);
    };
    let offsets = checked_offsets(offsets, count, first, upto)?;
    let each = offsets.zip(each).map(|(offset, ((id, delta), at_us))| Delta { offset, id, delta, at_us });
    apply_anywhere(source, borders, (count, has_times), each)
}

/// When deltas happened, `None` for now.
fn times_of<'a>(
    at: Option<TimestampArray<'a>>,
    ids: usize,
) -> Result<impl Iterator<Item = Option<i64>> + use<'a>, CounterError> {
    if at.is_some_and(|at| at.dimensions() > 1) {
        return Err(CounterError::NotOneDimensional { argument: "at" });
    }
    let given = at.map(TimestampArray::elements);
    if let Some(given) = &given
        && given.len() != ids
    {
        return Err(IdempotencyError::TimesDiffer { ids, times: given.len() }.into());
    }
    let nows = if given.is_none() { ids } else { 0 };
    Ok(given.into_iter().flatten().chain(std::iter::repeat_n(None, nows)))
}

/// The ids of an array argument, each checked that is not NULL.
fn ids_or_none<'a>(
    ids: Option<TextArray<'a>>,
) -> Result<impl ExactSizeIterator<Item = Option<&'a [u8]>> + Clone + use<'a>, CounterError> {
    const ARGUMENT: &str = "ids";
    let ids = given(ARGUMENT, ids)?;
    if ids.dimensions() > 1 {
        return Err(CounterError::NotOneDimensional { argument: ARGUMENT });
    }
    let ids = ids.elements();
    ids.clone().flatten().try_for_each(errors::check_id)?;
    Ok(ids)
}

/// The deltas that belong to ids, 1 each where there is no array. Where the id is NULL they are not looked at.
fn deltas_of<'a, Ids: ExactSizeIterator<Item = Option<&'a [u8]>> + Clone>(
    ids: Ids,
    deltas: Option<BigintArray<'a>>,
) -> Result<impl Iterator<Item = i64> + use<'a, Ids>, CounterError> {
    const ARGUMENT: &str = "deltas";
    let count = ids.len();
    if deltas.is_some_and(|deltas| deltas.dimensions() > 1) {
        return Err(CounterError::NotOneDimensional { argument: ARGUMENT });
    }
    let given = deltas.map(BigintArray::elements);
    if let Some(given) = &given {
        if given.len() != count {
            return Err(CounterError::LengthsDiffer { ids: count, deltas: given.len() });
        }
        let missing = ids.zip(given.clone()).position(|(id, delta)| id.is_some() && delta.is_none());
        if let Some(index) = missing {
            return Err(CounterError::NullElement { argument: ARGUMENT, position: index + 1 });
        }
    }
    let ones = if given.is_none() { count } else { 0 };
    let given = given.into_iter().flatten().map(Option::unwrap_or_default);
    Ok(given.chain(std::iter::repeat_n(1, ones)))
}

fn checked_offsets<'a>(
    offsets: BigintArray<'a>,
    ids: usize,
    first: i64,
    upto: i64,
) -> Result<impl Iterator<Item = i64> + use<'a>, CounterError> {
    const ARGUMENT: &str = "offsets";
    if offsets.dimensions() > 1 {
        return Err(CounterError::NotOneDimensional { argument: ARGUMENT });
    }
    let offsets = offsets.elements();
    if offsets.len() != ids {
        return Err(IdempotencyError::OffsetsDiffer { ids, offsets: offsets.len() }.into());
    }
    for (index, offset) in offsets.clone().enumerate() {
        let position = index + 1;
        let offset = offset.ok_or(CounterError::NullElement { argument: ARGUMENT, position })?;
        if !(first..=upto).contains(&offset) {
            return Err(IdempotencyError::OffsetOutside { position, offset, first, upto }.into());
        }
    }
    Ok(offsets.map(Option::unwrap_or_default))
}

extension_sql!(
    r#"
CREATE FUNCTION counter_incr_once(id counter, delta bigint, token text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_incr_once(id bigint, delta bigint, token text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_incr_once(id uuid, delta bigint, token text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_incr_once(id text, delta bigint, token anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_incr_once(id counter, delta bigint, token anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_incr_once(id bigint, delta bigint, token anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_incr_once(id uuid, delta bigint, token anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_apply(source anyelement, upto bigint, ids text[], deltas bigint[] DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_apply_of_wrapper' LANGUAGE c VOLATILE;
-- `deltas` has no default: with four arguments this would be like the above, but for an array in one place, which
-- an untyped parameter does not say.
CREATE FUNCTION counter_apply(source anyelement, first bigint, upto bigint, ids text[], deltas bigint[], offsets bigint[] DEFAULT NULL,
    at timestamptz[] DEFAULT NULL) RETURNS boolean AS 'MODULE_PATHNAME', 'counter_apply_from_of_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_apply_reset(source anyelement) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_apply_reset_of_wrapper' LANGUAGE c VOLATILE STRICT;
"#,
    name = "counter_idempotency_types",
    requires = [
        counter_incr_once,
        counter_incr_once_of,
        counter_apply,
        counter_apply_of,
        counter_apply_from,
        counter_apply_from_of,
        counter_apply_reset,
        counter_apply_reset_of,
        "counter_ext_type"
    ]
);

extension_sql_file!(
    "../../sql/idempotency.sql",
    name = "counter_idempotency_tables",
    requires = ["counter_ext_type"]
);
