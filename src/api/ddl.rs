//! Event triggers: what a command of DDL must not do unasked, and what one changes past our other triggers.

use pgrx::prelude::*;

use crate::caches;
use crate::counting::{column_guard, transaction};
use crate::errors::{CounterError, OrRaise};
use crate::pg::catalog;
use crate::pg::ddl::Command;
use crate::pg::trigger::{NoTuple, TriggerCall};
use crate::rows::by_hand;

/// Before ALTER TABLE and the like. Errors: 42804 a column of numbers would become one of counters without a USING.
#[pg_extern(sql = false, name = "before_ddl")]
fn before_ddl(call: TriggerCall<'_>) -> NoTuple {
    call.command().map_or(Ok(()), column_guard::check).or_raise();
    NoTuple
}

/// After CREATE TRIGGER and ALTER TABLE. Errors: 55000, 42710 a trigger of counter_rows counts into another cache's counters.
#[pg_extern(sql = false, name = "after_ddl")]
fn after_ddl(call: TriggerCall<'_>) -> NoTuple {
    call.command().map_or(Ok(()), changed).or_raise();
    NoTuple
}

fn changed(command: Command<'_>) -> Result<(), CounterError> {
    if let Some(trigger) = command.created_trigger() {
        return caches::check_created(&trigger);
    }
    if let Some(partition) = command.attached_partition() {
        return caches::guard_partitions(partition);
    }
    // The extension's own script switches triggers too.
    if catalog::is_creating_extension(c"counter_ext") {
        return Ok(());
    }
    // As pg_restore --disable-triggers does it, to fill the table: no trigger of ours sees that.
    if command.table_with_switched_triggers().is_some_and(by_hand::is_ours) {
        transaction::note_all_touched();
        transaction::note_by_hand();
        transaction::note_restore();
    }
    Ok(())
}

extension_sql!(
    r#"
CREATE FUNCTION counter_ext.before_ddl() RETURNS event_trigger AS 'MODULE_PATHNAME', 'before_ddl_wrapper' LANGUAGE c;
CREATE FUNCTION counter_ext.after_ddl() RETURNS event_trigger AS 'MODULE_PATHNAME', 'after_ddl_wrapper' LANGUAGE c;
CREATE EVENT TRIGGER counter_ext_before_ddl ON ddl_command_start WHEN TAG IN ('ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER TYPE')
    EXECUTE FUNCTION counter_ext.before_ddl();
CREATE EVENT TRIGGER counter_ext_after_ddl ON ddl_command_end WHEN TAG IN ('ALTER TABLE', 'CREATE TRIGGER')
    EXECUTE FUNCTION counter_ext.after_ddl();
"#,
    name = "counter_event_triggers",
    requires = [
        before_ddl,
        after_ddl,
        "foreign_change_triggers",
        "counter_likes_tables",
        "counter_audit_triggers",
        "counter_limits_tables",
        "counter_idempotency_tables",
        "counter_series_sql",
        "counter_board_triggers",
        "counter_live_triggers"
    ]
);
