//! Packed registers: `regwidth` bits each, the first in the highest bits. Eight of them fill `regwidth` bytes, so
//! they are spread and gathered eight at a time, a 64-bit word of byte lanes at once.
//!
//! What a union spends its time in is compiled twice, and the processor asked once which of both it can run: with vectors of
//! 32 bytes it takes half as long. Everything it calls must be inlined into it to be compiled so.

use multiversion::multiversion;

/// Registers unpacked at once: few enough for the first-level cache.
const BLOCK: usize = 512;
const BLOCK_GROUPS: usize = BLOCK / 8;

/// Spreads one group of eight registers, in the low bits of `group`, to one byte each; the first in the lowest byte.
#[inline(always)]
fn spread(group: u64, width: u32) -> u64 {
    // 8 registers = 2 x 4 = 4 x 2 = 8 x 1, each step moving lower halves to the upper half of their lane.
    let quads = ((group & lane_mask(4 * width, 64)) << 32) | (group >> (4 * width));
    let pair_mask = lane_mask(2 * width, 32);
    let pairs = ((quads & pair_mask) << 16) | ((quads >> (2 * width)) & pair_mask);
    let single_mask = lane_mask(width, 16);
    ((pairs & single_mask) << 8) | ((pairs >> width) & single_mask)
}

/// One byte each, the first in the highest, to a group in the low bits.
#[inline]
fn gather(lanes: u64, width: u32) -> u64 {
    let single_mask = lane_mask(width, 16);
    let pairs = (((lanes >> 8) & single_mask) << width) | (lanes & single_mask);
    let pair_mask = lane_mask(2 * width, 32);
    let quads = (((pairs >> 16) & pair_mask) << (2 * width)) | (pairs & pair_mask);
    ((quads >> 32) << (4 * width)) | (quads & lane_mask(4 * width, 64))
}

/// `bits` ones at the bottom of every lane of `lane` bits.
#[inline]
const fn lane_mask(bits: u32, lane: u32) -> u64 {
    let ones = (1u64 << bits) - 1;
    let mut mask = 0;
    let mut at = 0;
    while at < 64 {
        mask |= ones << at;
        at += lane;
    }
    mask
}

/// The group that starts at a byte, in the low bits. Loads eight bytes.
#[inline(always)]
fn group_at<const WIDTH: usize>(packed: &[u8], at: usize) -> u64 {
    match packed[at..].first_chunk::<8>() {
        Some(word) => u64::from_be_bytes(*word) >> (8 * (8 - WIDTH)),
        None => last_group::<WIDTH>(packed, at),
    }
}

/// The same where there is nothing behind the group.
#[cold]
fn last_group<const WIDTH: usize>(packed: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word[8 - WIDTH..].copy_from_slice(&packed[at..at + WIDTH]);
    u64::from_be_bytes(word)
}

#[inline(always)]
fn lanes_of<const WIDTH: usize>(group: u64) -> [u8; 8] {
    if WIDTH == 8 { group.to_be_bytes() } else { spread(group, WIDTH as u32).to_le_bytes() }
}

/// Unpacks a whole block, with something behind it: no look at where the bytes end, so that it becomes vector code.
#[inline(always)]
fn unpack_block<const WIDTH: usize>(packed: &[u8], block: &mut [u8; BLOCK]) {
    let packed = &packed[..BLOCK_GROUPS * WIDTH + 8 - WIDTH];
    let (groups, _) = block.as_chunks_mut::<8>();
    for (number, lanes) in groups.iter_mut().enumerate() {
        *lanes = lanes_of::<WIDTH>(group_at::<WIDTH>(packed, number * WIDTH));
    }
}

#[inline(always)]
fn raise_to_width<const WIDTH: usize>(registers: &mut [u8], packed: &[u8]) {
    let mut block = [0u8; BLOCK];
    for (number, registers) in registers.chunks_mut(BLOCK).enumerate() {
        let packed = &packed[number * BLOCK_GROUPS * WIDTH..];
        if registers.len() == BLOCK && packed.len() >= BLOCK_GROUPS * WIDTH + 8 - WIDTH {
            unpack_block::<WIDTH>(packed, &mut block);
        } else {
            let (groups, _) = block[..registers.len()].as_chunks_mut::<8>();
            for (number, lanes) in groups.iter_mut().enumerate() {
                *lanes = lanes_of::<WIDTH>(group_at::<WIDTH>(packed, number * WIDTH));
            }
        }
        raise_each(registers, &block);
    }
}

#[inline(always)]
fn raise_each(registers: &mut [u8], others: &[u8]) {
    for (register, other) in registers.iter_mut().zip(others) {
        *register = (*register).max(*other);
    }
}

/// One of the packed registers.
pub fn packed_at(packed: &[u8], width: u8, register: usize) -> u8 {
    let bit = register * usize::from(width);
    let second = packed.get(bit / 8 + 1).copied().unwrap_or(0);
    let both = u16::from(packed[bit / 8]) << 8 | u16::from(second);
    (both >> (16 - bit % 8 - usize::from(width))) as u8 & ((1u16 << width) - 1) as u8
}

/// Raises each register to the other's, where that is larger.
#[multiversion(targets("x86_64+avx2+bmi2"))]
pub fn raise_to(registers: &mut [u8], others: &[u8]) {
    raise_each(registers, others);
}

/// Raises each register to the packed one, where that is larger. A multiple of eight registers.
#[multiversion(targets("x86_64+avx2+bmi2"))]
pub fn raise_to_packed(registers: &mut [u8], packed: &[u8], width: u8) {
    debug_assert_eq!(registers.len() * usize::from(width), packed.len() * 8);
    match width {
        1 => raise_to_width::<1>(registers, packed),
        2 => raise_to_width::<2>(registers, packed),
        3 => raise_to_width::<3>(registers, packed),
        4 => raise_to_width::<4>(registers, packed),
        5 => raise_to_width::<5>(registers, packed),
        6 => raise_to_width::<6>(registers, packed),
        7 => raise_to_width::<7>(registers, packed),
        _ => raise_to_width::<8>(registers, packed),
    }
}

/// Appends the registers, packed. A multiple of eight registers, none larger than fits. The caller has made room for them.
pub fn pack(registers: &[u8], width: u8, packed: &mut Vec<u8>) {
    let bytes = usize::from(width);
    let (groups, _) = registers.as_chunks::<8>();
    for lanes in groups {
        let lanes = u64::from_be_bytes(*lanes);
        let group = if width == 8 { lanes } else { gather(lanes, u32::from(width)) };
        // BOUND: the caller has made room.
        packed.extend_from_slice(&group.to_be_bytes()[8 - bytes..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bit by bit, as the specification says it.
    fn packed_slowly(registers: &[u8], width: u8) -> Vec<u8> {
        let mut packed = vec![0; registers.len() * usize::from(width) / 8];
        let bits = registers.iter().flat_map(|register| (0..width).rev().map(move |bit| register >> bit & 1));
        for (at, bit) in bits.enumerate() {
            packed[at / 8] |= bit << (7 - at % 8);
        }
        packed
    }

    proptest! {
        #[test]
        fn packing_is_what_the_specification_says(width in 1u8..=8, seed in proptest::collection::vec(any::<u8>(), 16..2048)) {
            let len = seed.len() / 8 * 8;
            let registers: Vec<u8> = seed[..len].iter().map(|register| register >> (8 - width)).collect();
            let mut packed = Vec::new();
            pack(&registers, width, &mut packed);
            prop_assert_eq!(&packed, &packed_slowly(&registers, width));
            let mut back = vec![0; len];
            raise_to_packed(&mut back, &packed, width);
            prop_assert_eq!(&back, &registers);
        }

        #[test]
        fn raising_takes_the_larger(a in proptest::collection::vec(0u8..32, 1024), b in proptest::collection::vec(0u8..32, 1024)) {
            let mut packed = Vec::new();
            pack(&b, 5, &mut packed);
            let mut raised = a.clone();
            raise_to_packed(&mut raised, &packed, 5);
            let expected: Vec<u8> = a.iter().zip(&b).map(|(a, b)| *a.max(b)).collect();
            prop_assert_eq!(raised, expected);
        }
    }
}
