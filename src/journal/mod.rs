//! The journal of buffered deltas: what is not folded into totals yet is in the rows of counter_ext.journal_tail, so that whatever
//! carries the database's rows carries it too.

pub mod errors;
pub mod position;
pub mod record;
pub mod tail;
