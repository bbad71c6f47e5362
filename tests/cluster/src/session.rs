//! One connection, with the extension's functions as methods.

use crate::wait;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::{FromSql, ToSql, Type};
use postgres::{Client, Error, NoTls, Statement};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where to connect; clients keep one while the cluster restarts.
#[derive(Clone)]
pub struct Address {
    pub(crate) socket_directory: PathBuf,
    pub(crate) database: String,
}

impl Address {
    pub fn database(&self, name: &str) -> Address {
        Address { database: name.to_owned(), ..self.clone() }
    }

    pub fn try_connect(&self) -> Result<Session, Error> {
        let client = Client::configure()
            .host_path(&self.socket_directory)
            .port(crate::cluster::PORT)
            .user("postgres")
            .dbname(&self.database)
            .application_name("counter_ext_cluster_tests")
            .connect(NoTls)?;
        Ok(Session { client, statements: HashMap::new() })
    }

    /// The session, connected anew if it was lost; `None`, a moment later, while the server takes no connections.
    pub fn connected<'s>(&self, session: &'s mut Option<Session>) -> Option<&'s mut Session> {
        if session.is_none() {
            *session = self.try_connect().ok();
            if session.is_none() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        session.as_mut()
    }

    pub fn connect(&self) -> Session {
        self.try_connect()
            .unwrap_or_else(|error| panic!("connect to {}: {}", self.database, describe(&error)))
    }

    /// Connects and runs some SQL first, usually SETs.
    pub fn connect_with(&self, set_up: &str) -> Session {
        let mut session = self.connect();
        session.run(set_up).unwrap_or_else(|error| panic!("{set_up}: {}", describe(&error)));
        session
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Isolation {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    pub const ALL: [Isolation; 3] =
        [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];

    pub fn begin(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "BEGIN ISOLATION LEVEL READ COMMITTED",
            Isolation::RepeatableRead => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            Isolation::Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        }
    }
}

/// A lost connection, or class 57P: the server shuts down, crashed or starts, or the session was ended.
pub fn is_end(error: &Error) -> bool {
    error.code().is_none_or(|code| code.code().starts_with("57P"))
}

/// Nothing but the server's or the session's end is an excuse, and these SQLSTATEs.
pub fn assert_excused(error: &Error, sqlstates: &[&str], what: &str) {
    let is_excused = error.code().is_some_and(|code| sqlstates.contains(&code.code()));
    assert!(is_end(error) || is_excused, "{what}: {}", describe(error));
}

/// How soon a worker folds what was counted.
const FOLDED_SOON: std::time::Duration = std::time::Duration::from_secs(30);

/// A connection that keeps its prepared statements.
pub struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

impl Session {
    /// Statements without parameters; several may be separated by semicolons.
    pub fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql)
    }

    /// As `run`, for what must work.
    pub fn must(&mut self, sql: &str) {
        self.run(sql).unwrap_or_else(|error| panic!("{sql}: {}", describe(&error)));
    }

    /// Commits prepared transactions that a crash has left: they hold locks until then. Clients end their own, and may be quicker.
    pub fn finish_prepared(&mut self) {
        for (name, _) in self.pairs::<String, i64>("SELECT gid, 0::bigint FROM pg_prepared_xacts") {
            let _ = self.run(&format!("COMMIT PREPARED '{name}'"));
        }
    }

    /// The only column of the only row of an ad-hoc query.
    pub fn value<T: for<'r> FromSql<'r>>(&mut self, sql: &str) -> T {
        let row = self.client.query_one(sql, &[]);
        row.and_then(|row| row.try_get(0)).unwrap_or_else(|error| panic!("{sql}: {}", describe(&error)))
    }

    /// As `value`, by a statement without a name: what any pooler takes.
    pub fn value_unnamed<T: for<'r> FromSql<'r>>(&mut self, sql: &str) -> T {
        let row = self.client.query_typed_one(sql, &[]);
        row.and_then(|row| row.try_get(0)).unwrap_or_else(|error| panic!("{sql}: {}", describe(&error)))
    }

    /// The rows of an ad-hoc query, two columns each.
    pub fn pairs<A: for<'r> FromSql<'r>, B: for<'r> FromSql<'r>>(&mut self, sql: &str) -> Vec<(A, B)> {
        self.try_pairs(sql).unwrap_or_else(|error| panic!("{sql}: {}", describe(&error)))
    }

    /// As `pairs`, where the server may be killed meanwhile.
    pub fn try_pairs<A, B>(&mut self, sql: &str) -> Result<Vec<(A, B)>, Error>
    where
        A: for<'r> FromSql<'r>,
        B: for<'r> FromSql<'r>,
    {
        let rows = self.client.query(sql, &[])?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Notifications, channel and payload, that have come or come within some time. Errors: the connection is lost.
    pub fn notifications(&mut self, within: Duration) -> Result<Vec<(String, String)>, Error> {
        let mut notifications = self.client.notifications();
        let mut heard = notifications.timeout_iter(within);
        let mut all = Vec::new();
        while let Some(notification) = heard.next()? {
            all.push((notification.channel().to_owned(), notification.payload().to_owned()));
        }
        Ok(all)
    }

    /// `COPY … FROM STDIN` of this text.
    pub fn copy_in(&mut self, sql: &str, text: &str) {
        let copied = self.client.copy_in(sql).and_then(|mut writer| {
            std::io::Write::write_all(&mut writer, text.as_bytes()).expect("write COPY data");
            writer.finish()
        });
        copied.unwrap_or_else(|error| panic!("{sql}: {}", describe(&error)));
    }

    fn statement(&mut self, sql: &'static str) -> Result<Statement, Error> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let prepared = self.client.prepare(sql)?;
        self.statements.insert(sql, prepared.clone());
        Ok(prepared)
    }

    fn call<T: for<'r> FromSql<'r>>(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<T, Error> {
        let statement = self.statement(sql)?;
        self.client.query_one(&statement, parameters)?.try_get(0)
    }

    fn call_void(&mut self, sql: &'static str, parameters: &[&(dyn ToSql + Sync)]) -> Result<(), Error> {
        let statement = self.statement(sql)?;
        self.client.execute(&statement, parameters).map(drop)
    }

    pub fn incr(&mut self, id: &str, delta: i64) -> Result<(), Error> {
        self.call_void("SELECT counter_incr($1::text, $2)", &[&id, &delta])
    }

    /// As `incr`, by a statement without a name: what any pooler takes.
    pub fn incr_unnamed(&mut self, id: &str, delta: i64) -> Result<(), Error> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&id, Type::TEXT), (&delta, Type::INT8)];
        self.client.query_typed("SELECT counter_incr($1, $2)", &parameters).map(drop)
    }

    /// As `get`, by a statement without a name.
    pub fn get_unnamed(&mut self, id: &str) -> Result<i64, Error> {
        self.client.query_typed_one("SELECT counter_get($1)", &[(&id, Type::TEXT)])?.try_get(0)
    }

    pub fn incr_many(&mut self, ids: &[&str], deltas: &[i64]) -> Result<(), Error> {
        self.call_void("SELECT counter_incr_many($1, $2)", &[&ids, &deltas])
    }

    pub fn get(&mut self, id: &str) -> Result<i64, Error> {
        self.call("SELECT counter_get($1::text)", &[&id])
    }

    pub fn get_exact(&mut self, id: &str) -> Result<i64, Error> {
        self.call("SELECT counter_get_exact($1::text)", &[&id])
    }

    pub fn get_many(&mut self, ids: &[&str]) -> Result<Vec<(String, i64)>, Error> {
        let statement = self.statement("SELECT id, value FROM counter_get_many($1)")?;
        let rows = self.client.query(&statement, &[&ids])?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    pub fn reset(&mut self, id: &str) -> Result<i64, Error> {
        self.call("SELECT counter_reset($1::text)", &[&id])
    }

    pub fn set(&mut self, id: &str, value: i64) -> Result<(), Error> {
        self.call_void("SELECT counter_set($1::text, $2)", &[&id, &value])
    }

    pub fn drop_counter(&mut self, id: &str) -> Result<bool, Error> {
        self.call("SELECT counter_drop($1::text)", &[&id])
    }

    pub fn compact(&mut self) -> Result<i64, Error> {
        self.call("SELECT counter_compact()", &[])
    }

    /// True: the visitor was never there before.
    pub fn visit(&mut self, id: &str, visitor: i32) -> Result<bool, Error> {
        self.call("SELECT counter_visit($1::text, $2::int)", &[&id, &visitor])
    }

    /// Several visits in one statement; those of the visitors who were never there before.
    pub fn visit_all(&mut self, id: &str, visitors: &[i32]) -> Result<Vec<i32>, Error> {
        let sql = "SELECT coalesce(array_agg(v), '{}') FROM unnest($2::int[]) AS v WHERE counter_visit($1::text, v)";
        self.call(sql, &[&id, &visitors])
    }

    pub fn visitors(&mut self, id: &str) -> Result<i64, Error> {
        self.call("SELECT counter_visitors($1::text)", &[&id])
    }

    /// The same visitors, where all visits are of this century: a range of days, which comes from rows.
    pub fn visitors_in_rows(&mut self, id: &str) -> Result<i64, Error> {
        self.call("SELECT counter_visitors($1::text, '2000-01-01')", &[&id])
    }

    pub fn backend_pid(&mut self) -> i32 {
        self.value("SELECT pg_backend_pid()")
    }

    /// The live value is `expected`, and soon the rows say so too.
    pub fn assert_soon_folded(&mut self, id: &str, expected: i64) {
        assert_eq!(
            self.get(id).unwrap_or_else(|error| panic!("{}", describe(&error))),
            expected,
            "counter_get of {id}"
        );
        wait::until("everything is folded", FOLDED_SOON, || {
            self.get_exact(id).unwrap_or_else(|error| panic!("{}", describe(&error))) == expected
        });
    }

    /// Both ways to read a counter must agree on `expected`.
    pub fn assert_count(&mut self, id: &str, expected: i64) {
        let read = (self.get(id), self.get_exact(id));
        match read {
            (Ok(live), Ok(exact)) => {
                assert_eq!((live, exact), (expected, expected), "(get, get_exact) of {id}")
            }
            (Err(error), _) | (_, Err(error)) => panic!("read of {id}: {}", describe(&error)),
        }
    }
}

/// SQLSTATE, message and HINT: `Display` of the error has none of them.
pub fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} {} {} {:?}", db.severity(), db.code().code(), db.message(), db.hint()),
        None => format!("{error:?}"),
    }
}

/// Panics unless the statement failed with this SQLSTATE.
pub fn assert_sqlstate<T: std::fmt::Debug>(what: &str, result: Result<T, Error>, expected: &str) {
    match result {
        Ok(value) => panic!("{what}: expected SQLSTATE {expected}, got {value:?}"),
        Err(error) => {
            let found = error.code().map(|code| code.code());
            assert_eq!(found, Some(expected), "{what}: {}", describe(&error));
        }
    }
}
