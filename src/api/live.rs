//! Live totals: `counter_watch` and `counter_unwatch`.

use pgrx::WhoAllocated;
use pgrx::prelude::*;

use super::triggers;
use crate::counting::following;
use crate::errors::{CounterError, OrRaise, given};
use crate::family::followed;
use crate::live::watch_rows::WATCH;
use crate::live::watching;
use crate::pg::args::{IntervalArg, TextArg};

/// Has the totals of the counters whose ids begin with `prefix` sent to `channel` as they change: the worker sends a NOTIFY with a JSON array
/// of `{"id": …, "value": …}`, several where 8000 bytes do not hold it, after each compaction that has found changes, and no more often than
/// `at_most_every`, which is up to a day. Each value is what counter_get says then, null outside bigint. Nothing is sent while nothing changes, and what
/// changed last is always sent, if only after a crash, or once a full queue of notifications has room again; what is dropped where nobody counts, within
/// ten seconds. What TRUNCATE of counter_ext.total and `counter_forget_all` take away is not sent. Where there is no
/// worker, `counter_compact()` sends. Everybody can LISTEN: so it takes the right to read counters, now and later. Watched already, it is from then on
/// watched by the caller, this often. Returns whether that changed anything. It waits for all transactions that have incremented anything,
/// and keeps others waiting until it is committed.
///
/// Errors: 22004 NULL argument; 22023 over-long prefix, empty or over-long channel, negative or over-long interval; 25006 read-only transaction or standby; 42501 SELECT on
/// counter_ext.total or INSERT on counter_ext.watch is missing; 55006 another transaction changes the watch by hand.
#[pg_extern]
fn counter_watch(
    prefix: Option<TextArg<'_>>,
    channel: Option<TextArg<'_>>,
    at_most_every: default!(Option<IntervalArg<'_>>, "'1 s'"),
) -> bool {
    let watch = || -> Result<bool, CounterError> {
        let (prefix, channel) = (given("prefix", prefix)?.0, given("channel", channel)?.0);
        watching::watch(prefix, channel, given("at_most_every", at_most_every)?.0)
    };
    watch().or_raise()
}

/// Has nothing more sent; returns whether there was such a watch. What has not been sent yet is not sent any more.
///
/// Errors: as above, with DELETE on counter_ext.watch.
#[pg_extern]
fn counter_unwatch(prefix: Option<TextArg<'_>>, channel: Option<TextArg<'_>>) -> bool {
    let unwatch = || -> Result<bool, CounterError> {
        watching::unwatch(given("prefix", prefix)?.0, given("channel", channel)?.0)
    };
    unwatch().or_raise()
}

#[pg_schema]
mod counter_ext {
    use super::*;

    /// Trigger, before and after a statement, or a row that comes without one: somebody else, a restore for one, changes what is watched.
    #[pg_trigger]
    fn note_watch_change<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        triggers::own_table(trigger).or_raise();
        if trigger.event().fired_before() {
            following::change_by_hand().or_raise();
        }
        if let Some(table) = WATCH.find() {
            followed::announce(table);
        }
        Ok(trigger.new().or(trigger.old()))
    }
}

extension_sql_file!("../../sql/live.sql", name = "counter_live_tables", requires = ["counter_ext_type"]);

extension_sql!(
    r#"
-- Also under session_replication_role = replica: restores set it.
CREATE TRIGGER note_watch_change_before BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.watch
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_watch_change();
CREATE TRIGGER note_watch_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.watch
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_watch_change();
ALTER TABLE counter_ext.watch ENABLE ALWAYS TRIGGER note_watch_change_before, ENABLE ALWAYS TRIGGER note_watch_change;
-- An apply worker fires none of those.
CREATE TRIGGER note_watch_change_row_before BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.watch
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_watch_change();
CREATE TRIGGER note_watch_change_row AFTER INSERT OR UPDATE OR DELETE ON counter_ext.watch
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_watch_change();
ALTER TABLE counter_ext.watch ENABLE REPLICA TRIGGER note_watch_change_row_before, ENABLE REPLICA TRIGGER note_watch_change_row;
"#,
    name = "counter_live_triggers",
    requires = ["counter_live_tables", counter_ext::note_watch_change, "foreign_change_triggers"]
);
