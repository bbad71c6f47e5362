//! Whether the log of a counter is whole, and adds up to its total.
//!
//! Chain, sums and total are read under one fresh snapshot, by hand, so no lock is waited for and no serialization failure can come
//! of it. Increments and their entries are rows of the same transactions, so the snapshot sees both or neither; what was
//! buffered before auditing began is in memory until it is folded, and is taken with the snapshot.

use super::audited_rows;
use super::chain::Verifier;
use super::log_rows::{self, HEAD, LOG};
use super::pending_rows::{self, PENDING};
use crate::counting::{read, transaction};
use crate::errors::CounterError;
use crate::memory::buffer;
use crate::pg::privilege::Rights;
use crate::pg::table::Access;
use crate::pg::xact;
use crate::rows::access;
use crate::rows::sum::Reader;
use crate::settings;

/// What `counter_audit_verify` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// `None` where there is nothing to be said: the counter is not audited and has no log.
    pub ok: Option<bool>,
    pub entries: u64,
    /// Of this node's entries, and this node's part of the total.
    pub log_sum: i128,
    pub total: i128,
    pub broken_seq: Option<i64>,
    pub problem: Option<String>,
}

pub fn verify(id: &[u8]) -> Result<Verdict, CounterError> {
    let tables = read::enter()?;
    LOG.check_rights(LOG.find().ok_or(CounterError::NotInstalled)?, Rights::SELECT, "SELECT")?;
    access::lock_for_reading(tables);
    let (log, heads) = (LOG.lock(Access::Read)?, HEAD.lock(Access::Read)?);
    let pending = PENDING.lock(Access::Read)?;
    if !read::await_recovery(tables) {
        return Err(CounterError::NotRecovered);
    }
    // What this statement has appended is to be seen.
    xact::see_own_changes();
    let is_audited = audited_rows::prefixes()?.cover(id);
    let counters = Reader::open(tables)?;
    let log = log_rows::Reader::open(log, heads)?;
    let node = settings::node();

    // The last fresh snapshot that is taken here: there is room for one.
    let (mut snapshot, unfolded) = buffer::snapshot_with_unfolded(read::key(tables, id));
    let own = transaction::own(tables, id);
    xact::in_scratch_memory(|| {
        let rows = counters.sum_of_node(id, node, &mut snapshot);
        let (mut entries, mut log_sum) = pending_rows::sum(pending, id, node, &mut snapshot)?;
        let mut chain = Verifier::new();
        log.for_each(id, &mut snapshot, |sealed| {
            chain.see(sealed);
            entries += 1;
            if sealed.entry.node == node {
                log_sum += i128::from(sealed.entry.delta);
            }
        });
        let broken = chain.finish(log.head(id, &mut snapshot).as_ref());
        let total = rows + i128::from(unfolded) + i128::from(own);
        let problem = match broken {
            Some(broken) => Some(broken.to_string()),
            None if !is_audited => Some("the counter is not audited: its sum is not compared".to_owned()),
            None if log_sum != total => Some(format!("the log adds up to {log_sum}, the total is {total}")),
            None => None,
        };
        Ok(Verdict {
            ok: (is_audited || entries > 0 || broken.is_some())
                .then_some(broken.is_none() && (!is_audited || log_sum == total)),
            entries,
            log_sum,
            total,
            broken_seq: broken.map(|broken| broken.seq),
            problem,
        })
    })
}
