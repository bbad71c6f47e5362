//! Reading the journal back: what it holds beyond the epoch that rows are known to hold.
//!
//! The scan has a fixed end, the log's end when the server was started or later, before which every transaction that
//! wrote a record has committed, or never will: buffered mode is off until recovery has finished. A transaction's
//! record lies before its commit record, so both are met in one pass, however old the transaction id is. Nothing is
//! changed here: a crash in the middle only means another scan.

use std::collections::HashMap;

use super::record::{self, Header};
use crate::pg::wal::{self, Found, Lsn};

/// Net deltas by id, of any size.
pub type Sums = HashMap<Box<[u8]>, i128, foldhash::fast::RandomState>;

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub database: u32,
    pub relation: u32,
    pub key: u64,
    /// Epochs up to this one are in rows.
    pub folded_epoch: u64,
    pub from: Lsn,
    pub to: Lsn,
}

/// What the journal held.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    pub sums: Sums,
    pub records: u64,
    pub highest_epoch: u64,
    /// How far the log was read.
    pub reached: Lsn,
    /// What could not be read: from the first position to the last.
    pub lost: Option<(Lsn, Lsn)>,
    /// Records that could not be read, and why the last of them.
    pub malformed: u64,
    pub last_malformed: Option<record::Malformed>,
}

impl Recovered {
    /// Notes a stretch that cannot be read.
    pub fn lose(&mut self, from: Lsn, to: Lsn) {
        let first = self.lost.map_or(from, |(first, _)| first);
        self.lost = Some((first, to));
    }

    fn take(&mut self, sums: Sums) {
        if self.sums.is_empty() {
            self.sums = sums;
        } else {
            for (id, sum) in sums {
                *self.sums.entry(id).or_default() += sum;
            }
        }
    }
}

/// Records of transactions whose end has not been met yet.
#[derive(Default)]
pub struct Undecided {
    by_xid: HashMap<u32, (u64, Sums)>,
}

/// Reads the stretch into `recovered`, from `from` on; what was read before an error stays there. `is_over` ends it
/// early. An error says why, and `recovered.reached` where.
pub fn scan(
    stretch: Stretch,
    from: Lsn,
    recovered: &mut Recovered,
    undecided: &mut Undecided,
    is_over: impl Fn() -> bool,
) -> Result<(), String> {
    let begins = wal::oldest_available(from, stretch.to);
    if begins > from {
        recovered.lose(from, begins);
    }
    recovered.reached = begins;
    let mut reader = wal::Reader::open().ok_or("out of memory")?;
    reader.read(begins, stretch.to, is_over, |at, found| {
        recovered.reached = at;
        if let Some(found) = found {
            visit(&stretch, found, undecided, recovered);
        }
    })
}

fn visit(stretch: &Stretch, found: Found<'_>, undecided: &mut Undecided, recovered: &mut Recovered) {
    match found {
        Found::Commit { xid } => {
            if let Some((records, sums)) = undecided.by_xid.remove(&xid) {
                recovered.records += records;
                recovered.take(sums);
            }
        }
        Found::Message { database, xid, message } if database == stretch.database => {
            let header = match record::read_header(message) {
                Ok((header, _)) => header,
                Err(why) => return note_malformed(recovered, why),
            };
            if header.relation != stretch.relation || header.key != stretch.key {
                return;
            }
            // Epochs never repeat, whether what they were used for counted or not.
            recovered.highest_epoch = recovered.highest_epoch.max(header.epoch);
            if header.epoch > stretch.folded_epoch {
                take_message(header, xid, message, undecided, recovered);
            }
        }
        Found::Message { .. } => {}
    }
}

fn take_message(
    header: Header,
    xid: u32,
    message: &[u8],
    undecided: &mut Undecided,
    recovered: &mut Recovered,
) {
    let mut sums = Sums::default();
    let read = record::read(message, |id, delta| *sums.entry(id.into()).or_default() += i128::from(delta));
    if let Err(why) = read {
        return note_malformed(recovered, why);
    }
    if header.needs_commit {
        let (records, earlier) = undecided.by_xid.entry(xid).or_default();
        *records += 1;
        for (id, sum) in sums {
            *earlier.entry(id).or_default() += sum;
        }
    } else {
        recovered.records += 1;
        recovered.take(sums);
    }
}

fn note_malformed(recovered: &mut Recovered, why: record::Malformed) {
    recovered.malformed += 1;
    recovered.last_malformed = Some(why);
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRETCH: Stretch = Stretch { database: 5, relation: 7, key: 9, folded_epoch: 10, from: 0, to: 0 };

    fn message(epoch: u64, needs_commit: bool, delta: i64) -> Vec<u8> {
        let mut message = Vec::new();
        record::begin(&mut message, Header { relation: 7, key: 9, epoch, needs_commit });
        record::push(&mut message, b"a", delta);
        message
    }

    fn total(steps: &[(u32, u32, Option<Vec<u8>>)]) -> (i128, u64) {
        let mut undecided = Undecided::default();
        let mut recovered = Recovered::default();
        for (database, xid, message) in steps {
            let found = match message {
                Some(message) => Found::Message { database: *database, xid: *xid, message },
                None => Found::Commit { xid: *xid },
            };
            visit(&STRETCH, found, &mut undecided, &mut recovered);
        }
        (recovered.sums.get(&b"a"[..]).copied().unwrap_or(0), recovered.highest_epoch)
    }

    #[test]
    fn a_record_of_its_own_counts() {
        assert_eq!(total(&[(5, 0, Some(message(11, false, 3)))]), (3, 11));
    }

    #[test]
    fn a_transactions_record_counts_once_its_commit_is_met() {
        let record = Some(message(11, true, 3));
        assert_eq!(total(&[(5, 100, record.clone())]), (0, 11));
        assert_eq!(total(&[(5, 100, record.clone()), (5, 101, None)]), (0, 11));
        assert_eq!(total(&[(5, 100, record), (5, 100, None)]), (3, 11));
    }

    #[test]
    fn a_record_without_the_key_is_not_ours() {
        let mut forged = Vec::new();
        record::begin(&mut forged, Header { relation: 7, key: 8, epoch: 1000, needs_commit: false });
        record::push(&mut forged, b"a", 1_000_000);
        assert_eq!(total(&[(5, 0, Some(forged)), (5, 0, Some(message(11, false, 3)))]), (3, 11));
    }

    #[test]
    fn what_is_folded_or_others_does_not_count() {
        assert_eq!(total(&[(5, 0, Some(message(10, false, 3)))]), (0, 10));
        assert_eq!(total(&[(6, 0, Some(message(11, false, 3)))]), (0, 0));
    }
}
