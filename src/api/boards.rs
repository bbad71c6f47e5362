//! Boards: `counter_board`, `counter_unboard`, and what is read of them and counted on them.

use pgrx::WhoAllocated;
use pgrx::prelude::*;

use super::triggers;
use crate::boards::board_rows::BOARD;
use crate::boards::ranked::Ranked;
use crate::boards::windows::window_rows::WINDOWS;
use crate::boards::{chosen, declaring, reading, snapshots, windows};
use crate::counting::following;
use crate::errors::{CounterError, OrRaise, given};
use crate::family::followed;
use crate::pg::args::{IntervalArg, TextArg, TextBytes};
use crate::pg::process;

/// Declares that the counters whose ids begin with `prefix`, and go on, form a board: what follows the prefix is a member, and its score is the
/// counter's total, counted in whatever way. Any counters can be ranked, those that there are already too; the empty prefix means all. Returns
/// whether there was no such board. To declare one waits for all transactions that have incremented anything, and keeps others waiting
/// until it is committed. Up to ten thousand members are there at once; more of them are added by compaction soon after.
///
/// With `by`, hour, day, week or month, it is a board by windows of that length, which begin as those of `date_trunc` in the time zone that
/// counter_ext.time_zone is as it is declared. The score of a member is what its total has changed by in the window that is under way; a member is who has
/// counted in it. Windows end by themselves, and finished ones are kept for `keep`, by default 90 days: `counter_board_top(board, n, at)` shows that of a
/// time. A prefix may have a board for ever and one of each length at once. Declared again with another `keep`, it is kept for that long; returns
/// whether that changed anything.
///
/// Errors: 22004 NULL prefix, or `keep` without `by`; 22023 over-long prefix, `by` is no such length, or `keep` is negative; 25006 read-only transaction or
/// standby; 42501 INSERT on counter_ext.board, or board_window, is missing; 42710 its windows begin by another time zone; 55000 increments have still
/// to be recovered after a start; 55006 another transaction changes the board by hand, an earlier one is still being removed, or somebody holds a total of
/// the prefix by hand.
#[pg_extern]
fn counter_board(
    prefix: Option<TextArg<'_>>,
    by: default!(Option<TextArg<'_>>, "NULL"),
    keep: default!(Option<IntervalArg<'_>>, "NULL"),
) -> bool {
    given("prefix", prefix)
        .and_then(|prefix| chosen::declare(prefix.0, by.map(|by| by.0), keep.map(|keep| keep.0)))
        .or_raise()
}

/// Ends a board, with `by` that of windows of this length; its counters and snapshots stay, its windows are forgotten. Returns whether
/// there was one.
///
/// Errors: 22004 NULL prefix; 22023 over-long prefix, or `by` is no length; 25006 read-only transaction or standby; 42501 DELETE on counter_ext.board, or
/// board_window, is missing; 55006 another transaction changes the board.
#[pg_extern]
fn counter_unboard(prefix: Option<TextArg<'_>>, by: default!(Option<TextArg<'_>>, "NULL")) -> bool {
    given("prefix", prefix).and_then(|prefix| chosen::end(prefix.0, by.map(|by| by.0))).or_raise()
}

/// Adds `delta` to a member's score: `counter_incr` of board and member together.
///
/// Errors: those of `counter_incr`; 22023 empty member; 42704 there is no such board.
#[pg_extern(strict)]
fn counter_board_incr(board: TextArg<'_>, member: TextArg<'_>, delta: default!(i64, 1)) {
    reading::increment(board.0, member.0, delta).or_raise();
}

/// The first `n` members with their ranks, which are those of `rank() OVER (ORDER BY score DESC)`: members with equal scores have the same rank, the
/// next one a rank as many further, and they come in the order of their bytes. All that is committed by now counts, and what the
/// caller's transaction did. Where more than a thousand members have changed since compaction last passed, others' changes
/// show a pass later. A total outside bigint ranks as the greatest, or least, bigint.
///
/// Of a board by windows it is the window under way, and with `at` that which `at` is in, if it is kept. Of a board for ever `at` shows the last
/// copy that `counter_board_snapshot` took by then. `by` says which board of the prefix is meant; without it that is the one for ever, or, where there is
/// none, the only one by windows. NULL in place of the board or `n` gives no rows.
///
/// Errors: 22023 negative n, or `by` is no length; 42501 SELECT on counter_ext.total is missing, or on board_snapshot; 42704 there is no such board; 42P08
/// there are several by windows, and `by` is not given; 55000 it is still being built.
#[pg_extern(parallel_restricted)]
fn counter_board_top(
    board: Option<TextArg<'_>>,
    n: default!(Option<i32>, 10),
    at: default!(Option<TimestampWithTimeZone>, "NULL"),
    by: default!(Option<TextArg<'_>>, "NULL"),
) -> TableIterator<'static, (name!(rank, i64), name!(member, TextBytes), name!(score, i64))> {
    let at_us = at.map(process::timestamp_us);
    shown(match (board, n) {
        (Some(board), Some(n)) => at_most(n).and_then(|n| chosen::top(board.0, n, at_us, by.map(|by| by.0))),
        _ => Ok(Vec::new()),
    })
}

/// The rank of a member; NULL where it is not on the board. All that is committed by now counts, and what the caller's transaction did. Where more
/// than a hundred members have changed since compaction last passed, and on a standby, that holds for the member's own score; those of the
/// others are as of then. It takes a look at some hundreds of rows at most, however many members there are. `by` as `counter_board_top`.
///
/// Errors: 22023 empty member, or one that makes no id with the board; 22023, 42501, 42704, 42P08, 55000 as `counter_board_top`.
#[pg_extern(parallel_restricted)]
fn counter_board_rank(
    board: Option<TextArg<'_>>,
    member: Option<TextArg<'_>>,
    by: default!(Option<TextArg<'_>>, "NULL"),
) -> Option<i64> {
    chosen::rank(board?.0, member?.0, by.map(|by| by.0)).or_raise()
}

/// A member, the `n` before it and the `n` behind it, in the board's order, with ranks and scores as `counter_board_rank` sees them. No rows where it
/// is not on the board. `by` as `counter_board_top`.
///
/// Errors: those of `counter_board_rank`; 22023 negative n.
#[pg_extern(parallel_restricted)]
fn counter_board_around(
    board: Option<TextArg<'_>>,
    member: Option<TextArg<'_>>,
    n: default!(Option<i32>, 5),
    by: default!(Option<TextArg<'_>>, "NULL"),
) -> TableIterator<'static, (name!(rank, i64), name!(member, TextBytes), name!(score, i64))> {
    shown(match (board, member, n) {
        (Some(board), Some(member), Some(n)) => {
            at_most(n).and_then(|n| chosen::around(board.0, member.0, n, by.map(|by| by.0)))
        }
        _ => Ok(Vec::new()),
    })
}

/// Copies the board as `counter_board_top` shows it into counter_ext.board_snapshot, and returns the copy's time, by which
/// `counter_board_top(board, n, at)` finds it. Who no longer needs old copies deletes them there.
///
/// Errors: those of `counter_board_top`; 25006 read-only transaction or standby; 42501 INSERT on counter_ext.board_snapshot is missing.
#[pg_extern(strict)]
fn counter_board_snapshot(board: TextArg<'_>) -> Option<TimestampWithTimeZone> {
    process::timestamp(snapshots::take(board.0).or_raise())
}

fn at_most(n: i32) -> Result<usize, CounterError> {
    usize::try_from(n).map_err(|_| CounterError::NegativeArgument { argument: "n", value: i64::from(n) })
}

#[allow(clippy::type_complexity)]
fn shown(
    ranked: Result<Vec<Ranked>, CounterError>,
) -> TableIterator<'static, (name!(rank, i64), name!(member, TextBytes), name!(score, i64))> {
    let rows = ranked.or_raise().into_iter();
    TableIterator::new(rows.map(|Ranked { rank, member, score }| (rank, TextBytes(member.into_vec()), score)))
}

#[pg_schema]
mod counter_ext {
    use super::*;

    /// Trigger: before a statement, or a row that comes without one, after each row, and after all. Somebody else, a restore for one, changes which
    /// boards there are.
    #[pg_trigger]
    fn note_board_change<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        triggers::own_table(trigger).or_raise();
        if trigger.event().fired_before() {
            following::change_by_hand().or_raise();
        }
        if let Some(table) = BOARD.find() {
            followed::announce(table);
        }
        let is_done = !trigger.event().fired_before();
        for row in [trigger.old(), trigger.new()].into_iter().flatten().filter(|_| is_done) {
            if let Ok(Some(prefix)) = row.get_by_name::<TextBytes>("prefix") {
                declaring::changed_by_hand(&prefix.0).or_raise();
            }
        }
        Ok(trigger.new().or(trigger.old()))
    }

    /// Trigger: the same of boards by windows.
    #[pg_trigger]
    fn note_board_window_change<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        triggers::own_table(trigger).or_raise();
        if trigger.event().fired_before() {
            following::change_by_hand().or_raise();
        }
        if let Some(table) = WINDOWS.find() {
            followed::announce(table);
        }
        let is_done = !trigger.event().fired_before();
        for row in [trigger.old(), trigger.new()].into_iter().flatten().filter(|_| is_done) {
            if let (Ok(Some(prefix)), Ok(Some(length))) =
                (row.get_by_name::<TextBytes>("prefix"), row.get_by_name::<TextBytes>("length"))
            {
                windows::declaring::changed_by_hand(&prefix.0, &length.0).or_raise();
            }
        }
        Ok(trigger.new().or(trigger.old()))
    }
}

extension_sql_file!(
    "../../sql/board_windows.sql",
    name = "counter_board_windows_tables",
    requires = ["counter_boards_tables"]
);

extension_sql_file!("../../sql/boards.sql", name = "counter_boards_tables", requires = ["counter_ext_type"]);

extension_sql!(
    r#"
-- Also under session_replication_role = replica: restores set it.
CREATE TRIGGER note_board_change_before BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.board
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_board_change();
CREATE TRIGGER note_board_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.board
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_board_change();
CREATE TRIGGER note_board_change_row AFTER INSERT OR UPDATE OR DELETE ON counter_ext.board
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_board_change();
ALTER TABLE counter_ext.board ENABLE ALWAYS TRIGGER note_board_change_before, ENABLE ALWAYS TRIGGER note_board_change,
    ENABLE ALWAYS TRIGGER note_board_change_row;
-- An apply worker fires none of statements.
CREATE TRIGGER note_board_change_row_before BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.board
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_board_change();
ALTER TABLE counter_ext.board ENABLE REPLICA TRIGGER note_board_change_row_before;

CREATE TRIGGER note_board_window_change_before BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.board_window
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_board_window_change();
CREATE TRIGGER note_board_window_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.board_window
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_board_window_change();
CREATE TRIGGER note_board_window_change_row AFTER INSERT OR UPDATE OR DELETE ON counter_ext.board_window
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_board_window_change();
ALTER TABLE counter_ext.board_window ENABLE ALWAYS TRIGGER note_board_window_change_before,
    ENABLE ALWAYS TRIGGER note_board_window_change, ENABLE ALWAYS TRIGGER note_board_window_change_row;
CREATE TRIGGER note_board_window_change_row_before BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.board_window
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_board_window_change();
ALTER TABLE counter_ext.board_window ENABLE REPLICA TRIGGER note_board_window_change_row_before;
-- While a restore fills them, no window is built.
CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.board_window
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert();
ALTER TABLE counter_ext.board_window ENABLE ALWAYS TRIGGER note_foreign_insert;
CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.board_score
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert();
ALTER TABLE counter_ext.board_score ENABLE ALWAYS TRIGGER note_foreign_insert;
"#,
    name = "counter_board_triggers",
    requires = [
        "counter_boards_tables",
        "counter_board_windows_tables",
        counter_ext::note_board_change,
        counter_ext::note_board_window_change,
        "foreign_change_triggers"
    ]
);

extension_sql!(
    r#"
CREATE FUNCTION counter_board_incr(board text, member bigint, delta bigint DEFAULT 1) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_board_incr($1, $2::pg_catalog.text, $3); END;
CREATE FUNCTION counter_board_incr(board text, member uuid, delta bigint DEFAULT 1) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_board_incr($1, $2::pg_catalog.text, $3); END;
CREATE FUNCTION counter_board_rank(board text, member bigint, by text DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_board_rank($1, $2::pg_catalog.text, $3); END;
CREATE FUNCTION counter_board_rank(board text, member uuid, by text DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_board_rank($1, $2::pg_catalog.text, $3); END;
CREATE FUNCTION counter_board_around(board text, member bigint, n integer DEFAULT 5, by text DEFAULT NULL)
    RETURNS TABLE (rank bigint, member text, score bigint) LANGUAGE sql VOLATILE
    BEGIN ATOMIC SELECT * FROM @extschema@.counter_board_around($1, $2::pg_catalog.text, $3, $4); END;
CREATE FUNCTION counter_board_around(board text, member uuid, n integer DEFAULT 5, by text DEFAULT NULL)
    RETURNS TABLE (rank bigint, member text, score bigint) LANGUAGE sql VOLATILE
    BEGIN ATOMIC SELECT * FROM @extschema@.counter_board_around($1, $2::pg_catalog.text, $3, $4); END;
"#,
    name = "counter_board_members",
    requires = [counter_board_incr, counter_board_rank, counter_board_around, "counter_boards_tables"]
);
