//! MurmurHash3_x64_128 (Austin Appleby, public domain), its first 64 bits: what postgresql-hll's hash functions return.

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// The first half of MurmurHash3_x64_128 with seed 0.
#[inline]
pub fn hash(bytes: &[u8]) -> u64 {
    let mut h1 = 0u64;
    let mut h2 = 0u64;
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        let block = u128::from_le_bytes(*block);
        h1 = (h1 ^ first_mix(block as u64)).rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ second_mix((block >> 64) as u64)).rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    match tail.split_first_chunk::<8>() {
        Some((word, rest)) => {
            if !rest.is_empty() {
                h2 ^= second_mix(last_bytes(bytes, rest.len()));
            }
            h1 ^= first_mix(u64::from_le_bytes(*word));
        }
        None if !tail.is_empty() => h1 ^= first_mix(last_bytes(bytes, tail.len())),
        None => {}
    }
    finish(h1, h2, bytes.len() as u64)
}

/// `hash` of the eight little-endian bytes of a number.
#[inline]
pub fn hash_u64(value: u64) -> u64 {
    finish(first_mix(value), 0, 8)
}

#[inline]
fn finish(mut h1: u64, mut h2: u64, length: u64) -> u64 {
    h1 ^= length;
    h2 ^= length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    final_mix(h1).wrapping_add(final_mix(h2))
}

#[inline]
fn first_mix(block: u64) -> u64 {
    block.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

#[inline]
fn second_mix(block: u64) -> u64 {
    block.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

#[inline]
fn final_mix(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(0xff51_afd7_ed55_8ccd);
    k ^= k >> 33;
    k = k.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

/// The last one to seven bytes as the low ones of a word. One or two loads that may overlap, never a copy byte by byte.
#[inline]
fn last_bytes(bytes: &[u8], count: usize) -> u64 {
    if let Some(word) = bytes.last_chunk::<8>() {
        return u64::from_le_bytes(*word) >> (8 * (8 - count));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (count - 4));
    }
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with the reference implementation.
    #[test]
    fn known_values() {
        assert_eq!(hash(b""), 0);
        assert_eq!(hash(b"hello"), 0xcbd8_a7b3_41bd_9b02);
        assert_eq!(hash(b"hello, world"), 0x342f_ac62_3a5e_bc8e);
        assert_eq!(hash(b"The quick brown fox jumps over the lazy dog."), 0xcd99_481f_9ee9_02c9);
    }

    /// As the reference implementation reads its input: byte by byte.
    fn hash_slowly(bytes: &[u8]) -> u64 {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let (mut h1, mut h2) = (0u64, 0u64);
        let mut blocks = bytes.chunks_exact(16);
        for block in &mut blocks {
            h1 = (h1 ^ first_mix(word(&block[..8]))).rotate_left(27).wrapping_add(h2);
            h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
            h2 = (h2 ^ second_mix(word(&block[8..]))).rotate_left(31).wrapping_add(h1);
            h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
        }
        let tail = blocks.remainder();
        h2 ^= second_mix(word(&tail[tail.len().min(8)..]));
        h1 ^= first_mix(word(&tail[..tail.len().min(8)]));
        finish(h1, h2, bytes.len() as u64)
    }

    #[test]
    fn every_length_hashes_as_byte_by_byte() {
        let bytes: Vec<u8> = (0..100u8).map(|n| n.wrapping_mul(151).wrapping_add(7)).collect();
        for length in 0..bytes.len() {
            assert_eq!(hash(&bytes[..length]), hash_slowly(&bytes[..length]), "{length} bytes");
        }
    }

    #[test]
    fn a_number_hashes_as_its_bytes() {
        for value in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(hash_u64(value), hash(&value.to_le_bytes()));
        }
    }
}
