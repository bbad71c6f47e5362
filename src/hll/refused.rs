//! Why a sketch was not read, not united with another, or not folded.

use std::fmt;

use super::parameters::{HEADER_BYTES, MAX_EXPLICIT, Parameters, VERSION};
use crate::fallible::OutOfMemory;

/// Bytes that are not a sketch, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    TooShort,
    Version(u8),
    /// Text that should be hexadecimal.
    Hex,
    Stage(u8),
    Parameters([u8; 2]),
    /// Not as long as stage and parameters say.
    Length {
        bytes: usize,
    },
    TooManyHashes {
        hashes: usize,
    },
    /// Hashes or registers are not in ascending order, or repeat.
    Order,
    /// A register that is stored though it is zero, or padding that is not.
    NotCanonical,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::TooShort => write!(f, "it is shorter than its header of {HEADER_BYTES} bytes"),
            Malformed::Version(version) => write!(f, "its version is {version}, not {VERSION}"),
            Malformed::Stage(stage) => write!(f, "there is no stage {stage}"),
            Malformed::Parameters([a, b]) => {
                let (log2m, regwidth) = (a & 0x1f, (a >> 5) + 1);
                write!(
                    f,
                    "its parameters are out of range: log2m {log2m}, regwidth {regwidth}, third byte {b:02x}"
                )
            }
            Malformed::Hex => f.write_str("it is not hexadecimal behind \\x"),
            Malformed::Length { bytes } => {
                write!(f, "{bytes} bytes are not what its stage and parameters take")
            }
            Malformed::TooManyHashes { hashes } => write!(f, "{hashes} hashes are more than {MAX_EXPLICIT}"),
            Malformed::Order => write!(f, "its entries are not in ascending order"),
            Malformed::NotCanonical => write!(f, "it stores a zero register, or its padding is not zero"),
        }
    }
}

/// Two sketches that cannot be united.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differ {
    pub left: Parameters,
    pub right: Parameters,
}

impl Differ {
    /// The larger and the smaller log2m, where nothing else differs.
    pub fn larger_log2m(&self) -> Option<(u8, u8)> {
        let (left, right) = (self.left.log2m(), self.right.log2m());
        let is_all = self.left.and_log2m(i64::from(right)) == Ok(self.right);
        (is_all && left != right).then_some((left.max(right), left.min(right)))
    }
}

impl fmt::Display for Differ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sketches of parameters {} and {} cannot be united", self.left, self.right)
    }
}

/// A sketch that cannot be folded, since it knows less than the parameters ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooCoarse {
    pub from: Parameters,
    pub to: Parameters,
}

impl fmt::Display for TooCoarse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a sketch of parameters {} cannot be folded to {}", self.from, self.to)
    }
}

/// Why a sketch was not read, not united with another, or not folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Malformed(Malformed),
    Differ(Differ),
    TooCoarse(TooCoarse),
    OutOfMemory(OutOfMemory),
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Refused {
        Refused::Malformed(malformed)
    }
}

impl From<Differ> for Refused {
    fn from(differ: Differ) -> Refused {
        Refused::Differ(differ)
    }
}

impl From<TooCoarse> for Refused {
    fn from(coarse: TooCoarse) -> Refused {
        Refused::TooCoarse(coarse)
    }
}

impl From<OutOfMemory> for Refused {
    fn from(refused: OutOfMemory) -> Refused {
        Refused::OutOfMemory(refused)
    }
}
