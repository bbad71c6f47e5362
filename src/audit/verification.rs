//! Whether the log of a counter is whole, and adds up to its total.
//!
//! Chain, sums and total are read under one fresh snapshot, by hand, so no lock is waited for and no serialization failure can come
//! of it. Increments and their entries are rows of the same transactions, so the snapshot sees both or neither; what was
//! buffered before auditing began is in memory until it is folded, and is taken with the snapshot.

use super::audited_rows;
use super::chain::Verifier;
use super::log_rows::{self, ANCHOR, HEAD, LOG};
use super::pending_rows::{self, PENDING};
use crate::counting::{folding, read, transaction};
use crate::errors::CounterError;
use crate::memory::buffer;
use crate::pg::Oid;
use crate::pg::privilege::Rights;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::xact;
use crate::rows::access;
use crate::rows::sum::Reader;

/// What `counter_audit_verify` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// `None` where there is nothing to be said: the counter is not audited and has no log.
    pub ok: Option<bool>,
    pub entries: u64,
    /// Of what was counted here; where no other node counts, a row of another number is part of it as well.
    pub log_sum: i128,
    pub total: i128,
    pub broken_seq: Option<i64>,
    pub problem: Option<String>,
}

pub fn verify(id: &[u8]) -> Result<Verdict, CounterError> {
    let tables = read::enter()?;
    LOG.check_rights(LOG.find().ok_or(CounterError::NotInstalled)?, Rights::SELECT, "SELECT")?;
    access::lock_for_reading(tables);
    let log = lock_log()?;
    let pending = PENDING.lock(Access::Read)?;
    if !xact::in_recovery() {
        folding::ensure_recovered(tables)?;
    }
    // What this statement has appended is to be seen.
    xact::see_own_changes();
    let is_audited = audited_rows::prefixes()?.cover(id);
    let counters = Reader::open(tables)?;
    let log = log.open()?;

    // The last fresh snapshot that is taken here: there is room for one.
    let (mut snapshot, unfolded) = buffer::snapshot_with_unfolded(read::key(tables, id));
    let own = transaction::own(tables, id);
    xact::in_scratch_memory(|| {
        let rows = counters.sum_of_own(id, &mut snapshot)?.value;
        let (mut entries, mut log_sum) = pending_rows::sum(pending, id, &mut snapshot)?;
        let mut chain = Verifier::new();
        log.for_each(id, &mut snapshot, |sealed| {
            chain.see(sealed);
            entries += 1;
            log_sum += i128::from(sealed.entry.delta);
        });
        let head = log.head(id, &mut snapshot);
        let broken = chain.finish(head.as_ref());
        // It may never have had a log, or have one no more. To look at all chains for it is for those few that have none.
        let missing = (is_audited && entries == 0 && head.is_none())
            .then(|| log.anchors(&mut snapshot))
            .and_then(|(known, found)| known.problem(&found));
        let total = rows + i128::from(unfolded) + i128::from(own);
        let problem = match broken {
            Some(broken) => Some(broken.to_string()),
            None if !is_audited => Some("the counter is not audited: its sum is not compared".to_owned()),
            None if log_sum != total => Some(format!("the log adds up to {log_sum}, the total is {total}")),
            None => missing.clone(),
        };
        Ok(Verdict {
            ok: (is_audited || entries > 0 || broken.is_some())
                .then_some(broken.is_none() && missing.is_none() && (!is_audited || log_sum == total)),
            entries,
            log_sum,
            total,
            broken_seq: broken.map(|broken| broken.seq),
            problem,
        })
    })
}

/// What `counter_audit_verify` found of all chains together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorVerdict {
    pub chains: i64,
    pub entries: i64,
    pub problem: Option<String>,
}

/// Whether the last links of all chains are those that sealing has left.
pub fn verify_anchor() -> Result<AnchorVerdict, CounterError> {
    read::enter()?;
    LOG.check_rights(LOG.find().ok_or(CounterError::NotInstalled)?, Rights::SELECT, "SELECT")?;
    let log = lock_log()?;
    xact::see_own_changes();
    let log = log.open()?;
    let (known, found) = xact::in_scratch_memory(|| log.anchors(&mut Snapshot::fresh()));
    Ok(AnchorVerdict { chains: found.heads, entries: found.entries, problem: known.problem(&found) })
}

/// The log's tables, locked.
struct Locked {
    log: Oid,
    heads: Oid,
    anchor: Oid,
}

fn lock_log() -> Result<Locked, CounterError> {
    let (log, heads) = (LOG.lock(Access::Read)?, HEAD.lock(Access::Read)?);
    Ok(Locked { log, heads, anchor: ANCHOR.lock(Access::Read)? })
}

impl Locked {
    fn open(&self) -> Result<log_rows::LogReader, CounterError> {
        log_rows::LogReader::open(self.log, self.heads, self.anchor)
    }
}
