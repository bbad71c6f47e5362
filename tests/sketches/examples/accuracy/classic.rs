//! The classic estimate, of Flajolet and others (2007), with the ranges and constants of postgresql-hll.

use counter_ext_sketches::hll::estimate::Histogram;

pub fn estimate(histogram: &Histogram, log2m: u8, regwidth: u8) -> f64 {
    let registers = f64::from(1u32 << log2m);
    let sum: f64 =
        histogram.iter().zip(0..).map(|(count, value)| f64::from(*count) * 0.5f64.powi(value)).sum();
    let raw = alpha(log2m) * registers * registers / sum;
    let empty = f64::from(histogram[0]);
    if empty > 0.0 && raw < 2.5 * registers {
        return registers * (registers / empty).ln();
    }
    // As many hashes as can be told apart: beyond a thirtieth of them collisions are corrected for.
    let distinguishable = 2f64.powi((1 << regwidth) - 2 + i32::from(log2m));
    if raw <= distinguishable / 30.0 { raw } else { -distinguishable * (-raw / distinguishable).ln_1p() }
}

fn alpha(log2m: u8) -> f64 {
    match log2m {
        4 => 0.673,
        5 => 0.697,
        6 => 0.709,
        _ => 0.7213 / (1.0 + 1.079 / f64::from(1u32 << log2m)),
    }
}
