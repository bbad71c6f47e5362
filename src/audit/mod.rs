//! The audit log: every change of chosen counters, in the transaction that makes it, sealed with a chain of hashes.
//!
//! Entries are appended where counters change (`counting::change`, `rows::audit_pending`); here auditing is switched, and the log
//! is sealed and verified. The log of a counter and its total agree under any one snapshot: both are rows of the same
//! transactions, since one that changes an audited counter takes the way of slot rows in buffered mode too.

pub mod chain;
pub mod sealing;
pub mod switching;
pub mod verification;
