//! Triggers on our own tables: what an administrator, a restore or an apply worker changes in rows is forgotten in
//! memory when it commits.

use pgrx::WhoAllocated;
use pgrx::prelude::*;

use crate::caches::arriving;
use crate::counting::{emptied, transaction};
use crate::errors::{CounterError, OrRaise};
use crate::family::{self, followed};
use crate::journal::errors::JournalError;
use crate::pg::args::TextBytes;
use crate::pg::trigger::{NoTuple, TriggerCall};
use crate::pg::{Oid, installed, process, xact};
use crate::rows::node::Whose;
use crate::rows::replicated::{self, Fate, Kind, RowKey};
use crate::rows::{access, by_hand, node};
use crate::settings;
use crate::visitors::access::VISITORS;

/// The table that the trigger has fired on. Errors: 39P01 it is not ours; 55000 the extension's SQL is of another version.
pub(super) fn own_table(trigger: &PgTrigger<'_>) -> Result<Oid, CounterError> {
    installed::check();
    let table = trigger.relid().map_err(|error| CounterError::Internal(error.to_string()))?;
    by_hand::check_ours(table)?;
    Ok(table)
}

fn note(row: Option<PgHeapTuple<'_, impl WhoAllocated>>, holds_totals: bool) {
    let Some(row) = row else { return };
    transaction::note_by_hand();
    match (access::find_tables(), row.get_by_name::<TextBytes>("id")) {
        (Some(tables), Ok(Some(id))) => {
            transaction::note_touched(tables, &id.0);
            if holds_totals {
                family::totals_changed(tables, &id.0).or_raise();
            }
        }
        _ => transaction::note_all_touched(),
    }
}

/// Whether it is a table of amounts.
fn holds_amounts(table: Oid) -> bool {
    access::find_tables().is_some_and(|tables| table == tables.total || table == tables.slot)
}

/// Whether a row that is about to be inserted holds an amount of a cached counter, which is counted from its rows.
fn is_counted_elsewhere(trigger: &PgTrigger<'_>, table: Oid) -> bool {
    trigger.event().fired_before()
        && !xact::is_replicating()
        && holds_amounts(table)
        && trigger.event().fired_by_insert()
        && trigger.new().is_some_and(|row| {
            let is_amount = row.get_by_name::<TextBytes>("id").ok().flatten();
            is_amount.is_some_and(|id| arriving::is_counted(&id.0))
        })
}

/// Errors: 42501 whoever changes the row may count at most.
fn check_may_write(trigger: &PgTrigger<'_>, table: Oid) -> Result<(), CounterError> {
    // Old days of visitors are deleted by who is allowed to. Nobody needs that right to count.
    let is_forgetting = trigger.event().fired_by_delete() && VISITORS.find() == Some(table);
    if !trigger.event().fired_before() || is_forgetting {
        return Ok(());
    }
    by_hand::check_may_write(table)
}

/// Errors: 39P01 the table is not ours; 42501 the rows may not be written by hand.
fn check_by_hand(trigger: &PgTrigger<'_>) -> Result<(), CounterError> {
    installed::check();
    // A restore may have a million rows, and whose the table is takes a look into a catalog. It is nobody's business where nothing is refused.
    let is_allowed = |table| by_hand::check_may_write(table).is_ok();
    if matches!(trigger.level(), PgTriggerLevel::Row) && trigger.relid().is_ok_and(is_allowed) {
        return Ok(());
    }
    own_table(trigger).and_then(by_hand::check_may_write)
}

/// Whether other nodes' rows are in it too.
fn holds_nodes(table: Oid) -> bool {
    access::find_tables().is_some_and(|tables| table == tables.total) || VISITORS.find() == Some(table)
}

/// Errors: 55000 a total of another node is changed or deleted by hand, which its node goes on changing.
fn check_not_fed(trigger: &PgTrigger<'_>, table: Oid) -> Result<(), CounterError> {
    let is_total = access::find_tables().is_some_and(|tables| table == tables.total);
    if !trigger.event().fired_before() || !is_total || xact::is_replicating() {
        return Ok(());
    }
    let old = trigger.old().and_then(|row| row.get_by_name::<i32>("node").ok().flatten());
    old.map_or(Ok(()), replicated::check_not_fed)
}

/// What a row of a table with nodes is found by.
struct Key {
    id: TextBytes,
    node: i32,
    day: Option<i32>,
}

impl Key {
    fn of(row: Option<PgHeapTuple<'_, impl WhoAllocated>>) -> Option<Key> {
        let row = row?;
        let id = row.get_by_name::<TextBytes>("id").ok()??;
        let node = row.get_by_name::<i32>("node").ok()??;
        let day = row.get_by_name::<Date>("day").ok().flatten();
        Some(Key { id, node, day: day.map(process::day_number) })
    }

    fn borrowed(&self) -> RowKey<'_> {
        RowKey { id: &self.id.0, node: self.node, day: self.day }
    }
}

/// Before a row that comes by replication is written.
fn receive(trigger: &PgTrigger<'_>, table: Oid) -> Result<Fate, CounterError> {
    let Some(tables) = access::find_tables() else { return Ok(Fate::TakenIn) };
    let new = Key::of(trigger.new().filter(|_| !trigger.event().fired_by_delete()));
    let old = Key::of(trigger.old());
    let kind = if table == tables.total {
        let is_counted = new.as_ref().map_or(Ok(false), |new| arriving::is_subscribed(&new.id.0))?;
        if is_counted {
            return Ok(Fate::LeftOut);
        }
        Kind::Totals
    } else if VISITORS.find() == Some(table) {
        Kind::Sketches
    } else {
        Kind::Unfolded
    };
    replicated::receive(tables, kind, old.as_ref().map(Key::borrowed), new.as_ref().map(Key::borrowed))
}

/// A total that somebody changes or deletes by hand is booked as if it had been counted. What is inserted is not: a restore brings what is
/// booked of it too. Nor is what another node has counted, which was never booked here: a node that comes back deletes it, to copy it anew.
fn book_by_hand(trigger: &PgTrigger<'_>, table: Oid) -> Result<(), CounterError> {
    let event = trigger.event();
    let changes = !event.fired_before() && (event.fired_by_update() || event.fired_by_delete());
    let Some(tables) = access::find_tables().filter(|tables| changes && tables.total == table) else {
        return Ok(());
    };
    if xact::is_replicating() {
        return Ok(());
    }
    let new = if event.fired_by_delete() { None } else { trigger.new() };
    for (row, sign) in [(trigger.old(), -1), (new, 1)] {
        let Some(row) = row else { continue };
        let id = row.get_by_name::<TextBytes>("id").ok().flatten();
        let value = row.get_by_name::<i64>("value").ok().flatten();
        let number = row.get_by_name::<i32>("node").ok().flatten();
        let is_theirs = number.is_some_and(|number| node::whose(number, settings::node()) == Whose::Theirs);
        if let (Some(id), Some(value), false) = (id, value, is_theirs) {
            let delta = sign * i128::from(value);
            access::as_owner(tables, |_| followed::book(tables, &id.0, delta, process::now_us()))?;
        }
    }
    Ok(())
}

/// Trigger function on the journal's tables: refuses what SQL would change there. By replication the changes of another server's journal
/// come in, which mean nothing here: those of rows are passed over.
#[pg_extern(sql = false)]
fn guard_journal(_call: TriggerCall<'_>) -> NoTuple {
    if !process::is_replica() {
        CounterError::from(JournalError::ChangedByHand).raise();
    }
    NoTuple
}

/// Trigger function on the journal's tables: nobody empties them.
#[pg_extern(sql = false)]
fn refuse_journal_truncate(_call: TriggerCall<'_>) -> NoTuple {
    CounterError::from(JournalError::ChangedByHand).raise()
}

#[pg_schema]
mod counter_ext {
    use super::*;

    /// Row trigger: notes the changed row's id. Before the change it also checks that it may be made, and leaves out a restored
    /// amount of a counter whose rows are counted as they are restored.
    ///
    /// Errors: 39P01 on other tables than ours; 42501 the rows may not be written by hand; 55000 they are those of another node, or come from
    /// elsewhere with this node's number.
    #[pg_trigger]
    fn note_foreign_change<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        let table = own_table(trigger).or_raise();
        check_may_write(trigger, table).and_then(|()| check_not_fed(trigger, table)).or_raise();
        if trigger.event().fired_before()
            && xact::is_replicating()
            && receive(trigger, table).or_raise() == Fate::LeftOut
        {
            return Ok(None);
        }
        if is_counted_elsewhere(trigger, table) {
            if arriving::note_left_out() {
                pgrx::notice!("amounts of counters of rows that are counted as they arrive are left out");
            }
            return Ok(None);
        }
        let holds_totals = !trigger.event().fired_before()
            && access::find_tables().is_some_and(|tables| table == tables.total);
        note(trigger.old(), holds_totals);
        note(trigger.new(), holds_totals);
        book_by_hand(trigger, table).or_raise();
        Ok(trigger.new().or(trigger.old()))
    }

    /// Statement trigger, before it: somebody else fills our tables.
    ///
    /// Errors: as above. It comes before the rows, and keeps the worker from its work.
    #[pg_trigger]
    fn note_foreign_insert<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        let begin = || {
            let table = own_table(trigger)?;
            by_hand::check_may_write(table)?;
            if holds_amounts(table) { arriving::begin_insert() } else { Ok(()) }
        };
        begin().or_raise();
        // What another server sends is kept apart from our own by row.
        if !xact::is_replicating() {
            transaction::note_restore();
        }
        Ok(trigger.new())
    }

    /// Trigger, before INSERT or UPDATE, of the statement and of each row: these rows say what the worker does. Functions put them there for who
    /// has the rights to it. The statement is refused before it has locked anything; rows that come by replication come without one.
    ///
    /// Errors: 39P01 on other tables than ours; 42501 the rows may not be written by hand.
    #[pg_trigger]
    fn check_written_by_hand<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        check_by_hand(trigger).or_raise();
        Ok(trigger.new().or_else(|| trigger.old()))
    }

    /// Statement trigger, before and after it: TRUNCATE changes everything, and what is in no row yet goes with the rows.
    ///
    /// Errors: 39P01 on other tables than ours; 55000 increments have still to be recovered after a start, or several nodes count.
    #[pg_trigger]
    fn note_foreign_truncate<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        let truncated = || {
            let table = own_table(trigger)?;
            if holds_nodes(table) {
                node::check_alone("TRUNCATE", node::DROP_INSTEAD)?;
            }
            transaction::note_all_touched();
            transaction::note_by_hand();
            let is_after = matches!(trigger.when(), Ok(PgTriggerWhen::After));
            if is_after && holds_amounts(table) { emptied::after_truncate(table) } else { Ok(()) }
        };
        truncated().or_raise();
        Ok(trigger.new())
    }
}

extension_sql!(
    r#"
-- Before the change, so that nothing that looks at it within its own statement puts it into memory; after it, for what other
-- triggers have made of the row. Also under session_replication_role = replica: restores and apply workers set it.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['total', 'slot', 'visitors', 'visit'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_change_before BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.note_foreign_change()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_change AFTER INSERT OR UPDATE OR DELETE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.note_foreign_change()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_truncate BEFORE TRUNCATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_truncate()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_truncate_after AFTER TRUNCATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_truncate()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_change_before,
            ENABLE ALWAYS TRIGGER note_foreign_change, ENABLE ALWAYS TRIGGER note_foreign_truncate,
            ENABLE ALWAYS TRIGGER note_foreign_truncate_after', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_insert', relation);
    END LOOP;
END
$$;
CREATE FUNCTION counter_ext.guard_journal() RETURNS trigger
    AS 'MODULE_PATHNAME', 'guard_journal_wrapper' LANGUAGE c;
CREATE FUNCTION counter_ext.refuse_journal_truncate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'refuse_journal_truncate_wrapper' LANGUAGE c;
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['journal', 'journal_tail'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER guard_rows BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.guard_journal()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.refuse_journal_truncate()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER guard_rows,
            ENABLE ALWAYS TRIGGER guard_truncate', relation);
    END LOOP;
END
$$;
"#,
    name = "foreign_change_triggers",
    requires = [
        counter_ext::note_foreign_change,
        counter_ext::note_foreign_insert,
        counter_ext::note_foreign_truncate,
        guard_journal,
        refuse_journal_truncate,
        "counter_visitors_tables"
    ]
);

extension_sql!(
    r#"
-- These rows are written by who owns the table: see src/rows/by_hand.rs. The statement is refused before it locks anything, and each row as well: an apply worker
-- fires no triggers of statements, and from PostgreSQL 16 on it may apply with the rights of whoever has made its subscription. This trigger comes
-- before the others of its row, which go by their names. Also under session_replication_role = replica: apply workers and restores set it, and anybody
-- to whom that is granted could.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['watch', 'expiry', 'cache', 'tracked', 'board', 'board_snapshot', 'board_window', 'board_score'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER check_row_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER check_written_by_hand,
            ENABLE ALWAYS TRIGGER check_row_written_by_hand', relation);
    END LOOP;
    -- Statements that fill these are refused by note_foreign_insert.
    FOREACH relation IN ARRAY ARRAY['rolled', 'audit_pending', 'audit_log_default', 'audit_head', 'audit_anchor'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER check_row_written_by_hand BEFORE INSERT ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER check_row_written_by_hand', relation);
    END LOOP;
END
$$;
"#,
    name = "by_hand_triggers",
    requires = [
        counter_ext::check_written_by_hand,
        "counter_live_tables",
        "counter_expiry_tables",
        "counter_series_tables",
        "counter_boards_tables",
        "counter_board_windows_tables",
        "counter_cache_registry",
        "counter_audit_tables"
    ]
);
