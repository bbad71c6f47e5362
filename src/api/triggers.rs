//! Triggers on our own tables: what an administrator, a restore or an apply worker changes in rows is forgotten in
//! memory when it commits.

use pgrx::WhoAllocated;
use pgrx::prelude::*;

use crate::counting::transaction;
use crate::pg::args::TextBytes;
use crate::rows::access;

fn note(row: Option<PgHeapTuple<'_, impl WhoAllocated>>) {
    let Some(row) = row else { return };
    match (access::find_tables(), row.get_by_name::<TextBytes>("id")) {
        (Some(tables), Ok(Some(id))) => transaction::note_touched(tables, &id.0),
        _ => transaction::note_all_touched(),
    }
}

#[pg_schema]
mod counter_ext {
    use super::*;

    /// Row trigger: notes the changed row's id.
    #[pg_trigger]
    fn note_foreign_change<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        note(trigger.old());
        note(trigger.new());
        Ok(trigger.new().or(trigger.old()))
    }

    /// Statement trigger, before it: somebody else fills our tables.
    #[pg_trigger]
    fn note_foreign_insert<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        transaction::note_restore();
        Ok(trigger.new())
    }

    /// Statement trigger: TRUNCATE changes everything.
    #[pg_trigger]
    fn note_foreign_truncate<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        transaction::note_all_touched();
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
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_change_before,
            ENABLE ALWAYS TRIGGER note_foreign_change, ENABLE ALWAYS TRIGGER note_foreign_truncate', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_insert', relation);
    END LOOP;
END
$$;
"#,
    name = "foreign_change_triggers",
    requires = [
        counter_ext::note_foreign_change,
        counter_ext::note_foreign_insert,
        counter_ext::note_foreign_truncate,
        "counter_visitors_tables"
    ]
);
