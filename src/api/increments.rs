//! `counter_incr` and its batch form.

use pgrx::AnyElement;
use pgrx::prelude::*;

use crate::counting::errors::AmountError;
use crate::counting::{amount, change};
use crate::errors::{self, CounterError, OrRaise, check_key, given};
use crate::fallible;
use crate::owners::{self, check_id};
use crate::pg::args::{BigintArray, NumericArg, TextArg, TextArray};
use crate::pg::naming::name_of;
use crate::sharding::batches;

const WHAT: &str = "a batch";

/// Adds `delta` to a counter, in the caller's transaction. Never waits for another transaction's increment. `actor` (1 to 255 bytes) is
/// whom the audit log names; NULL: the setting counter_ext.actor, else the session's user. A NULL id or delta counts nothing.
///
/// Errors: 22023 empty or over-long id or actor; 22003 this transaction's deltas of the counter leave bigint; 25006 read-only
/// transaction or standby; 42501 INSERT or UPDATE on counter_ext.total is missing.
#[pg_extern]
fn counter_incr(
    id: Option<TextArg<'_>>,
    delta: default!(Option<i64>, 1),
    actor: default!(Option<TextArg<'_>>, "NULL"),
) -> Option<()> {
    increment_by(id?.0, delta?, actor.map(|actor| actor.0)).or_raise();
    Some(())
}

/// As above, for ids and actors of other types. Errors: 42804 a type that names nothing.
#[pg_extern(sql = false)]
fn counter_incr_by(id: Option<AnyElement>, delta: Option<i64>, actor: Option<AnyElement>) -> Option<()> {
    let (id, delta) = (id?, delta?);
    let increment = || {
        let actor = actor.map(|actor| name_of("actor", &actor)).transpose()?;
        increment_by(&name_of("id", &id)?, delta, actor.as_deref())
    };
    increment().or_raise();
    Some(())
}

fn increment_by(id: &[u8], delta: i64, actor: Option<&[u8]>) -> Result<(), CounterError> {
    check_id(id)?;
    if let Some(actor) = actor {
        check_key("actor", actor)?;
    }
    change::increment_by(change::enter("counter_incr")?, id, delta, actor)
}

/// As `counter_incr`, and returns what `counter_get` says next in the caller's transaction: all that is committed by now, and its own.
/// It waits for nobody, so two that add at the same time, each before the other has committed, may return the same number.
///
/// Errors: those of `counter_incr` and of `counter_get`; nothing is counted then.
#[pg_extern(strict)]
fn counter_add(id: TextArg<'_>, delta: default!(i64, 1)) -> i64 {
    check_id(id.0).and_then(|()| change::add(id.0, delta)).or_raise()
}

/// As `counter_incr`, for an amount that `sum()` gives.
///
/// Errors: those of `counter_incr`; 22023 a fraction, NaN or an infinity; 22003 beyond bigint; 42804 the id's type names nothing.
#[pg_extern(sql = false)]
fn counter_incr_numeric(id: AnyElement, delta: NumericArg<'_>) {
    let increment = || {
        let (id, delta) = named_amount(&id, "delta", delta)?;
        change::increment(change::enter("counter_incr")?, &id, delta)
    };
    increment().or_raise();
}

/// As `counter_add`, for an amount that `sum()` gives. Errors: those of `counter_add` and of the above.
#[pg_extern(sql = false)]
fn counter_add_numeric(id: AnyElement, delta: NumericArg<'_>) -> i64 {
    let add = || {
        let (id, delta) = named_amount(&id, "delta", delta)?;
        change::add(&id, delta)
    };
    add().or_raise()
}

/// The id that a value of any type stands for, checked, and the amount that a numeric says.
pub(super) fn named_amount(
    id: &AnyElement,
    argument: &'static str,
    amount: NumericArg<'_>,
) -> Result<(Vec<u8>, i64), CounterError> {
    let id = name_of("id", id)?;
    check_id(&id)?;
    let amount = amount::whole(amount.0).map_err(|why| AmountError::new(argument, amount.0, why))?;
    Ok((id, amount))
}

/// Adds to many counters at once: `deltas[i]` to `ids[i]`, or 1 to each without `deltas`. An id may repeat.
///
/// Errors: those of `counter_incr`, 22004 NULL array or element, 2202E arrays of different length or dimension;
/// nothing is counted then.
#[pg_extern]
fn counter_incr_many(ids: Option<TextArray<'_>>, deltas: default!(Option<BigintArray<'_>>, "NULL")) {
    increment_many(ids, deltas).or_raise();
}

fn increment_many(ids: Option<TextArray<'_>>, deltas: Option<BigintArray<'_>>) -> Result<(), CounterError> {
    let ids = valid_ids(ids)?;
    let deltas = checked_deltas(deltas, ids.len())?;
    if owners::are_spread()? {
        return batches::increment(&fallible::collect(ids, WHAT)?, &fallible::collect(deltas, WHAT)?);
    }
    owners::check_serves()?;
    let entered = change::enter("counter_incr_many")?;
    ids.zip(deltas).try_for_each(|(id, delta)| change::increment(entered, id, delta))
}

/// The ids of an array argument, each checked, and that it is this node's.
pub(super) fn checked_ids<'a>(
    ids: Option<TextArray<'a>>,
) -> Result<impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a>, CounterError> {
    let ids = valid_ids(ids)?;
    ids.clone().try_for_each(owners::check)?;
    Ok(ids)
}

/// The ids of an array argument, each checked.
pub(super) fn valid_ids<'a>(
    ids: Option<TextArray<'a>>,
) -> Result<impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a>, CounterError> {
    const ARGUMENT: &str = "ids";
    let ids = given(ARGUMENT, ids)?;
    if ids.dimensions() > 1 {
        return Err(CounterError::NotOneDimensional { argument: ARGUMENT });
    }
    let ids = ids.elements();
    for (index, id) in ids.clone().enumerate() {
        errors::check_id(id.ok_or(CounterError::NullElement { argument: ARGUMENT, position: index + 1 })?)?;
    }
    Ok(ids.map(Option::unwrap_or_default))
}

/// The deltas of an array argument, one an id; 1 each where there is no array.
pub(super) fn checked_deltas<'a>(
    deltas: Option<BigintArray<'a>>,
    ids: usize,
) -> Result<impl Iterator<Item = i64> + Clone + use<'a>, CounterError> {
    const ARGUMENT: &str = "deltas";
    if deltas.is_some_and(|deltas| deltas.dimensions() > 1) {
        return Err(CounterError::NotOneDimensional { argument: ARGUMENT });
    }
    let given = deltas.map(BigintArray::elements);
    if let Some(given) = &given {
        if let Some(index) = given.clone().position(|delta| delta.is_none()) {
            return Err(CounterError::NullElement { argument: ARGUMENT, position: index + 1 });
        }
        if given.len() != ids {
            return Err(CounterError::LengthsDiffer { ids, deltas: given.len() });
        }
    }
    // Without deltas all of them are 1, as many as there are ids.
    let ones = if given.is_none() { ids } else { 0 };
    let given = given.into_iter().flatten().map(|delta| delta.unwrap_or(1));
    Ok(given.chain(std::iter::repeat_n(1, ones)))
}

extension_sql!(
    r#"
-- A numeric amount goes to "any", which never competes for what has no type: beside counter_incr(text, numeric) an untyped or an
-- integer amount would be ambiguous. Where the id is an integer, "any" would tie with bigint: so each
-- width has one of its own.
-- A NULL actor is nobody named, so these are not STRICT: an id or a delta of NULL counts nothing all the same.
CREATE FUNCTION counter_incr(id counter, delta bigint DEFAULT 1, actor text DEFAULT NULL) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr(id bigint, delta bigint DEFAULT 1, actor text DEFAULT NULL) RETURNS void
    LANGUAGE sql VOLATILE BEGIN ATOMIC SELECT @extschema@.counter_incr($1::pg_catalog.text, $2, $3); END;
CREATE FUNCTION counter_incr(id uuid, delta bigint DEFAULT 1, actor text DEFAULT NULL) RETURNS void
    LANGUAGE sql VOLATILE BEGIN ATOMIC SELECT @extschema@.counter_incr($1::pg_catalog.text, $2, $3); END;
CREATE FUNCTION counter_incr(id text, delta bigint, actor anyelement) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_by_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr(id counter, delta bigint, actor anyelement) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_by_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr(id bigint, delta bigint, actor anyelement) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_by_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr(id uuid, delta bigint, actor anyelement) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_by_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr(id "any", delta numeric) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_numeric_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_incr(id smallint, delta bigint) RETURNS void
    LANGUAGE sql VOLATILE BEGIN ATOMIC SELECT @extschema@.counter_incr($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_incr(id integer, delta bigint) RETURNS void
    LANGUAGE sql VOLATILE BEGIN ATOMIC SELECT @extschema@.counter_incr($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_add(id counter, delta bigint DEFAULT 1) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_add_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_add(id bigint, delta bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_add($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_add(id uuid, delta bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_add($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_add(id "any", delta numeric) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_add_numeric_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_add(id smallint, delta bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_add($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_add(id integer, delta bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_add($1::pg_catalog.text, $2); END;
"#,
    name = "counter_incr_ids",
    requires = [counter_incr, counter_incr_by, counter_add, "counter_ext_type"]
);
