//! The number of distinct hashes behind registers: Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog
//! sketches" (2017), algorithm 6, the improved raw estimator. It needs nothing but how many registers hold each value,
//! and has no ranges to switch between, so it has no bumps where others switch.

/// How many registers hold each value.
pub type Histogram = [u32; 256];

/// Counts the registers by value.
pub fn histogram(registers: &[u8]) -> Histogram {
    // Four at once: neighbours are often equal, and one table would wait for its own last store.
    let mut counts = [[0u32; 256]; 4];
    let (groups, rest) = registers.as_chunks::<4>();
    for [a, b, c, d] in groups {
        counts[0][usize::from(*a)] += 1;
        counts[1][usize::from(*b)] += 1;
        counts[2][usize::from(*c)] += 1;
        counts[3][usize::from(*d)] += 1;
    }
    for register in rest {
        counts[0][usize::from(*register)] += 1;
    }
    std::array::from_fn(|value| counts.iter().map(|count| count[value]).sum())
}

/// The estimate for a histogram of 2^`log2m` registers of `regwidth` bits. Infinite when every register is full.
pub fn estimate(histogram: &Histogram, log2m: u8, regwidth: u8) -> f64 {
    let m = f64::from(1u32 << log2m);
    // A 64-bit hash has 64 - log2m bits beyond the index; whatever is at the end of a register or of the hash is full.
    let full = usize::from(u8::MAX >> (8 - regwidth)).min(64 - usize::from(log2m));
    let filled: u32 = histogram[full..].iter().sum();
    let mut z = m * tau(1.0 - f64::from(filled) / m);
    for &count in histogram[1..full].iter().rev() {
        z = 0.5 * (z + f64::from(count));
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

/// x + sum of x^(2^k) 2^(k-1): what empty registers tell.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let mut weight = 1.0;
    let mut z = x;
    loop {
        x *= x;
        let before = z;
        z += x * weight;
        weight += weight;
        if z == before {
            return z;
        }
    }
}

/// (1 - x - sum of (1 - x^(2^-k))^2 2^-k) / 3: what full registers tell.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let mut weight = 1.0;
    let mut z = 1.0 - x;
    loop {
        x = x.sqrt();
        let before = z;
        weight *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * weight;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_nothing_and_everything_is_without_end() {
        let mut empty = [0; 256];
        empty[0] = 1 << 11;
        assert_eq!(estimate(&empty, 11, 5), 0.0);
        let mut full = [0; 256];
        full[31] = 1 << 11;
        assert_eq!(estimate(&full, 11, 5), f64::INFINITY);
    }

    #[test]
    fn the_histogram_counts_every_register() {
        let registers: Vec<u8> = (0..1003).map(|at| (at % 7) as u8).collect();
        let counts = histogram(&registers);
        assert_eq!(counts.iter().sum::<u32>(), 1003);
        assert_eq!(counts[0], 144);
        assert_eq!(counts[6], 143);
    }

    /// One register of the smallest sketch: what algorithm 6 gives, worked out by hand.
    #[test]
    fn one_of_sixteen() {
        let mut counts = [0; 256];
        counts[0] = 15;
        counts[1] = 1;
        let estimate = estimate(&counts, 4, 5);
        assert!((1.0..1.1).contains(&estimate), "{estimate}");
    }
}
