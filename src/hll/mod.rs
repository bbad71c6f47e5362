//! HyperLogLog sketches: how many distinct things there were, from a few kilobytes.
//!
//! Plain Rust, without PostgreSQL. The bytes are those of the Aggregate Knowledge HLL storage specification v1.0.0,
//! which postgresql-hll, java-hll and js-hll share; the estimate is Ertl's, which needs no bias tables.
//!
//! | file | responsibility |
//! | --- | --- |
//! | `parameters` | what a sketch was made with, in its header and as a type modifier |
//! | `sketch` | adding hashes, union, membership, folding |
//! | `refused` | why a sketch was not read, not united, or not folded |
//! | `codec` | bytes to sketch and back, every byte checked |
//! | `registers` | packed registers, eight at a time |
//! | `estimate` | the number of distinct hashes behind registers |
//! | `murmur` | the hash function |

pub mod codec;
pub mod estimate;
pub mod murmur;
pub mod parameters;
pub mod refused;
pub mod registers;
pub mod sketch;

pub use codec::{Look, Stored};
pub use parameters::{BadParameter, Parameters};
pub use refused::{Differ, Malformed, Refused, TooCoarse};
pub use sketch::Sketch;
