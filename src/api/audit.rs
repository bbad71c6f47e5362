//! The audit log: `counter_audit` and `counter_audit_verify`.

use pgrx::WhoAllocated;
use pgrx::prelude::*;

use crate::audit::audited_rows::AUDITED;
use crate::audit::{switching, verification};
use crate::errors::OrRaise;
use crate::owners::check_id;
use crate::pg::args::TextArg;
use crate::pg::catalog;

/// Begins (`on`) or ends auditing of all counters whose ids begin with `prefix`; the empty one means all. Returns whether that
/// changed anything. From then on every change of theirs is appended to the log in its own transaction, with delta, operation, actor
/// (whom the call names, else the setting counter_ext.actor, else the session's user), time, xid and node. Counters that exist begin with an entry of what the
/// log lacks: their total, or, where they were audited before, what was missed since. To begin waits for all
/// transactions that have incremented anything, and keeps others waiting meanwhile; to end keeps nobody waiting, and the log stays.
///
/// Errors: 22023 over-long prefix; 25006 read-only transaction or standby; 42501 INSERT on counter_ext.audited is missing to begin,
/// DELETE to end; 55000 increments have still to be recovered after a start; 55006 another transaction changes the prefix by hand.
#[pg_extern(strict)]
fn counter_audit(prefix: TextArg<'_>, on: bool) -> bool {
    switching::switch(prefix.0, on).or_raise()
}

/// Verifies the log of a counter as of now: recomputes its chain of SHA-256 hashes from the first entry to the last, and compares the
/// sum of its entries, sealed or not, with the total. `broken_seq` is the first entry that is missing, changed, added or
/// moved, `problem` says which; both are NULL, and `ok` true, where nothing is wrong. `ok` is NULL where the counter is not
/// audited and has no log. Both sums are of all nodes. Where an audited counter has no log at all, the chains of all counters are compared
/// with their anchor: one that is gone whole shows there.
///
/// Errors: 22023 as `counter_incr`; 42501 SELECT on counter_ext.total or counter_ext.audit_log is missing; 55000 increments have still
/// to be recovered after a start.
#[pg_extern(strict)]
#[allow(clippy::type_complexity)]
fn counter_audit_verify(
    id: TextArg<'_>,
) -> TableIterator<
    'static,
    (
        name!(ok, Option<bool>),
        name!(entries, i64),
        name!(log_sum, AnyNumeric),
        name!(total, AnyNumeric),
        name!(broken_seq, Option<i64>),
        name!(problem, Option<String>),
    ),
> {
    let verdict = check_id(id.0).and_then(|()| verification::verify(id.0)).or_raise();
    TableIterator::once((
        verdict.ok,
        verdict.entries as i64,
        verdict.log_sum.into(),
        verdict.total.into(),
        verdict.broken_seq,
        verdict.problem,
    ))
}

/// Verifies that no chain of the log is gone as a whole, or has been made anew: compares the last links of all of them with the
/// anchor that sealing keeps. Reads each chain's last link, not its entries. `ok` is true where `problem` is NULL.
///
/// Errors: 42501 SELECT on counter_ext.total or counter_ext.audit_log is missing.
#[pg_extern(name = "counter_audit_verify")]
fn counter_audit_verify_all() -> TableIterator<
    'static,
    (name!(ok, bool), name!(chains, i64), name!(entries, i64), name!(problem, Option<String>)),
> {
    let verdict = verification::verify_anchor().or_raise();
    TableIterator::once((verdict.problem.is_none(), verdict.chains, verdict.entries, verdict.problem))
}

#[pg_schema]
mod counter_ext {
    use super::*;
    use crate::api::triggers;

    /// Trigger, after a statement, or a row that comes without one: somebody else, a restore for one, changes which counters are audited.
    #[pg_trigger]
    fn note_audited_change<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        triggers::own_table(trigger).or_raise();
        if let Some(table) = AUDITED.find() {
            catalog::announce_change(table);
        }
        Ok(trigger.new())
    }
}

extension_sql!(
    r#"
CREATE FUNCTION counter_audit_verify(id counter)
    RETURNS TABLE (ok boolean, entries bigint, log_sum numeric, total numeric, broken_seq bigint, problem text)
    AS 'MODULE_PATHNAME', 'counter_audit_verify_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_audit_verify(id bigint)
    RETURNS TABLE (ok boolean, entries bigint, log_sum numeric, total numeric, broken_seq bigint, problem text)
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT * FROM @extschema@.counter_audit_verify($1::pg_catalog.text); END;
CREATE FUNCTION counter_audit_verify(id uuid)
    RETURNS TABLE (ok boolean, entries bigint, log_sum numeric, total numeric, broken_seq bigint, problem text)
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT * FROM @extschema@.counter_audit_verify($1::pg_catalog.text); END;
"#,
    name = "counter_audit_ids",
    requires = [counter_audit_verify, "counter_ext_type"]
);

extension_sql_file!("../../sql/audit.sql", name = "counter_audit_tables", requires = ["counter_ext_type"]);

extension_sql!(
    r#"
-- Also under session_replication_role = replica: restores set it.
CREATE TRIGGER note_audited_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.audited
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_audited_change();
ALTER TABLE counter_ext.audited ENABLE ALWAYS TRIGGER note_audited_change;
-- An apply worker fires none of statements.
CREATE TRIGGER note_audited_change_row AFTER INSERT OR UPDATE OR DELETE ON counter_ext.audited
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_audited_change();
ALTER TABLE counter_ext.audited ENABLE REPLICA TRIGGER note_audited_change_row;
-- While a restore fills them, nothing is sealed.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['audit_pending', 'audit_log_default', 'audit_head', 'audit_anchor'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_insert', relation);
    END LOOP;
END
$$;
"#,
    name = "counter_audit_triggers",
    requires = ["counter_audit_tables", counter_ext::note_audited_change, "foreign_change_triggers"]
);
