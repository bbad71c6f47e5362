//! What a sketch was made with: number and width of registers, how long it stays exact, whether it may be stored
//! sparse. Sketches can be united only where all four agree.

use std::fmt;

/// Of the storage format.
pub(super) const VERSION: u8 = 1;
pub(super) const HEADER_BYTES: usize = 3;

/// Most hashes that are kept one by one, whatever the threshold says. postgresql-hll has the same bound.
pub const MAX_EXPLICIT: usize = 16_383;

pub const LOG2M_RANGE: std::ops::RangeInclusive<u8> = 4..=24;
pub const REGWIDTH_RANGE: std::ops::RangeInclusive<u8> = 1..=8;
/// Largest threshold that the header can hold: 2^30.
const MAX_EXPTHRESH: i64 = 1 << 30;
/// `expthresh` as the header has it when the threshold follows from the size.
const AUTO: u8 = 63;
const MAX_ENCODED: u8 = 31;

/// A sketch's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parameters {
    log2m: u8,
    regwidth: u8,
    /// As in the header: 0 never explicit, 63 automatic, n for 2^(n-1) hashes.
    expthresh: u8,
    sparseon: bool,
}

/// A parameter outside its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadParameter {
    pub name: &'static str,
    pub value: i64,
    pub allowed: &'static str,
}

impl fmt::Display for BadParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}; it must be {}", self.name, self.value, self.allowed)
    }
}

impl Default for Parameters {
    /// 16,384 registers of 5 bits: a standard error of 0.81 %, in 10 KiB.
    fn default() -> Parameters {
        Parameters { log2m: 14, regwidth: 5, expthresh: AUTO, sparseon: true }
    }
}

impl Parameters {
    /// `log2m` 4 to 24, `regwidth` 1 to 8, `expthresh` -1 (automatic), 0 (never) or a power of two, `sparseon` 0 or 1.
    pub fn new(log2m: i64, regwidth: i64, expthresh: i64, sparseon: i64) -> Result<Parameters, BadParameter> {
        let bad = |name, value, allowed| Err(BadParameter { name, value, allowed });
        let Some(log2m) = u8::try_from(log2m).ok().filter(|log2m| LOG2M_RANGE.contains(log2m)) else {
            return bad("log2m", log2m, "4 to 24");
        };
        let Some(regwidth) = u8::try_from(regwidth).ok().filter(|width| REGWIDTH_RANGE.contains(width))
        else {
            return bad("regwidth", regwidth, "1 to 8");
        };
        let expthresh = match expthresh {
            -1 => AUTO,
            0 => 0,
            1..=MAX_EXPTHRESH if expthresh.count_ones() == 1 => expthresh.trailing_zeros() as u8 + 1,
            _ => return bad("expthresh", expthresh, "-1, 0, or a power of two up to 2^30"),
        };
        if !(0..=1).contains(&sparseon) {
            return bad("sparseon", sparseon, "0 or 1");
        }
        Ok(Parameters { log2m, regwidth, expthresh, sparseon: sparseon == 1 })
    }

    pub fn with_log2m(log2m: i64) -> Result<Parameters, BadParameter> {
        Parameters::new(log2m, 5, -1, 1)
    }

    /// The same with another number of registers.
    pub fn and_log2m(self, log2m: i64) -> Result<Parameters, BadParameter> {
        Parameters::new(log2m, i64::from(self.regwidth), self.expthresh(), i64::from(self.sparseon))
    }

    /// The second and third byte of a sketch; `None` where they are not parameters that this code works with.
    pub(super) fn from_header(header: [u8; 2]) -> Option<Parameters> {
        let [registers, rest] = header;
        let expthresh = rest & 0x3f;
        let parameters = Parameters {
            log2m: registers & 0x1f,
            regwidth: (registers >> 5) + 1,
            expthresh,
            sparseon: rest & 0x40 != 0,
        };
        let known = rest & 0x80 == 0
            && LOG2M_RANGE.contains(&parameters.log2m)
            && (expthresh <= MAX_ENCODED || expthresh == AUTO);
        known.then_some(parameters)
    }

    pub(super) fn header(self) -> [u8; 2] {
        [(self.regwidth - 1) << 5 | self.log2m, u8::from(self.sparseon) << 6 | self.expthresh]
    }

    /// As a type modifier: 15 bits, never negative.
    pub fn to_typmod(self) -> i32 {
        let [registers, rest] = self.header();
        i32::from(registers) << 7 | i32::from(rest)
    }

    /// From what `to_typmod` made.
    pub fn from_typmod(typmod: i32) -> Option<Parameters> {
        let registers = u8::try_from(typmod >> 7).ok()?;
        Parameters::from_header([registers, (typmod & 0x7f) as u8])
    }

    pub fn log2m(self) -> u8 {
        self.log2m
    }

    pub fn regwidth(self) -> u8 {
        self.regwidth
    }

    /// -1 automatic, 0 never explicit, else the most hashes kept one by one.
    pub fn expthresh(self) -> i64 {
        match self.expthresh {
            AUTO => -1,
            0 => 0,
            encoded => 1 << (encoded - 1),
        }
    }

    pub fn sparseon(self) -> bool {
        self.sparseon
    }

    /// Number of registers.
    pub fn registers(self) -> usize {
        1 << self.log2m
    }

    /// Bytes of all registers, packed.
    pub fn packed_bytes(self) -> usize {
        self.registers() * usize::from(self.regwidth) / 8
    }

    /// Most hashes kept one by one: automatically as many as take no more room than the registers.
    pub fn max_explicit(self) -> usize {
        let wanted = match self.expthresh() {
            -1 => self.packed_bytes() / 8,
            threshold => threshold as usize,
        };
        wanted.min(MAX_EXPLICIT)
    }

    /// Largest value that fits into a register.
    pub fn max_register(self) -> u8 {
        u8::MAX >> (8 - self.regwidth)
    }

    /// Which register a hash belongs to, and the value it asks for: the position of the lowest bit set above the
    /// index, from 1; 0, which changes nothing, when there is none.
    #[inline]
    pub fn place(self, hash: u64) -> (usize, u8) {
        let index = hash as usize & (self.registers() - 1);
        let rest = hash >> self.log2m;
        let rank = if rest == 0 { 0 } else { rest.trailing_zeros() as u8 + 1 };
        (index, rank.min(self.max_register()))
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sparseon = u8::from(self.sparseon);
        write!(f, "({},{},{},{sparseon})", self.log2m, self.regwidth, self.expthresh())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_survives_header_and_typmod() {
        for log2m in 4..=24 {
            for regwidth in 1..=8 {
                for expthresh in [-1, 0, 1, 2, 1024, 1 << 30] {
                    for sparseon in 0..=1 {
                        let parameters =
                            Parameters::new(log2m, regwidth, expthresh, sparseon).expect("valid");
                        assert_eq!(Parameters::from_header(parameters.header()), Some(parameters));
                        assert!(parameters.to_typmod() >= 0);
                        assert_eq!(Parameters::from_typmod(parameters.to_typmod()), Some(parameters));
                        assert_eq!(parameters.expthresh(), expthresh);
                    }
                }
            }
        }
    }

    #[test]
    fn bounds() {
        for (log2m, regwidth, expthresh, sparseon, name) in [
            (3, 5, -1, 1, "log2m"),
            (25, 5, -1, 1, "log2m"),
            (-1, 5, -1, 1, "log2m"),
            (14, 0, -1, 1, "regwidth"),
            (14, 9, -1, 1, "regwidth"),
            (14, 5, -2, 1, "expthresh"),
            (14, 5, 3, 1, "expthresh"),
            (14, 5, 1 << 31, 1, "expthresh"),
            (14, 5, -1, 2, "sparseon"),
        ] {
            let error = Parameters::new(log2m, regwidth, expthresh, sparseon).expect_err("out of range");
            assert_eq!(error.name, name);
        }
    }

    #[test]
    fn places() {
        let parameters = Parameters::new(4, 2, 0, 1).expect("valid");
        assert_eq!(parameters.place(0x0000_0000_0000_001f), (15, 1));
        assert_eq!(parameters.place(0x0000_0000_0000_0020), (0, 2));
        assert_eq!(parameters.place(0x0000_0000_0000_0000), (0, 0));
        assert_eq!(parameters.place(0x8000_0000_0000_0003), (3, 3), "capped at what two bits hold");
    }
}
