//! What the audit log says of one change of a counter. Plain Rust.

/// Which kind of change an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Increment,
    Reset,
    Set,
    Drop,
    /// Makes the log agree with the total where auditing begins.
    Open,
}

impl From<crate::family::Operation> for Operation {
    fn from(operation: crate::family::Operation) -> Operation {
        use crate::family::Operation::*;
        match operation {
            Increment => Operation::Increment,
            Reset => Operation::Reset,
            Set => Operation::Set,
            Drop => Operation::Drop,
        }
    }
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Operation::Increment => "increment",
            Operation::Reset => "reset",
            Operation::Set => "set",
            Operation::Drop => "drop",
            Operation::Open => "open",
        }
    }
}

/// An entry, as its row says: whoever tampers with it need not keep to `Operation`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
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
    pub entry: Entry,
    pub hash: Vec<u8>,
}

/// The last link of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub seq: i64,
    pub hash: Vec<u8>,
}
