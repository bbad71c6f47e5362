//! Counters spread over the nodes of a Citus cluster: what other nodes, and the functions in `sql/sharding.sql`, ask of this one.
//!
//! Citus finds the node by a call's first argument, one of the ids that the call is about.

use pgrx::prelude::*;

use super::increments::{checked_deltas, checked_ids};
use crate::counting::change;
use crate::errors::{CounterError, OrRaise, check_key, given};
use crate::fallible;
use crate::idempotency::batch::Borders;
use crate::idempotency::{self, Delta};
use crate::memory::workers;
use crate::owners;
use crate::owners::ranges::Owner;
use crate::pg::args::{BigintArray, SketchBytes, TextArg, TextArray};
use crate::pg::catalog;
use crate::sharding::batches;
use crate::visitors::rows::Days;

const WHAT: &str = "a batch";

#[pg_schema]
mod counter_ext {
    use super::*;

    /// `counter_incr_many` of ids that are all on this node; returns how many there were.
    ///
    /// Errors: those of it; 55000 one of them is on another node.
    #[pg_extern]
    fn incr_many_here(
        key: Option<TextArg<'_>>,
        ids: Option<TextArray<'_>>,
        deltas: Option<BigintArray<'_>>,
    ) -> i64 {
        let increment = || {
            owners::check(given("key", key)?.0)?;
            let ids = checked_ids(ids)?;
            let count = ids.len();
            let deltas = checked_deltas(deltas, count)?;
            let entered = change::enter("counter_incr_many")?;
            ids.zip(deltas).try_for_each(|(id, delta)| change::increment(entered, id, delta))?;
            Ok::<_, CounterError>(count as i64)
        };
        increment().or_raise()
    }

    /// `counter_get_many` of ids that are all on this node: the totals, in their order.
    ///
    /// Errors: those of it; 55000 one of them is on another node.
    #[pg_extern(parallel_restricted)]
    fn get_many_here(
        key: Option<TextArg<'_>>,
        ids: Option<TextArray<'_>>,
    ) -> SetOfIterator<'static, Option<i64>> {
        let totals = || {
            owners::check(given("key", key)?.0)?;
            batches::totals_here(&fallible::collect(checked_ids(ids)?, WHAT)?)
        };
        SetOfIterator::new(totals().or_raise())
    }

    /// The visitors of ids that are all on this node, together: ever, or from one day to another, as days since 2000-01-01.
    ///
    /// Errors: those of `counter_visitors_union`; 55000 one of them is on another node.
    #[pg_extern(parallel_restricted)]
    fn visitors_here(
        key: Option<TextArg<'_>>,
        ids: Option<TextArray<'_>>,
        first_day: Option<i32>,
        last_day: Option<i32>,
    ) -> SketchBytes {
        let unite = || {
            owners::check(given("key", key)?.0)?;
            let days = match (first_day, last_day) {
                (Some(first), Some(last)) => Days::Range(first, last),
                _ => Days::Ever,
            };
            let united = batches::unite_here(checked_ids(ids)?, days)?;
            Ok::<_, CounterError>(SketchBytes(united.encode()?))
        };
        unite().or_raise()
    }

    /// Moves a source on as `counter_apply` does, and says how far it had delivered before: a row where that was less.
    ///
    /// Errors: those of it; 55000 the source is on another node.
    #[pg_extern]
    fn advance_source_here(
        source: Option<TextArg<'_>>,
        first: Option<i64>,
        upto: Option<i64>,
        deltas: Option<i64>,
    ) -> TableIterator<'static, (name!(advanced, bool), name!(before, Option<i64>))> {
        let advance = || {
            let source = given("source", source)?.0;
            check_key("source", source)?;
            owners::check(source)?;
            let borders = Borders { first, upto: given("upto", upto)? };
            idempotency::advance(source, borders, given("deltas", deltas)?.max(0) as usize)
        };
        TableIterator::new(advance().or_raise().map(|before| (true, before)))
    }

    /// Counts a batch that another node had of counters which are here now, once. Returns whether it did; of a batch that comes again, not.
    ///
    /// Errors: those of `counter_apply`.
    #[pg_extern(strict)]
    fn take_moved(source: TextArg<'_>, batch: i64, ids: TextArray<'_>, amounts: BigintArray<'_>) -> bool {
        let take = || {
            // Ids that families keep for themselves come along.
            let each = ids.elements().zip(amounts.elements());
            let borders = Borders { first: None, upto: batch };
            let count = ids.elements().len();
            let deltas = each.filter_map(|(id, amount)| {
                Some(Delta { offset: batch, id: Some(id?), delta: amount?, at_us: None })
            });
            idempotency::apply_moved(source.0, borders, count, deltas)
        };
        take().or_raise()
    }

    /// Asks this database's worker for a pass, which nobody waits for.
    #[pg_extern]
    fn want_pass() {
        let database = u32::from(catalog::my_database());
        workers::call_worker(database);
        workers::want_pass(database);
    }

    /// Whether this node has been told that nothing of an id can come from another one any more. Not where ids are not spread over nodes.
    #[pg_extern(strict)]
    fn has_arrived(id: TextArg<'_>) -> bool {
        (|| Ok::<_, CounterError>(owners::are_spread()? && owners::has_arrived(id.0)?))().or_raise()
    }

    /// The group of the node that has an id; NULL where that is this one.
    #[pg_extern(strict)]
    fn owner_group(id: TextArg<'_>) -> Option<i32> {
        match owners::owner(id.0).or_raise() {
            Owner::Here => None,
            Owner::Group(group) => Some(group),
        }
    }
}

extension_sql_file!(
    "../../sql/sharding.sql",
    name = "counter_sharding",
    requires = [
        "by_hand_triggers",
        "counter_nodes",
        "counter_likes_tables",
        "counter_visitors_tables",
        "counter_idempotency_tables",
        "counter_reads_sql",
        counter_ext::incr_many_here,
        counter_ext::get_many_here,
        counter_ext::visitors_here,
        counter_ext::advance_source_here,
        counter_ext::owner_group,
        counter_ext::take_moved,
        counter_ext::want_pass,
        counter_ext::has_arrived
    ]
);
