//! What the audit log says of one change of a counter. Plain Rust.

/// Which kind of change an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedOperation {
    Increment,
    Reset,
    Set,
    Drop,
    /// Makes the log agree with the total where auditing begins.
    Open,
}

impl From<crate::family::Operation> for LoggedOperation {
    fn from(operation: crate::family::Operation) -> LoggedOperation {
        use crate::family::Operation::*;
        match operation {
            Increment => LoggedOperation::Increment,
            Reset => LoggedOperation::Reset,
            Set => LoggedOperation::Set,
            Drop => LoggedOperation::Drop,
        }
    }
}

impl LoggedOperation {
    pub fn name(self) -> &'static str {
        match self {
            LoggedOperation::Increment => "increment",
            LoggedOperation::Reset => "reset",
            LoggedOperation::Set => "set",
            LoggedOperation::Drop => "drop",
            LoggedOperation::Open => "open",
        }
    }
}

/// An entry, as its row says: whoever tampers with it need not keep to `LoggedOperation`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEntry {
    pub id: Vec<u8>,
    pub delta: i64,
    pub operation: Vec<u8>,
    pub actor: Vec<u8>,
    pub role: Vec<u8>,
    /// Microseconds since 2000-01-01.
    pub at_us: i64,
    pub xid: u64,
    pub node: i32,
}

/// An entry with its place in the chain of its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    pub seq: i64,
    pub entry: LogEntry,
    pub hash: Vec<u8>,
}

/// The last link of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub seq: i64,
    pub hash: Vec<u8>,
}
