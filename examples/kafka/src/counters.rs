//! The database, to which a batch is delivered until it is committed.

use crate::batch::Call;
use postgres::{Client, Config, Error, NoTls};
use std::error::Error as _;
use std::thread::sleep;
use std::time::Duration;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// A server that says nothing for about twice as long is gone. By itself TCP notices after hours.
const SILENCE: Duration = Duration::from_secs(10);

/// SQLSTATE's class of data that cannot be: the message is at fault.
const DATA: &str = "22";

/// SQLSTATE's classes of what passes: connections, serialization and deadlocks, resources, a server that stops or starts.
const PASSING: [&str; 4] = ["08", "40", "53", "57"];

pub struct Counters {
    url: String,
    group: String,
    client: Option<Client>,
}

impl Counters {
    /// Connects once, so that an address that is wrong is found before there is a message.
    pub fn open(url: String, group: String) -> Result<Counters, Error> {
        let client = Some(connect(&url)?);
        Ok(Counters { url, group, client })
    }

    /// Counts a batch, and waits where the database is away. What comes after the batch must not be delivered before the batch is, so
    /// there is no way past it: false says that `give_up` did, and that nothing is known of the batch. A message that the database cannot count
    /// is passed by: it would come again, for ever.
    pub fn apply(&mut self, calls: &[Call], give_up: &impl Fn() -> bool) -> Result<bool, Error> {
        loop {
            match self.attempt(calls) {
                Ok(()) => return Ok(true),
                Err(error) if passes(&error) => eprintln!("the batch is delivered again: {error}"),
                Err(error) if is_about_data(&error) => return self.apply_in_parts(calls, error, give_up),
                Err(error) => return Err(error),
            }
            if give_up() {
                return Ok(false);
            }
            sleep(PAUSE);
        }
    }

    /// As `apply`, in ever smaller parts, one behind the other, until the message at fault is alone.
    fn apply_in_parts(
        &mut self,
        calls: &[Call],
        error: Error,
        give_up: &impl Fn() -> bool,
    ) -> Result<bool, Error> {
        let parts = match calls {
            [call] if call.ids.is_empty() => return Err(error),
            [call] if call.ids.len() == 1 => {
                let Call { topic, partition, offsets, .. } = call;
                eprintln!("{topic}, partition {partition}: the message at {offsets:?} is passed by: {error}");
                vec![call.without_messages()]
            }
            [call] => call.halves().into(),
            several => several.to_vec(),
        };
        for part in parts {
            if !self.apply(&[part], give_up)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All partitions of the batch in one transaction. Where its commit was not answered, the next attempt counts what is missing.
    fn attempt(&mut self, calls: &[Call]) -> Result<(), Error> {
        let client = match &mut self.client {
            Some(client) if !client.is_closed() => client,
            lost => lost.insert(connect(&self.url)?),
        };
        let mut transaction = client.transaction()?;
        let mut known = Vec::new();
        for call in calls {
            let row = transaction.query_one(
                "SELECT counter_apply($1, $2, $3, $4, $5, $6)",
                &[&call.source(&self.group), &call.first, &call.upto, &call.ids, &call.deltas, &call.offsets],
            )?;
            if !row.get::<_, bool>(0) {
                known.push(call);
            }
        }
        transaction.commit()?;
        // After a restart or a rebalance that is as it should be; for ever, of a topic that was made anew under an old name.
        for Call { topic, partition, first, upto, .. } in known {
            eprintln!("{topic}, partition {partition}: {first} to {upto} were counted before");
        }
        Ok(())
    }
}

fn connect(url: &str) -> Result<Client, Error> {
    let mut config: Config = url.parse()?;
    config.keepalives(true).keepalives_idle(SILENCE).keepalives_interval(SILENCE / 3).keepalives_retries(3);
    config.tcp_user_timeout(SILENCE * 2);
    config.connect(NoTls)
}

fn is_about_data(error: &Error) -> bool {
    error.code().is_some_and(|state| state.code().starts_with(DATA))
}

fn passes(error: &Error) -> bool {
    match error.code() {
        Some(state) => PASSING.iter().any(|class| state.code().starts_with(class)),
        None => error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()),
    }
}
