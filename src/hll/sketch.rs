//! A sketch in memory: nothing yet, hashes one by one while they are few, then registers.
//!
//! Its memory comes from an allocator: Rust's own, or a PostgreSQL memory context that counts it in work_mem. A sketch may take
//! 16 MiB and anybody may make one, so whatever allocates can be refused.

use allocator_api2::alloc::{Allocator, Global};
use allocator_api2::vec::Vec;

use super::estimate;
use super::parameters::Parameters;
use super::refused::{Differ, Refused, TooCoarse};
use super::registers;
use crate::fallible::{self, OutOfMemory};

const WHAT: &str = "a sketch";

#[derive(Debug)]
pub(super) enum Stage<A: Allocator> {
    /// Hashes in ascending signed order, as they are stored; none for the empty sketch.
    Explicit(Vec<i64, A>),
    /// One byte a register.
    Registers(Vec<u8, A>),
    /// Nobody knows what it has seen: postgresql-hll has such a sketch, and so has whatever it is united with.
    Undefined(A),
}

/// A HyperLogLog sketch.
#[derive(Debug)]
pub struct Sketch<A: Allocator = Global> {
    pub(super) parameters: Parameters,
    pub(super) stage: Stage<A>,
}

impl<A: Allocator + Copy, B: Allocator + Copy> PartialEq<Sketch<B>> for Sketch<A> {
    fn eq(&self, other: &Sketch<B>) -> bool {
        self.parameters == other.parameters
            && self.explicit() == other.explicit()
            && self.registers() == other.registers()
    }
}

impl Sketch {
    pub fn new(parameters: Parameters) -> Sketch {
        Sketch::new_in(parameters, Global)
    }

    /// A sketch of which nobody knows what it has seen.
    pub fn undefined(parameters: Parameters) -> Sketch {
        Sketch { parameters, stage: Stage::Undefined(Global) }
    }

    /// A sketch from registers, one byte each.
    ///
    /// # Panics
    /// When their number or a value does not fit the parameters.
    pub fn from_registers(
        parameters: Parameters,
        registers: impl Iterator<Item = u8>,
    ) -> Result<Sketch, OutOfMemory> {
        let mut taken = no_registers(parameters.registers(), Global)?;
        let given = taken.iter_mut().zip(registers).map(|(taken, register)| *taken = register).count();
        assert_eq!(given, parameters.registers());
        assert!(taken.iter().all(|register| *register <= parameters.max_register()));
        Ok(Sketch { parameters, stage: Stage::Registers(taken) })
    }

    /// A sketch from hashes in any order, kept one by one as long as the parameters let it.
    pub fn from_hashes(
        parameters: Parameters,
        hashes: impl Iterator<Item = i64>,
    ) -> Result<Sketch, OutOfMemory> {
        let mut hashes = fallible::collect(hashes, WHAT)?;
        hashes.sort_unstable();
        hashes.dedup();
        let mut sketch = Sketch::new(parameters);
        sketch.add_all(&hashes)?;
        Ok(sketch)
    }
}

impl<A: Allocator + Copy> Sketch<A> {
    pub fn new_in(parameters: Parameters, memory: A) -> Sketch<A> {
        Sketch { parameters, stage: Stage::Explicit(Vec::new_in(memory)) }
    }

    /// A copy, in memory of the copy's own.
    pub fn copy_in<B: Allocator + Copy>(&self, memory: B) -> Result<Sketch<B>, OutOfMemory> {
        let mut copy = Sketch::new_in(self.parameters, memory);
        match &self.stage {
            Stage::Explicit(hashes) => copy.stage = Stage::Explicit(copied(hashes, memory)?),
            Stage::Registers(registers) => copy.stage = Stage::Registers(copied(registers, memory)?),
            Stage::Undefined(_) => copy.stage = Stage::Undefined(memory),
        }
        Ok(copy)
    }

    fn memory(&self) -> A {
        match &self.stage {
            Stage::Explicit(hashes) => *hashes.allocator(),
            Stage::Registers(registers) => *registers.allocator(),
            Stage::Undefined(memory) => *memory,
        }
    }

    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    pub fn is_empty(&self) -> bool {
        matches!(&self.stage, Stage::Explicit(hashes) if hashes.is_empty())
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self.stage, Stage::Undefined(_))
    }

    pub(super) fn make_undefined(&mut self) {
        self.stage = Stage::Undefined(self.memory());
    }

    /// The hashes themselves while the sketch is exact.
    pub fn explicit(&self) -> Option<&[i64]> {
        match &self.stage {
            Stage::Explicit(hashes) => Some(hashes),
            Stage::Registers(_) | Stage::Undefined(_) => None,
        }
    }

    /// One byte a register, once the sketch is not exact any more.
    pub fn registers(&self) -> Option<&[u8]> {
        match &self.stage {
            Stage::Explicit(_) | Stage::Undefined(_) => None,
            Stage::Registers(registers) => Some(registers),
        }
    }

    /// Adds a hash. Returns whether that changed the sketch.
    #[inline]
    pub fn add(&mut self, hash: u64) -> Result<bool, OutOfMemory> {
        match &mut self.stage {
            Stage::Registers(registers) => Ok(raise(self.parameters, registers, hash)),
            Stage::Explicit(_) => self.add_explicit(hash),
            Stage::Undefined(_) => Ok(false),
        }
    }

    /// Adds a hash where that only raises a register, which cannot fail; false when it was not added.
    #[inline]
    pub fn add_to_registers(&mut self, hash: u64) -> bool {
        match &mut self.stage {
            Stage::Registers(registers) => {
                raise(self.parameters, registers, hash);
                true
            }
            Stage::Explicit(_) | Stage::Undefined(_) => false,
        }
    }

    /// Whether adding the hash would change nothing.
    pub fn covers(&self, hash: u64) -> bool {
        match &self.stage {
            Stage::Explicit(hashes) => hashes.binary_search(&(hash as i64)).is_ok(),
            Stage::Registers(registers) => {
                let (index, rank) = self.parameters.place(hash);
                registers[index] >= rank
            }
            Stage::Undefined(_) => true,
        }
    }

    fn add_explicit(&mut self, hash: u64) -> Result<bool, OutOfMemory> {
        let Stage::Explicit(hashes) = &mut self.stage else {
            return Ok(false);
        };
        let Err(at) = hashes.binary_search(&(hash as i64)) else {
            return Ok(false);
        };
        if hashes.len() < self.parameters.max_explicit() {
            fallible::reserve(hashes, 1, WHAT)?;
            hashes.insert(at, hash as i64);
        } else {
            raise(self.parameters, self.promote()?, hash);
        }
        Ok(true)
    }

    /// Goes from hashes to registers, for good.
    fn promote(&mut self) -> Result<&mut [u8], OutOfMemory> {
        if let Stage::Explicit(hashes) = &self.stage {
            let mut registers = no_registers(self.parameters.registers(), self.memory())?;
            for hash in hashes {
                raise(self.parameters, &mut registers, *hash as u64);
            }
            self.stage = Stage::Registers(registers);
        }
        match &mut self.stage {
            Stage::Registers(registers) => Ok(registers),
            Stage::Explicit(_) | Stage::Undefined(_) => unreachable!("just promoted"),
        }
    }

    /// Adds all that the other has seen.
    pub fn unite<B: Allocator>(&mut self, other: &Sketch<B>) -> Result<(), Refused> {
        self.check(other.parameters)?;
        match &other.stage {
            _ if self.is_undefined() => {}
            Stage::Explicit(hashes) => self.unite_explicit(hashes)?,
            Stage::Registers(others) => registers::raise_to(self.promote()?, others),
            Stage::Undefined(_) => self.make_undefined(),
        }
        Ok(())
    }

    /// What the sketch would be, made of the same values with other parameters: no more registers, and none wider.
    ///
    /// Of 2^p registers, register i is one of those that the lowest q bits of its number name; the other bits of the number are lowest bits
    /// of what ranks are counted in. A hash whose bits above the p lowest are all zero has left no trace, and leaves none here.
    pub fn fold(&self, to: Parameters) -> Result<Sketch, Refused> {
        let from = self.parameters;
        if to.log2m() > from.log2m() || to.regwidth() > from.regwidth() {
            return Err(TooCoarse { from, to }.into());
        }
        let mut folded = Sketch::new(to);
        match &self.stage {
            Stage::Undefined(_) => folded.make_undefined(),
            Stage::Explicit(hashes) => folded.add_all(hashes)?,
            Stage::Registers(registers) => {
                let into = folded.promote()?;
                let seen = registers.iter().enumerate().filter(|(_, rank)| **rank > 0);
                for (number, rank) in seen {
                    let (low, high) = (number & (into.len() - 1), number >> to.log2m());
                    let rank = match high {
                        0 => rank.saturating_add(from.log2m() - to.log2m()),
                        high => high.trailing_zeros() as u8 + 1,
                    };
                    into[low] = into[low].max(rank.min(to.max_register()));
                }
            }
        }
        Ok(folded)
    }

    pub(super) fn check(&self, right: Parameters) -> Result<(), Differ> {
        if self.parameters == right { Ok(()) } else { Err(Differ { left: self.parameters, right }) }
    }

    /// Adds what an explicit sketch of the same parameters has seen. Hashes beyond the threshold, which another maker
    /// may have kept, stay where the other side has nothing to add: whichever side that is, so that a union does not
    /// depend on who comes first.
    pub(super) fn unite_explicit(&mut self, others: &[i64]) -> Result<(), OutOfMemory> {
        let memory = self.memory();
        match &mut self.stage {
            Stage::Explicit(hashes)
                if others.len() > self.parameters.max_explicit() && holds(others, hashes) =>
            {
                *hashes = copied(others, memory)?;
                Ok(())
            }
            _ => self.add_all(others),
        }
    }

    /// Adds hashes in ascending signed order without repetition.
    fn add_all(&mut self, others: &[i64]) -> Result<(), OutOfMemory> {
        let memory = self.memory();
        let hashes = match &mut self.stage {
            Stage::Explicit(hashes) if others.len() > 8 => hashes,
            _ => {
                for hash in others {
                    self.add(*hash as u64)?;
                }
                return Ok(());
            }
        };
        let merged = merge(hashes, others, memory)?;
        let stays = merged.len() == hashes.len() || merged.len() <= self.parameters.max_explicit();
        *hashes = merged;
        if !stays {
            self.promote()?;
        }
        Ok(())
    }

    /// Raises registers to packed ones.
    pub(super) fn raise_to_packed(&mut self, packed: &[u8]) -> Result<(), OutOfMemory> {
        let width = self.parameters.regwidth();
        registers::raise_to_packed(self.promote()?, packed, width);
        Ok(())
    }

    /// The registers, to be raised; from here on the sketch has them.
    pub(super) fn registers_mut(&mut self) -> Result<&mut [u8], OutOfMemory> {
        self.promote()
    }

    /// How many distinct hashes the sketch has seen: exact while they are kept one by one, else an estimate with a
    /// standard error of 1.04 / sqrt(m). NaN where it is undefined.
    pub fn count(&self) -> f64 {
        match &self.stage {
            Stage::Explicit(hashes) => hashes.len() as f64,
            Stage::Undefined(_) => f64::NAN,
            Stage::Registers(registers) => {
                let histogram = estimate::histogram(registers);
                estimate::estimate(&histogram, self.parameters.log2m(), self.parameters.regwidth())
            }
        }
    }
}

/// Registers at zero.
fn no_registers<A: Allocator>(count: usize, memory: A) -> Result<Vec<u8, A>, OutOfMemory> {
    let mut registers = Vec::new_in(memory);
    fallible::reserve_exact(&mut registers, count, WHAT)?;
    registers.resize(count, 0);
    Ok(registers)
}

fn copied<T: Clone, A: Allocator>(elements: &[T], memory: A) -> Result<Vec<T, A>, OutOfMemory> {
    let mut copied = Vec::new_in(memory);
    fallible::reserve_exact(&mut copied, elements.len(), WHAT)?;
    copied.extend_from_slice(elements);
    Ok(copied)
}

#[inline]
fn raise(parameters: Parameters, registers: &mut [u8], hash: u64) -> bool {
    let (index, rank) = parameters.place(hash);
    // There always is one; saying so without a check that could panic is what `add_to_registers` is called for.
    let Some(register) = registers.get_mut(index) else { return false };
    let raised = *register < rank;
    if raised {
        *register = rank;
    }
    raised
}

/// Whether all of `few` are among `many`, which are in ascending order.
fn holds(many: &[i64], few: &[i64]) -> bool {
    few.iter().all(|hash| many.binary_search(hash).is_ok())
}

/// Both in ascending order without repetition; so is the result.
fn merge<A: Allocator>(a: &[i64], b: &[i64], memory: A) -> Result<Vec<i64, A>, OutOfMemory> {
    let mut merged = Vec::new_in(memory);
    fallible::reserve_exact(&mut merged, a.len() + b.len(), WHAT)?;
    let (mut a, mut b) = (a, b);
    while let (Some((first_a, rest_a)), Some((first_b, rest_b))) = (a.split_first(), b.split_first()) {
        merged.push(*first_a.min(first_b));
        if first_a <= first_b {
            a = rest_a;
        }
        if first_b <= first_a {
            b = rest_b;
        }
    }
    // BOUND: room for both was made above.
    merged.extend_from_slice(a);
    merged.extend_from_slice(b);
    Ok(merged)
}
