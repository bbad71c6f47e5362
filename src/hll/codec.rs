//! Sketches as bytes: Aggregate Knowledge HLL storage specification v1.0.0.
//!
//! Byte 0: version (1) and stage. Byte 1: `regwidth` - 1 in three bits, `log2m` in five. Byte 2: `sparseon` in bit 6,
//! the explicit threshold in the lower six. Then, by stage: UNDEFINED, of which nobody knows what it has seen, nothing; EMPTY nothing; EXPLICIT the hashes, eight bytes each,
//! ascending as signed numbers; SPARSE for each register that is not zero its index and value, packed; FULL all
//! registers, packed. Everything is big-endian, the last byte padded with zero bits.

use allocator_api2::alloc::{Allocator, Global};

use super::parameters::{HEADER_BYTES, MAX_EXPLICIT, Parameters, VERSION};
use super::refused::{Malformed, Refused};
use super::registers;
use super::sketch::{Sketch, Stage};
use crate::fallible::{self, OutOfMemory};

const UNDEFINED: u8 = 0;
const EMPTY: u8 = 1;
const EXPLICIT: u8 = 2;
const SPARSE: u8 = 3;
const FULL: u8 = 4;
const WHAT: &str = "a sketch's bytes";

/// A sketch's bytes taken apart at the header.
#[derive(Clone, Copy)]
struct Packed<'a> {
    stage: u8,
    parameters: Parameters,
    body: &'a [u8],
}

impl<'a> Packed<'a> {
    fn open(bytes: &'a [u8]) -> Result<Packed<'a>, Malformed> {
        let Some(([first, a, b], body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Malformed::TooShort);
        };
        if first >> 4 != VERSION {
            return Err(Malformed::Version(first >> 4));
        }
        let stage = first & 0x0f;
        if stage > FULL {
            return Err(Malformed::Stage(stage));
        }
        let parameters = Parameters::from_header([*a, *b]).ok_or(Malformed::Parameters([*a, *b]))?;
        Ok(Packed { stage, parameters, body })
    }

    fn wrong_length(&self) -> Malformed {
        Malformed::Length { bytes: HEADER_BYTES + self.body.len() }
    }

    fn hashes(&self) -> Result<Vec<i64>, Refused> {
        let (hashes, rest) = self.body.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(self.wrong_length().into());
        }
        if hashes.len() > MAX_EXPLICIT {
            return Err(Malformed::TooManyHashes { hashes: hashes.len() }.into());
        }
        let hashes = fallible::collect(hashes.iter().map(|hash| i64::from_be_bytes(*hash)), WHAT)?;
        if hashes.is_sorted_by(|a, b| a < b) { Ok(hashes) } else { Err(Malformed::Order.into()) }
    }

    /// Shows every register of a SPARSE sketch.
    fn for_each_sparse(&self, mut see: impl FnMut(usize, u8)) -> Result<(), Malformed> {
        let width = u32::from(self.parameters.regwidth());
        let entry_bits = u32::from(self.parameters.log2m()) + width;
        let mut bits = BitReader::new(self.body);
        let mut before = None;
        while bits.left() >= entry_bits as usize {
            let entry = bits.take(entry_bits);
            let (index, value) = ((entry >> width) as usize, entry as u8 & self.parameters.max_register());
            if value == 0 {
                // Where entries are shorter than a byte, one of nothing but padding may seem to follow the last.
                let padding = entry == 0 && bits.left() + (entry_bits as usize) < 8;
                return if padding && bits.rest_is_zero() { Ok(()) } else { Err(Malformed::NotCanonical) };
            }
            if before.is_some_and(|before| before >= index) {
                return Err(Malformed::Order);
            }
            before = Some(index);
            see(index, value);
        }
        if bits.left() >= 8 {
            return Err(self.wrong_length());
        }
        if bits.rest_is_zero() { Ok(()) } else { Err(Malformed::NotCanonical) }
    }
}

impl Sketch {
    /// Reads a sketch. Every byte is checked; what it returns encodes again to a sketch that reads the same.
    pub fn decode(bytes: &[u8]) -> Result<Sketch, Refused> {
        Sketch::decode_in(bytes, Global)
    }

    /// The parameters that a sketch's bytes carry.
    pub fn parameters_of(bytes: &[u8]) -> Result<Parameters, Malformed> {
        Packed::open(bytes).map(|packed| packed.parameters)
    }

    /// How the bytes hold what the sketch has seen.
    pub fn stored_as(bytes: &[u8]) -> Result<Stored, Malformed> {
        Ok(match Packed::open(bytes)?.stage {
            UNDEFINED => Stored::Undefined,
            EMPTY => Stored::Empty,
            EXPLICIT => Stored::Explicit,
            SPARSE => Stored::Sparse,
            _ => Stored::Full,
        })
    }

    /// What a stored sketch says of one hash, without being read as a whole. `None`: it is undefined. Errors: its bytes are no sketch, or
    /// one of other parameters.
    pub fn look(bytes: &[u8], parameters: Parameters, hash: u64) -> Result<Option<Look>, Refused> {
        let packed = Packed::open(bytes)?;
        Sketch::new(parameters).check(packed.parameters)?;
        let (register, _) = parameters.place(hash);
        let mut look = Look::default();
        match packed.stage {
            EMPTY if packed.body.is_empty() => {}
            UNDEFINED if packed.body.is_empty() => return Ok(None),
            EXPLICIT => {
                let (hashes, rest) = packed.body.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(packed.wrong_length().into());
                }
                look.hashes = hashes.len();
                for held in hashes.iter().map(|held| u64::from_be_bytes(*held)) {
                    look.is_held |= held == hash;
                    let (of, rank) = parameters.place(held);
                    if of == register {
                        look.rank = look.rank.max(rank);
                    }
                }
            }
            SPARSE => {
                look.are_registers = true;
                packed.for_each_sparse(|index, value| {
                    if index == register {
                        look.rank = value;
                    }
                })?;
            }
            FULL if packed.body.len() == parameters.packed_bytes() => {
                look.are_registers = true;
                look.rank = registers::packed_at(packed.body, parameters.regwidth(), register);
            }
            _ => return Err(packed.wrong_length().into()),
        }
        Ok(Some(look))
    }

    /// Reads a sketch as others may write it: the undefined one also as its first byte alone, which says no parameters.
    pub fn decode_foreign(bytes: &[u8]) -> Result<Sketch, Refused> {
        if bytes == [VERSION << 4 | UNDEFINED] {
            return Ok(Sketch::undefined(Parameters::default()));
        }
        Sketch::decode(bytes)
    }
}

/// What is said of one hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Hashes held one by one.
    pub hashes: usize,
    /// There are registers, so that hashes are not known one by one.
    pub are_registers: bool,
    /// The hash is one of those held.
    pub is_held: bool,
    /// Its register, of all hashes held.
    pub rank: u8,
}

impl Look {
    /// What several sketches say together.
    pub fn unite(&mut self, other: Look) {
        self.hashes += other.hashes;
        self.are_registers |= other.are_registers;
        self.is_held |= other.is_held;
        self.rank = self.rank.max(other.rank);
    }

    /// Whether the union of all of them covers the hash; `None` where that takes the union itself: they may be too many to be held
    /// one by one, or the same several times.
    pub fn covers(&self, parameters: Parameters, hash: u64) -> Option<bool> {
        if self.is_held {
            Some(true)
        } else if self.are_registers {
            Some(self.rank >= parameters.place(hash).1)
        } else {
            (self.hashes <= parameters.max_explicit()).then_some(false)
        }
    }
}

/// The stages of the storage format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Undefined,
    Empty,
    Explicit,
    Sparse,
    Full,
}

impl<A: Allocator + Copy> Sketch<A> {
    /// As `decode`, into memory of the caller's choice.
    pub fn decode_in(bytes: &[u8], memory: A) -> Result<Sketch<A>, Refused> {
        let packed = Packed::open(bytes)?;
        let mut sketch = Sketch::new_in(packed.parameters, memory);
        sketch.take_in(packed)?;
        Ok(sketch)
    }

    /// Adds all that a stored sketch has seen. On an error `self` may have taken in a part of it.
    pub fn unite_encoded(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let packed = Packed::open(bytes)?;
        self.check(packed.parameters)?;
        self.take_in(packed)
    }

    fn take_in(&mut self, packed: Packed<'_>) -> Result<(), Refused> {
        if self.is_undefined() {
            // It stays so; what comes is read to be checked.
            return Sketch::new(packed.parameters).take_in(packed);
        }
        match packed.stage {
            EMPTY if packed.body.is_empty() => Ok(()),
            UNDEFINED if packed.body.is_empty() => {
                self.make_undefined();
                Ok(())
            }
            EXPLICIT => Ok(self.unite_explicit(&packed.hashes()?)?),
            SPARSE => {
                // Also one without entries is past the stage of hashes.
                let registers = self.registers_mut()?;
                packed.for_each_sparse(|index, value| registers[index] = registers[index].max(value))?;
                Ok(())
            }
            FULL if packed.body.len() == packed.parameters.packed_bytes() => {
                Ok(self.raise_to_packed(packed.body)?)
            }
            _ => Err(packed.wrong_length().into()),
        }
    }

    /// The sketch as bytes.
    pub fn encode(&self) -> Result<Vec<u8>, OutOfMemory> {
        let begin = |stage: u8, body_bytes: usize| {
            let [a, b] = self.parameters.header();
            let mut bytes = fallible::with_room(HEADER_BYTES + body_bytes, WHAT)?;
            bytes.extend([VERSION << 4 | stage, a, b]);
            Ok(bytes)
        };
        match &self.stage {
            Stage::Undefined(_) => begin(UNDEFINED, 0),
            Stage::Explicit(hashes) if hashes.is_empty() => begin(EMPTY, 0),
            Stage::Explicit(hashes) => {
                let mut bytes = begin(EXPLICIT, 8 * hashes.len())?;
                // BOUND: room for all hashes.
                bytes.extend(hashes.iter().flat_map(|hash| hash.to_be_bytes()));
                Ok(bytes)
            }
            Stage::Registers(registers) => {
                let width = self.parameters.regwidth();
                let entry_bits = usize::from(self.parameters.log2m() + width);
                let filled = registers.iter().filter(|register| **register != 0).count();
                let sparse_bits = filled * entry_bits;
                if self.parameters.sparseon() && sparse_bits < registers.len() * usize::from(width) {
                    let mut bytes = begin(SPARSE, sparse_bits.div_ceil(8))?;
                    encode_sparse(registers, width, entry_bits as u32, &mut bytes);
                    Ok(bytes)
                } else {
                    let mut bytes = begin(FULL, self.parameters.packed_bytes())?;
                    registers::pack(registers, width, &mut bytes);
                    Ok(bytes)
                }
            }
        }
    }
}

/// Appends the registers that are not zero, packed.
fn encode_sparse(registers: &[u8], width: u8, entry_bits: u32, bytes: &mut Vec<u8>) {
    // Never more than 7 bits left over plus one entry of at most 32.
    let mut held = 0u64;
    let mut bits = 0;
    for (index, value) in registers.iter().enumerate().filter(|(_, value)| **value != 0) {
        held = held << entry_bits | (index as u64) << width | u64::from(*value);
        bits += entry_bits;
        while bits >= 8 {
            bits -= 8;
            // BOUND: `encode` has made room for all bits.
            bytes.push((held >> bits) as u8);
        }
    }
    if bits > 0 {
        // BOUND: the last byte of that room.
        bytes.push((held << (8 - bits)) as u8);
    }
}

/// Bits from the highest of the first byte on.
struct BitReader<'a> {
    bytes: &'a [u8],
    held: u64,
    bits: u32,
}

impl<'a> BitReader<'a> {
    fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, held: 0, bits: 0 }
    }

    fn left(&self) -> usize {
        self.bytes.len() * 8 + self.bits as usize
    }

    /// The next bits; there must be as many left.
    fn take(&mut self, count: u32) -> u64 {
        while self.bits < count {
            let Some((first, rest)) = self.bytes.split_first() else { break };
            self.held = self.held << 8 | u64::from(*first);
            self.bits += 8;
            self.bytes = rest;
        }
        self.bits -= count;
        let taken = self.held >> self.bits;
        self.held &= (1 << self.bits) - 1;
        taken
    }

    fn rest_is_zero(&self) -> bool {
        self.held == 0 && self.bytes.iter().all(|byte| *byte == 0)
    }
}
