//! The worker sends what has changed: the family's step of a compaction pass.
//!
//! A NOTIFY is part of its transaction, as the deletion of the rows that say what is to be sent: both happen or neither does. Where the
//! queue is nearly full nothing is sent until it is no more; where it fills up in between, the transaction fails, and only that. Counting has
//! no part in it.
//!
//! BOUND: as many watches as there are, and as many payloads as a batch of ids comes to.

use std::time::Duration;

use super::changed_rows::{self, CHANGED};
use super::payload::{self, Total};
use super::watch_rows::{self, WATCH, Watch};
use crate::counting::read;
use crate::errors::CounterError;
use crate::fallible;
use crate::family::pass::{How, Progress, Step, Work};
use crate::pg::privilege::{self, Rights};
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::table::Access;
use crate::pg::{Oid, encoding, lock, process, xact};
use crate::rows::access::{Tables, as_owner};
use crate::rows::list::Id;

const WHAT: &str = "totals to be sent";
/// Counters that one transaction sends.
const BATCH: usize = 1000;
/// Watches that one transaction looks at.
const MOST_WATCHES: usize = 5000;

pub const SEND: Step = Step {
    name: "sending live totals",
    every: Duration::ZERO,
    is_essential: false,
    begin: || Box::new(Send::default()),
};

/// Watch by watch. Where a watch has nothing to send the next one has its turn in the same transaction: each reads which there are.
#[derive(Default)]
struct Send {
    /// How many watches are done with.
    done: usize,
    /// Something waits for its time.
    is_waiting: bool,
}

impl Work for Send {
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError> {
        let done = Progress { is_done: true, ..Progress::default() };
        let (Some(watch), Some(changed)) = (WATCH.find(), CHANGED.find()) else { return Ok(done) };
        let try_lock = |table| how.waits || lock::try_lock_table(table, Access::Write);
        if !try_lock(watch) || !try_lock(changed) || watch_rows::all()?.is_empty() {
            return Ok(done);
        }
        let (watch, changed) = (WATCH.lock(Access::Write)?, CHANGED.lock(Access::Write)?);
        let watches = watch_rows::now(watch)?;
        let Some(next) = self.next_to_send(tables, changed, &watches, how)? else {
            let is_done = self.done >= watches.len();
            // Looked at again at the next pass, which is not to be put off.
            return Ok(Progress {
                rows: (is_done && self.is_waiting).into(),
                is_done,
                ..Progress::default()
            });
        };
        let ids = xact::in_scratch_memory(|| changed_rows::take(changed, next, BATCH))?;
        if ids.len() < BATCH {
            self.done += 1;
            xact::in_scratch_memory(|| watch_rows::note_sent(watch, next, process::now_us()))?;
        }
        if may_read(tables, next)? {
            send(tables, next, &ids)?;
        }
        Ok(Progress { rows: ids.len() as u64, ..Progress::default() })
    }
}

impl Send {
    /// The next watch that sends now. `None` where that takes another transaction, or there is none.
    fn next_to_send<'w>(
        &mut self,
        tables: Tables,
        changed: Oid,
        watches: &'w [Watch],
        how: How,
    ) -> Result<Option<&'w Watch>, CounterError> {
        for next in watches.iter().skip(self.done).take(MOST_WATCHES) {
            process::check_for_interrupts();
            if xact::in_scratch_memory(|| changed_rows::has_any(changed, next))? {
                // Nobody else makes passes where there is no worker: what is due then may be due for long.
                if how.waits || is_due(next) {
                    if !is_queue_full(tables)? {
                        return Ok(Some(next));
                    }
                    self.done = watches.len() - 1;
                }
                self.is_waiting = true;
            }
            self.done += 1;
            if self.done == watches.len() {
                break;
            }
        }
        Ok(None)
    }
}

fn is_due(watch: &Watch) -> bool {
    let Some(sent_at_us) = watch.sent_at_us else { return true };
    let since = i128::from(process::now_us()) - i128::from(sent_at_us);
    // The clock may have been put back.
    since < 0 || since >= watch.every.length_us()
}

/// Whether who watches may still read counters.
fn may_read(tables: Tables, watch: &Watch) -> Result<bool, CounterError> {
    let name = std::ffi::CString::new(watch.role.as_slice())
        .map_err(|_| CounterError::Internal("a role's name with a NUL".to_owned()))?;
    let role = privilege::role(&name);
    Ok(role.is_some_and(|role| {
        privilege::has_all(tables.total, role, Rights::SELECT)
            && !privilege::row_security_applies(tables.total, role)
    }))
}

/// Whether the queue of notifications is so full that a batch may not find room.
fn is_queue_full(tables: Tables) -> Result<bool, CounterError> {
    const QUERY: &[u8] = b"SELECT pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.>) 0.9";
    let rows = with_sql(tables, |spi| spi.rows(QUERY))?;
    Ok(rows.first().and_then(|row| row.first()?.as_deref()) == Some(b"t"))
}

fn send(tables: Tables, watch: &Watch, ids: &[Id]) -> Result<(), CounterError> {
    let mut values = fallible::with_room(ids.len(), WHAT)?;
    for id in ids {
        process::check_for_interrupts();
        // BOUND: room was made above.
        values.push(i64::try_from(read::current_wide(tables, id)?).ok());
    }
    with_sql(tables, |spi| {
        let totals = ids.iter().zip(values).map(|(id, value)| Total { id: encoding::to_utf8(id), value });
        let totals = fallible::collect(totals, WHAT)?;
        let payloads = payload::payloads(&totals, !encoding::holds_utf8())
            .map_err(|error| CounterError::Internal(error.to_string()))?;
        for payload in &payloads {
            let parameters = [Parameter::Text(&watch.channel), Parameter::Text(payload.as_bytes())];
            spi.rows_with(b"SELECT pg_catalog.pg_notify($1, $2)", &parameters)?;
        }
        Ok(())
    })
}

fn with_sql<T>(
    tables: Tables,
    work: impl FnOnce(&Spi<'_>) -> Result<T, CounterError>,
) -> Result<T, CounterError> {
    as_owner(tables, |confined| {
        let active = ActiveSnapshot::push_latest();
        let spi = Spi::connect(confined)?;
        let result = work(&spi);
        drop(spi);
        drop(active);
        result
    })
}
