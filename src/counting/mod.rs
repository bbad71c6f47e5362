//! An increment's way: pending in backend memory, settled into slot rows before commit, added to shared memory
//! after it; and the reads and changes that see all three.

pub mod change;
pub mod compaction;
mod pending;
pub mod read;
mod settle;
mod slot_choice;
pub mod transaction;
