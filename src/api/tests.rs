//! One function, one behaviour, inside a server.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use super::*;
    use crate::pg::Oid;
    use crate::pg::confined::as_caller;
    use crate::pg::errors::SourceError;
    use crate::pg::id_scan::Range;
    use crate::pg::snapshot::{ActiveSnapshot, Snapshot};
    use crate::pg::spi::Spi as OurSpi;
    use crate::pg::table::Access;
    use crate::pg::table_query::{Condition, TableQuery};
    use crate::pg::xact;
    use crate::rows::column_types::*;
    use crate::rows::family_table::FamilyTable;
    use crate::rows::noted;

    fn bigint(query: &str) -> i64 {
        Spi::get_one::<i64>(query).expect("query failed").expect("query gave NULL")
    }

    fn run(command: &str) {
        Spi::run(command).expect("command failed");
    }

    fn get(id: &str) -> i64 {
        bigint(&format!("SELECT counter_get('{id}')"))
    }

    /// PostgreSQL 18 with assertions stops where one that is neither registered nor active is read through.
    #[pg_test]
    fn each_snapshot_is_registered_and_shares_nothing_with_another() {
        let active = Snapshot::of_query();
        let [first, second] = [Snapshot::fresh(), Snapshot::fresh()];
        for (snapshot, other) in [(&active, &first), (&first, &second), (&second, &active)] {
            assert_eq!(snapshot.registrations(), 1);
            assert!(!snapshot.shares_memory_with(other));
        }
        drop(first);
        assert_eq!(second.registrations(), 1);
    }

    /// A query of users' tables runs only over what it means: their names could be another's by then.
    #[pg_test]
    fn a_query_of_tables_reads_and_calls_what_is_meant_only() {
        run("CREATE TABLE meant (key text, number int); CREATE TABLE other (key text); INSERT INTO meant VALUES ('a', 1);
            CREATE DOMAIN short AS text CHECK (length(VALUE) < 9);
            CREATE FUNCTION says_yes(text, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
            CREATE OPERATOR === (LEFTARG = text, RIGHTARG = int, FUNCTION = says_yes)");
        let oid = |query: &str| Spi::get_one::<Oid>(query).expect("query failed").expect("an oid");
        let meant = oid("SELECT 'meant'::regclass::oid");
        let operator = oid("SELECT oid FROM pg_operator WHERE oprname = '==='");
        let read = |sql: &str, calls: bool| {
            let condition = Condition { sql: Vec::new(), operators: vec![operator], values: Vec::new() };
            let query = TableQuery::of(sql.into(), &[meant]).with(calls.then_some(&condition));
            as_caller(|confined| {
                let active = ActiveSnapshot::push_latest();
                let rows = OurSpi::connect(confined)?.rows_of(&query, &[]);
                drop(active);
                rows.map(|rows| rows.len())
            })
        };
        for sql in [
            "SELECT key FROM public.meant",
            "SELECT k.key FROM (SELECT key, count(*) AS n FROM ONLY public.meant GROUP BY 1) AS k JOIN public.meant AS o ON k.key = o.key",
            "SELECT pg_catalog.format('%s', key) COLLATE pg_catalog.\"C\" FROM public.meant WHERE key = ANY ('{a,b}'::pg_catalog.text[]) AND key IS NOT NULL",
        ] {
            assert_eq!(read(sql, false), Ok(1), "{sql}");
        }
        let renamed = Err(SourceError::Renamed.into());
        for sql in [
            "SELECT key FROM public.other",
            "SELECT m.key FROM public.meant AS m JOIN public.other AS o ON m.key = o.key",
            "SELECT key FROM (SELECT key FROM public.other) AS o",
            "SELECT key FROM public.meant WHERE EXISTS (SELECT FROM public.other)",
            "WITH o AS (SELECT key FROM public.other) SELECT key FROM o",
            "SELECT key FROM public.meant WHERE public.says_yes(key, 1)",
            "SELECT key FROM public.meant WHERE key OPERATOR(public.===) 1",
            "SELECT key FROM public.meant WHERE key OPERATOR(public.===) ANY ('{1}'::pg_catalog.int4[])",
            "SELECT key::public.short FROM public.meant",
            "SELECT n FROM pg_catalog.generate_series(1, 2) AS n",
        ] {
            let raised = PgTryBuilder::new(|| read(sql, false).map(|_| ()))
                .catch_when(PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE, |_| {
                    Err(SourceError::Renamed.into())
                })
                .execute();
            assert_eq!(raised, renamed, "{sql}");
        }
        assert_eq!(read("SELECT key FROM public.meant WHERE key OPERATOR(public.===) 1", true), Ok(1));
    }

    /// Whoever takes what has been noted of an id answers for all that has been.
    #[pg_test]
    fn rows_of_an_id_are_taken_together() {
        const WANTED: FamilyTable = FamilyTable {
            name: "drop_wanted",
            relation: c"drop_wanted",
            columns: &[TEXT, INT8],
            key: "id, entry",
            hint: "",
        };
        run(
            "INSERT INTO counter_ext.drop_wanted VALUES ('w:a', 1), ('w:a', 2), ('w:b', 1), ('w:b', 2), ('w:c', 1)",
        );
        let table = WANTED.lock(Access::Write).expect("the table");
        let wanted = WANTED.open(table, Access::Write).expect("its key");
        let take = |most| {
            let ids = noted::take(&wanted, Range::After(b""), 0, most, "ids").expect("memory");
            xact::see_own_changes();
            ids.iter().map(|id| String::from_utf8_lossy(id).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(take(2), ["w:a", "w:b"]);
        assert_eq!(take(2), ["w:c"]);
    }

    /// Days of 23 and 25 hours, offsets of quarters of an hour and of seconds, a day that never was, years far away: as PostgreSQL's
    /// own `AT TIME ZONE` says.
    #[pg_test]
    fn days_are_those_of_the_time_zone_that_is_set() {
        const ZONES: [&str; 8] = [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Pacific/Kiritimati",
            "Pacific/Apia",
            "Asia/Kathmandu",
            "Australia/Lord_Howe",
            "-3.5",
        ];
        for zone in ZONES {
            run(&format!("SET counter_ext.time_zone = '{zone}'; SET timezone = '{zone}'"));
            // Each half hour of the days on which clocks change, and every 1000003 s between two years.
            run("CREATE TEMP TABLE instants AS
                 SELECT d + h * interval '30 minutes' - o * interval '1 microsecond' AS at
                 FROM (VALUES (timestamptz '2026-03-27 00:00Z'), ('2026-10-23 00:00Z'), ('2011-12-28 00:00Z'), ('2026-11-01 00:00Z')) AS v (d),
                     generate_series(0, 144) AS h, generate_series(0, 1) AS o
                 UNION ALL SELECT generate_series(timestamptz '1890-01-01', timestamptz '2090-01-01', interval '1000003 seconds')");
            let instants = bigint("SELECT count(*) FROM instants");
            assert!(instants > 6000);
            let mut wrong = 0;
            Spi::connect(|client| {
                let rows = client
                    .select(
                        "SELECT (extract(epoch FROM at) * 1000000)::bigint - 946684800000000, at::date - date '2000-01-01' FROM instants",
                        None,
                        &[],
                    )
                    .expect("query failed");
                for row in rows {
                    let at_us = row.get::<i64>(1).ok().flatten().expect("an instant");
                    let day = row.get::<i32>(2).ok().flatten().expect("a day");
                    wrong += i32::from(crate::pg::time_zone::day_of(at_us) != day);
                }
            });
            assert_eq!(wrong, 0, "{zone}");
            run("DROP TABLE instants");
        }
    }

    #[pg_test]
    fn an_unknown_counter_reads_zero() {
        assert_eq!(get("t:unknown"), 0);
    }

    #[pg_test]
    fn an_increment_is_seen_by_its_own_transaction() {
        run("SELECT counter_incr('t:own'), counter_incr('t:own', 41)");
        assert_eq!(get("t:own"), 42);
        assert_eq!(bigint("SELECT counter_get_exact('t:own')"), 42);
    }

    #[pg_test]
    fn nothing_is_written_before_commit() {
        run("SELECT counter_incr('t:pending')");
        assert_eq!(bigint("SELECT count(*) FROM counter_ext.slot WHERE id = 't:pending'"), 0);
    }

    #[pg_test]
    fn an_integer_is_an_id() {
        run("SELECT counter_incr(7001, 3)");
        assert_eq!(get("7001"), 3);
        assert_eq!(bigint("SELECT counter_get(7001)"), 3);
    }

    #[pg_test]
    fn an_id_of_each_type_is_its_text() {
        run(
            "SELECT counter_incr(7002::smallint, 1), counter_incr(7002::bigint), counter_incr('7002'::varchar), counter_incr('7002'::counter), counter_incr(7002, 5::numeric)",
        );
        assert_eq!(get("7002"), 9);
        run("SELECT counter_incr('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid)");
        assert_eq!(get("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), 1);
    }

    #[pg_test]
    fn add_returns_what_get_says_next() {
        assert_eq!(bigint("SELECT counter_add('t:add')"), 1);
        assert_eq!(bigint("SELECT counter_add('t:add', 41)"), 42);
        assert_eq!(
            bigint("SELECT counter_add('t:add'::counter, sum(n)) FROM (VALUES (3::bigint), (5)) AS v (n)"),
            50
        );
        assert_eq!(get("t:add"), 50);
    }

    #[pg_test(error = "argument \"delta\" is 9.99; it must be a whole number")]
    fn a_fraction_is_no_delta() {
        run("SELECT counter_incr('t:fraction', 9.99)");
    }

    #[pg_test(error = "a counter is an id, not a number that could be added to")]
    fn a_counter_is_not_added_to() {
        run("SELECT 't:number'::counter + 1");
    }

    #[pg_test]
    fn null_counts_nothing() {
        run("SELECT counter_incr(NULL::counter), counter_incr('t:null', NULL)");
        assert_eq!(get("t:null"), 0);
    }

    #[pg_test]
    fn a_batch_adds_delta_by_delta() {
        run("SELECT counter_incr_many(ARRAY['t:m1', 't:m2', 't:m1'], ARRAY[1, 2, 3])");
        assert_eq!((get("t:m1"), get("t:m2")), (4, 2));
    }

    #[pg_test]
    fn a_batch_without_deltas_adds_ones() {
        run("SELECT counter_incr_many(ARRAY['t:n1', 't:n1'])");
        assert_eq!(get("t:n1"), 2);
    }

    #[pg_test]
    fn many_reads_come_in_the_order_asked_for() {
        run("SELECT counter_incr('t:o1', 1), counter_incr('t:o2', 2)");
        let order = Spi::get_one::<String>(
            "SELECT string_agg(id || '=' || value, ',' ORDER BY ordinality)
               FROM counter_get_many(ARRAY['t:o2', 't:o1', 't:o2']) WITH ORDINALITY",
        );
        assert_eq!(order, Ok(Some("t:o2=2,t:o1=1,t:o2=2".to_owned())));
    }

    #[pg_test]
    fn reset_takes_everything_away() {
        run("SELECT counter_incr('t:reset', 5)");
        assert_eq!(bigint("SELECT counter_reset('t:reset')"), 5);
        assert_eq!(get("t:reset"), 0);
    }

    #[pg_test]
    fn set_makes_the_value_what_is_asked_for() {
        run("SELECT counter_incr('t:set', 5), counter_set('t:set', -2)");
        assert_eq!(get("t:set"), -2);
    }

    #[pg_test]
    fn set_crosses_the_whole_range_of_bigint() {
        run("SELECT counter_set('t:far', 9223372036854775807)");
        run("SELECT counter_set('t:far', -9223372036854775808)");
        assert_eq!(get("t:far"), i64::MIN);
    }

    #[pg_test]
    fn drop_forgets_what_is_pending() {
        run("SELECT counter_incr('t:drop', 5)");
        assert_eq!(Spi::get_one::<bool>("SELECT counter_drop('t:drop')"), Ok(Some(true)));
        assert_eq!(get("t:drop"), 0);
        assert_eq!(Spi::get_one::<bool>("SELECT counter_drop('t:drop')"), Ok(Some(false)));
    }

    #[pg_test]
    fn a_spilled_transaction_sees_all_it_counted() {
        run("SELECT counter_incr_many(array_agg('t:s' || g)) FROM generate_series(1, 70000) g");
        assert_eq!(get("t:s1"), 1);
        assert_eq!(get("t:s70000"), 1);
        run("SELECT counter_incr('t:s1')");
        assert_eq!(get("t:s1"), 2);
    }

    #[pg_test]
    fn a_counter_column_casts_to_its_total() {
        run("CREATE TABLE videos (title text, views counter)");
        run("INSERT INTO videos VALUES ('a', 't:v'), ('b', 7002)");
        run("SELECT counter_incr(views, 3) FROM videos");
        assert_eq!(bigint("SELECT sum(views::bigint)::bigint FROM videos"), 6);
    }

    #[pg_test]
    fn integers_and_texts_still_do_not_compare() {
        let compared = Spi::get_one::<i64>(
            "SELECT count(*) FROM pg_cast
              WHERE casttarget = 'counter'::regtype AND castcontext = 'i'
                AND castsource IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)",
        );
        assert_eq!(compared, Ok(Some(0)));
    }

    #[pg_test(error = "counter id is empty")]
    fn an_empty_id_is_refused() {
        run("SELECT counter_incr(''::text)");
    }

    #[pg_test(error = "counter id is 256 bytes long, at most 255 are allowed")]
    fn a_long_id_is_refused() {
        run("SELECT counter_get(repeat('x', 256))");
    }

    #[pg_test(error = "arrays differ in length: 2 ids, 1 deltas")]
    fn arrays_of_different_length_are_refused() {
        run("SELECT counter_incr_many(ARRAY['a', 'b'], ARRAY[1])");
    }

    #[pg_test(error = "increments of counter \"t:over\" in this transaction are out of range for bigint")]
    fn pending_deltas_do_not_wrap() {
        run("SELECT counter_incr('t:over', 9223372036854775807), counter_incr('t:over')");
    }

    #[pg_test]
    fn a_failed_block_counts_nothing() {
        run("DO $$ BEGIN
               PERFORM counter_incr('t:block', 1);
               BEGIN
                 PERFORM counter_incr('t:block', 10);
                 RAISE division_by_zero;
               EXCEPTION WHEN division_by_zero THEN
                 PERFORM counter_incr('t:block', 100);
               END;
             END $$");
        assert_eq!(get("t:block"), 101);
    }

    #[pg_test]
    fn version_is_the_crate_s() {
        let version = Spi::get_one::<String>("SELECT counter_version()");
        assert_eq!(version, Ok(Some(env!("CARGO_PKG_VERSION").to_owned())));
    }
}
