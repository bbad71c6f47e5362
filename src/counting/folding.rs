//! Folding buffered deltas into totals: an epoch that is over, or what recovery found.

use super::compaction::as_owner;
use super::pending::Delta;
use super::transaction;
use crate::errors::CounterError;
use crate::fallible;
use crate::journal::recovery::Sums;
use crate::memory::epochs::{self, Cut, Opening};
use crate::memory::{buffer, cells};
use crate::pg::confined::Confined;
use crate::pg::{catalog, process, xact};
use crate::rows::access::Tables;
use crate::rows::fold::Folder;
use crate::rows::journal_position::{self, Position};
use crate::rows::replicated;
use crate::settings;

const WHAT: &str = "what recovery has read back";

/// Folds an epoch that nobody adds to any more. Runs in a transaction of the worker, with the tables locked; memory
/// follows at its commit. Returns how many counters had deltas.
pub fn fold_cut(tables: Tables, cut: Cut) -> Result<u64, CounterError> {
    let database = u32::from(catalog::my_database());
    let amounts = buffer::of_epoch(database, cut.relation, cut.epoch);
    as_owner(tables, |confined| {
        let folder = Folder::open(tables, replicated::own_node(tables)?, settings::slots())?;
        for amount in &amounts {
            process::check_for_interrupts();
            xact::in_scratch_memory(|| folder.add(&amount.id, i128::from(amount.amount)));
        }
        write_position(confined, Position { key: epochs::key(database), epoch: cut.epoch, lsn: cut.lsn })
    })?;
    transaction::note_fold(cut);
    epochs::fold_begins(database, xact::assign_xid(), cut);
    Ok(amounts.len() as u64)
}

/// Folds what recovery found, and notes how far the journal is read. Runs in a transaction of the worker, with the
/// tables locked. Memory takes the deltas as it takes those of slot rows.
pub fn fold_recovered(
    tables: Tables,
    sums: &Sums,
    position: Position,
    records: u64,
) -> Result<(), CounterError> {
    as_owner(tables, |confined| {
        let folder = Folder::open(tables, replicated::own_node(tables)?, settings::slots())?;
        for (id, sum) in sums {
            process::check_for_interrupts();
            xact::in_scratch_memory(|| folder.add(id, *sum));
        }
        journal_position::remove_others(confined)?;
        write_position(confined, position)
    })?;
    let xid = xact::assign_xid();
    cells::announce(u32::from(catalog::my_database()), xid);
    let deltas = sums.iter().filter_map(|(id, sum)| match i64::try_from(*sum) {
        Ok(net) => Some(fallible::boxed(id, WHAT).map(|id| Delta { id, net, increments: 0 })),
        Err(_) => {
            // Memory holds bigints only: it reads the counter anew.
            transaction::note_touched(tables, id);
            None
        }
    });
    transaction::note_settled(tables, xid, fallible::try_collect(deltas, WHAT)?);
    transaction::note_opening(opening(tables, position, records));
    Ok(())
}

/// Notes where the journal begins, in a database that has none yet; buffered mode opens when that commits. False where
/// there is one: it has to be read first.
pub fn begin_journal(tables: Tables, position: Position) -> Result<bool, CounterError> {
    if journal_position::read(tables).is_some() {
        return Ok(false);
    }
    as_owner(tables, |confined| {
        journal_position::remove_others(confined)?;
        write_position(confined, position)
    })?;
    transaction::note_opening(opening(tables, position, 0));
    Ok(true)
}

fn opening(tables: Tables, position: Position, recovered_records: u64) -> Opening {
    let Position { key, epoch, lsn } = position;
    Opening { relation: u32::from(tables.total), key, epoch, lsn, recovered_records }
}

fn write_position(confined: &Confined<'_>, position: Position) -> Result<(), CounterError> {
    journal_position::write(confined, position, settings::node())
}
