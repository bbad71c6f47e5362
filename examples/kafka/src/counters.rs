//! The database, to which a batch is delivered until it is committed.

use crate::batch::Call;
use postgres::{Client, Error, NoTls};
use std::error::Error as _;
use std::thread::sleep;
use std::time::Duration;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// SQLSTATE's classes of what passes: connections, serialization and deadlocks, resources, a server that stops or starts.
const PASSING: [&str; 4] = ["08", "40", "53", "57"];

pub struct Counters {
    url: String,
    group: String,
    client: Option<Client>,
}

impl Counters {
    pub fn new(url: String, group: String) -> Counters {
        Counters { url, group, client: None }
    }

    /// Counts a batch, and waits where the database is away. What comes after the batch must not be delivered before the batch is, so
    /// there is no way past it: false says that `give_up` did, and that nothing is known of the batch.
    pub fn apply(&mut self, calls: &[Call], give_up: impl Fn() -> bool) -> Result<bool, Error> {
        loop {
            match self.attempt(calls) {
                Ok(()) => return Ok(true),
                Err(error) if passes(&error) => eprintln!("the batch is delivered again: {error}"),
                Err(error) => return Err(error),
            }
            if give_up() {
                return Ok(false);
            }
            sleep(PAUSE);
        }
    }

    /// All partitions of the batch in one transaction. Where its commit was not answered, the next attempt counts what is missing.
    fn attempt(&mut self, calls: &[Call]) -> Result<(), Error> {
        let client = match &mut self.client {
            Some(client) if !client.is_closed() => client,
            lost => lost.insert(Client::connect(&self.url, NoTls)?),
        };
        let mut transaction = client.transaction()?;
        for call in calls {
            transaction.execute(
                "SELECT counter_apply($1, $2, $3, $4, $5, $6)",
                &[&call.source(&self.group), &call.first, &call.upto, &call.ids, &call.deltas, &call.offsets],
            )?;
        }
        transaction.commit()
    }
}

fn passes(error: &Error) -> bool {
    match error.code() {
        Some(state) => PASSING.iter().any(|class| state.code().starts_with(class)),
        None => error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()),
    }
}
