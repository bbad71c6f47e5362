//! A sketch in memory: nothing yet, hashes one by one while they are few, then registers.

use std::fmt;

use super::estimate;
use super::parameters::Parameters;
use super::registers;

/// Two sketches that cannot be united.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Differ {
    pub left: Parameters,
    pub right: Parameters,
}

impl fmt::Display for Differ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sketches of parameters {} and {} cannot be united", self.left, self.right)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Hashes in ascending signed order, as they are stored; none for the empty sketch.
    Explicit(Vec<i64>),
    /// One byte a register.
    Registers(Box<[u8]>),
}

/// A HyperLogLog sketch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    pub(super) parameters: Parameters,
    pub(super) stage: Stage,
}

impl Sketch {
    pub fn new(parameters: Parameters) -> Sketch {
        Sketch { parameters, stage: Stage::Explicit(Vec::new()) }
    }

    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    pub fn is_empty(&self) -> bool {
        matches!(&self.stage, Stage::Explicit(hashes) if hashes.is_empty())
    }

    /// The hashes themselves while the sketch is exact.
    pub fn explicit(&self) -> Option<&[i64]> {
        match &self.stage {
            Stage::Explicit(hashes) => Some(hashes),
            Stage::Registers(_) => None,
        }
    }

    /// One byte a register, once the sketch is not exact any more.
    pub fn registers(&self) -> Option<&[u8]> {
        match &self.stage {
            Stage::Explicit(_) => None,
            Stage::Registers(registers) => Some(registers),
        }
    }

    /// A sketch from registers, one byte each.
    ///
    /// # Panics
    /// When their number or a value does not fit the parameters.
    pub fn from_registers(parameters: Parameters, registers: Box<[u8]>) -> Sketch {
        assert_eq!(registers.len(), parameters.registers());
        assert!(registers.iter().all(|register| *register <= parameters.max_register()));
        Sketch { parameters, stage: Stage::Registers(registers) }
    }

    /// A sketch from hashes in any order, kept one by one as long as the parameters let it.
    pub fn from_hashes(parameters: Parameters, mut hashes: Vec<i64>) -> Sketch {
        hashes.sort_unstable();
        hashes.dedup();
        let mut sketch = Sketch::new(parameters);
        sketch.add_all(&hashes);
        sketch
    }

    /// Adds a hash. Returns whether that changed the sketch.
    #[inline]
    pub fn add(&mut self, hash: u64) -> bool {
        match &mut self.stage {
            Stage::Registers(registers) => raise(self.parameters, registers, hash),
            Stage::Explicit(_) => self.add_explicit(hash),
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
            Stage::Explicit(_) => false,
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
        }
    }

    fn add_explicit(&mut self, hash: u64) -> bool {
        let Stage::Explicit(hashes) = &mut self.stage else {
            return false;
        };
        let Err(at) = hashes.binary_search(&(hash as i64)) else {
            return false;
        };
        if hashes.len() < self.parameters.max_explicit() {
            hashes.insert(at, hash as i64);
        } else {
            raise(self.parameters, self.promote(), hash);
        }
        true
    }

    /// Goes from hashes to registers, for good.
    fn promote(&mut self) -> &mut [u8] {
        if let Stage::Explicit(hashes) = &self.stage {
            let mut registers = no_registers(self.parameters.registers());
            for hash in hashes {
                raise(self.parameters, &mut registers, *hash as u64);
            }
            self.stage = Stage::Registers(registers);
        }
        match &mut self.stage {
            Stage::Registers(registers) => registers,
            Stage::Explicit(_) => unreachable!("just promoted"),
        }
    }

    /// Adds all that the other has seen.
    pub fn unite(&mut self, other: &Sketch) -> Result<(), Differ> {
        self.check(other.parameters)?;
        match &other.stage {
            Stage::Explicit(hashes) => self.unite_explicit(hashes),
            Stage::Registers(others) => registers::raise_to(self.promote(), others),
        }
        Ok(())
    }

    pub(super) fn check(&self, right: Parameters) -> Result<(), Differ> {
        if self.parameters == right { Ok(()) } else { Err(Differ { left: self.parameters, right }) }
    }

    /// Adds what an explicit sketch of the same parameters has seen. Hashes beyond the threshold, which another maker
    /// may have kept, stay where the other side has nothing to add: whichever side that is, so that a union does not
    /// depend on who comes first.
    pub(super) fn unite_explicit(&mut self, others: &[i64]) {
        match &mut self.stage {
            Stage::Explicit(hashes)
                if others.len() > self.parameters.max_explicit() && holds(others, hashes) =>
            {
                *hashes = others.to_vec();
            }
            _ => self.add_all(others),
        }
    }

    /// Adds hashes in ascending signed order without repetition.
    fn add_all(&mut self, others: &[i64]) {
        let hashes = match &mut self.stage {
            Stage::Explicit(hashes) if others.len() > 8 => hashes,
            _ => {
                for hash in others {
                    self.add(*hash as u64);
                }
                return;
            }
        };
        let merged = merge(hashes, others);
        let stays = merged.len() == hashes.len() || merged.len() <= self.parameters.max_explicit();
        *hashes = merged;
        if !stays {
            self.promote();
        }
    }

    /// Raises registers to packed ones.
    pub(super) fn raise_to_packed(&mut self, packed: &[u8]) {
        let width = self.parameters.regwidth();
        registers::raise_to_packed(self.promote(), packed, width);
    }

    /// Raises one register.
    pub(super) fn raise_register(&mut self, index: usize, value: u8) {
        let register = &mut self.promote()[index];
        *register = (*register).max(value);
    }

    /// How many distinct hashes the sketch has seen: exact while they are kept one by one, else an estimate with a
    /// standard error of 1.04 / sqrt(m).
    pub fn count(&self) -> f64 {
        match &self.stage {
            Stage::Explicit(hashes) => hashes.len() as f64,
            Stage::Registers(registers) => {
                let histogram = estimate::histogram(registers);
                estimate::estimate(&histogram, self.parameters.log2m(), self.parameters.regwidth())
            }
        }
    }
}

/// Registers at zero.
///
/// # Panics
/// When there is no memory for them: they may be 16 MiB, and a plain allocation that fails would take the process down.
fn no_registers(count: usize) -> Box<[u8]> {
    let mut registers = Vec::new();
    assert!(registers.try_reserve_exact(count).is_ok(), "out of memory for a sketch of {count} registers");
    registers.resize(count, 0);
    registers.into_boxed_slice()
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
fn merge(a: &[i64], b: &[i64]) -> Vec<i64> {
    let mut merged = Vec::with_capacity(a.len() + b.len());
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
    merged.extend_from_slice(a);
    merged.extend_from_slice(b);
    merged
}
