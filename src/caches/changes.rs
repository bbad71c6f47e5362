//! Changes of a statement's counters on their way to the transaction.
//!
//! BOUND: what is copied here without asking is an id, or a prefix.

use super::key_id;
use super::tally::Tally;
use crate::counting::change;
use crate::errors::CounterError;
use crate::pg::Oid;

/// Changes on their way to the transaction.
pub struct Changes<'a> {
    owner: Oid,
    prefix: &'a [u8],
    tally: Tally,
}

impl<'a> Changes<'a> {
    pub fn new(owner: Oid, prefix: &'a [u8]) -> Changes<'a> {
        Changes { owner, prefix, tally: Tally::default() }
    }

    /// `key` is a key's text behind the prefix, and becomes its counter's id.
    pub fn add(&mut self, key: &mut Vec<u8>, delta: i128) -> Result<(), CounterError> {
        key_id::complete(key, self.prefix.len())?;
        self.tally.add(key, delta)?;
        if self.tally.is_full() { self.count() } else { Ok(()) }
    }

    /// The same of a key's text alone.
    pub fn add_key(&mut self, key: &[u8], delta: i128) -> Result<(), CounterError> {
        self.add(&mut [self.prefix, key].concat(), delta)
    }

    pub fn count(&mut self) -> Result<(), CounterError> {
        if self.tally.is_nothing() {
            return Ok(());
        }
        let nets = self.tally.drain();
        let entered = change::enter_to_count_in_rows(self.owner, "counter_rows")?;
        for (id, net) in nets {
            change::increment_wide(entered, &id, net)?;
        }
        Ok(())
    }
}
