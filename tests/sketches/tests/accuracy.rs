//! How far `count()` is from the truth: for every number of hashes, a relative bias below 0.3 % and a root mean square
//! error (RMSE) of no more than 1.04 / sqrt(m).
//!
//! # The margins
//!
//! The true RMSE of Ertl's estimator is about sqrt(3 ln 2 - 1) / sqrt(m) = 1.039 / sqrt(m): the limit is 0.1 % above it.
//! What a test sees is a sample. With 200 seeds the RMSE of a sample scatters by 1 / sqrt(2 * 200) = 5 % around the true
//! one, so half of the points would be "above" a limit that all of them keep. Therefore:
//!
//! - a single point may be above by four of its standard errors, 20 %; among ten thousand points none should be by more;
//! - all points of 200 seeds together may be above by three standard errors, those computed from the seeds: points of
//!   one seed hang together, seeds do not;
//! - and a sample so large that it scatters by 0.5 % or less may be above by 1 %.
//!
//! The bias needs no margin: its sample scatters by 0.06 % with 200 seeds, a fifth of what is allowed.
//!
//! Seeds are fixed. A test that passes passes always.

use counter_ext_sketches::hll::estimate::{self, Histogram};
use counter_ext_sketches::hll::{Parameters, Sketch};
use counter_ext_sketches::simulation::{
    Errors, GrowingHistogram, IndependentRegisters, Randomness, log_spaced,
};

/// The classic estimate, which the plot shows beside ours.
#[path = "../examples/accuracy/classic.rs"]
mod classic;

const SEEDS: u64 = 200;
const MAX_BIAS: f64 = 0.003;
const REGWIDTH: u8 = 5;

fn max_rmse(log2m: u8) -> f64 {
    1.04 / f64::from(1u32 << log2m).sqrt()
}

/// What a single point of 200 seeds may show: see above.
fn max_sample_rmse(log2m: u8) -> f64 {
    max_rmse(log2m) * (1.0 + 4.0 / (2.0 * SEEDS as f64).sqrt())
}

fn assert_accurate(hashes: u64, errors: &Errors, log2m: u8) {
    let (bias, rmse) = (errors.bias(), errors.rmse());
    assert!(bias.abs() < MAX_BIAS, "bias of {bias:.5} at {hashes} hashes");
    assert!(rmse <= max_sample_rmse(log2m), "RMSE of {rmse:.5} at {hashes} hashes");
}

/// The extremes of many points, for who runs with --nocapture.
fn report(what: &str, points: &[(u64, Errors)], log2m: u8) {
    let worst = |of: &dyn Fn(&Errors) -> f64| {
        let worst = points.iter().max_by(|a, b| of(&a.1).total_cmp(&of(&b.1))).expect("a point");
        (of(&worst.1), worst.0)
    };
    let (bias, bias_at) = worst(&|errors| errors.bias().abs());
    let (rmse, rmse_at) = worst(&|errors| errors.rmse());
    println!(
        "{what}: largest bias {:.4} % at {bias_at}, largest RMSE {:.4} of the limit at {rmse_at}",
        100.0 * bias,
        rmse / max_rmse(log2m)
    );
}

/// A sketch and its count after every hash, without counting all registers again each time.
struct Counted {
    sketch: Sketch,
    histogram: Option<Histogram>,
    count: f64,
}

impl Counted {
    fn new(parameters: Parameters) -> Counted {
        Counted { sketch: Sketch::new(parameters), histogram: None, count: 0.0 }
    }

    fn add(&mut self, hash: u64) {
        let parameters = self.sketch.parameters();
        let (index, _) = parameters.place(hash);
        let register =
            |sketch: &Sketch| sketch.registers().map_or(0, |registers| usize::from(registers[index]));
        let before = register(&self.sketch);
        if !self.sketch.add(hash).unwrap() {
            return;
        }
        let Some(histogram) = &mut self.histogram else {
            self.histogram = self.sketch.registers().map(estimate::histogram);
            self.count = self.sketch.count();
            return;
        };
        histogram[before] -= 1;
        histogram[register(&self.sketch)] += 1;
        self.count = estimate::estimate(histogram, parameters.log2m(), parameters.regwidth());
    }
}

#[test]
fn real_sketches_up_to_ten_thousand() {
    let parameters = Parameters::default();
    let log2m = parameters.log2m();
    let mut points: Vec<(u64, Errors)> = (1..=10_000).map(|hashes| (hashes, Errors::default())).collect();
    for seed in 0..SEEDS {
        let mut randomness = Randomness::new(seed);
        let mut counted = Counted::new(parameters);
        for (hashes, errors) in &mut points {
            counted.add(randomness.bits());
            errors.add(counted.count, *hashes as f64);
            if *hashes % 1000 == 0 {
                assert_eq!(counted.count, counted.sketch.count());
            }
        }
    }
    report("real, log2m 14", &points, log2m);
    for (hashes, errors) in &points {
        assert_accurate(*hashes, errors, log2m);
        // Below m the true RMSE is far enough from the limit to need no margin.
        assert!(errors.rmse() <= max_rmse(log2m), "RMSE of {:.5} at {hashes} hashes", errors.rmse());
        if *hashes <= parameters.max_explicit() as u64 {
            assert_eq!(errors.rmse(), 0.0, "{hashes} hashes are kept one by one");
        }
    }
}

#[test]
fn simulated_sketches_up_to_a_hundred_million() {
    let log2m = Parameters::default().log2m();
    let mut points: Vec<(u64, Errors)> =
        log_spaced(10_000, 100_000_000, 20).into_iter().map(|hashes| (hashes, Errors::default())).collect();
    assert_eq!((points.len(), points[0].0, points[80].0), (81, 10_000, 100_000_000));
    // Mean square error of each seed, over all points beyond 3m.
    let mut of_seeds = Vec::new();
    for seed in 0..SEEDS {
        let mut histogram = GrowingHistogram::new(log2m, REGWIDTH, Randomness::new(1000 + seed));
        let mut of_seed = Errors::default();
        for (hashes, errors) in &mut points {
            histogram.grow_to(*hashes);
            errors.add(histogram.estimate(), *hashes as f64);
            if *hashes > 3 << log2m {
                of_seed.add(histogram.estimate(), *hashes as f64);
            }
        }
        of_seeds.push(of_seed.rmse().powi(2));
    }
    report("simulated, log2m 14", &points, log2m);
    for (hashes, errors) in &points {
        assert_accurate(*hashes, errors, log2m);
    }
    let mean = of_seeds.iter().sum::<f64>() / SEEDS as f64;
    let variance = of_seeds.iter().map(|square| (square - mean).powi(2)).sum::<f64>() / (SEEDS - 1) as f64;
    // As many independent errors would scatter as much: the variance of a mean of squares is 2 / samples of its own.
    let effective_samples = 2.0 * mean * mean / (variance / SEEDS as f64);
    let margin = 3.0 / (2.0 * effective_samples).sqrt();
    let pooled = mean.sqrt() / max_rmse(log2m);
    println!("beyond 3m: RMSE {pooled:.4} of the limit, as from {effective_samples:.0} independent errors");
    assert!(effective_samples > SEEDS as f64);
    assert!(pooled <= 1.0 + margin, "RMSE of {pooled:.4} of the limit, margin {margin:.4}");
}

/// A number of hashes so large that registers are independent; 20,000 sketches tell the RMSE to 0.5 %.
fn assert_rmse_of_many_hashes(log2m: u8, sketches: u32) {
    let hashes_a_register = 4096.0;
    let truth = hashes_a_register * f64::from(1u32 << log2m);
    let registers = IndependentRegisters::new(log2m, hashes_a_register);
    let mut randomness = Randomness::new(u64::from(log2m));
    let mut errors = Errors::default();
    for _ in 0..sketches {
        errors.add(estimate::estimate(&registers.draw(&mut randomness), log2m, REGWIDTH), truth);
    }
    let (bias, rmse) = (errors.bias(), errors.rmse());
    println!("log2m {log2m}: bias {:.4} %, RMSE {:.4} of the limit", 100.0 * bias, rmse / max_rmse(log2m));
    assert!(bias.abs() < MAX_BIAS / 3.0, "{bias:.5}");
    assert!(rmse <= max_rmse(log2m) * 1.01, "{rmse:.6}");
    // Nor better than it can be, which would be a mistake of the test.
    assert!(rmse >= max_rmse(log2m) * 0.98, "{rmse:.6}");
}

#[test]
fn rmse_at_log2m_11_to_half_a_percent() {
    assert_rmse_of_many_hashes(11, 100_000);
}

#[test]
fn rmse_at_log2m_14_to_half_a_percent() {
    assert_rmse_of_many_hashes(14, 20_000);
}

/// Where the classic estimator goes from linear counting to the harmonic mean.
#[test]
fn no_bump_between_2_5_m_and_5_m() {
    let log2m = 11;
    let sketches = 20_000u32;
    let mut points: Vec<(u64, Errors)> =
        (25..=50).map(|tenths| ((tenths << log2m) / 10, Errors::default())).collect();
    for seed in 0..sketches {
        let mut histogram = GrowingHistogram::new(log2m, REGWIDTH, Randomness::new(5000 + u64::from(seed)));
        for (hashes, errors) in &mut points {
            histogram.grow_to(*hashes);
            errors.add(histogram.estimate(), *hashes as f64);
        }
    }
    report("2.5m to 5m, log2m 11", &points, log2m);
    let noise = max_rmse(log2m) / f64::from(sketches).sqrt();
    assert!(noise < MAX_BIAS / 10.0, "{noise}");
    for (hashes, errors) in &points {
        let bias = errors.bias();
        assert!(bias.abs() < MAX_BIAS / 3.0, "bias of {bias:.5} at {hashes} hashes");
        assert!(errors.rmse() <= max_rmse(log2m) * 1.02, "RMSE of {:.5} at {hashes} hashes", errors.rmse());
    }
}

/// Registers of 3 bits, of which the estimate has to make the best when half of them are full.
#[test]
fn full_registers_are_no_bias() {
    let (log2m, regwidth) = (11, 3);
    let mut points: Vec<(u64, Errors)> =
        [2, 8, 20, 40, 80].map(|times| (times << log2m, Errors::default())).into();
    for seed in 0..20_000 {
        let mut histogram = GrowingHistogram::new(log2m, regwidth, Randomness::new(200_000 + seed));
        for (hashes, errors) in &mut points {
            histogram.grow_to(*hashes);
            errors.add(histogram.estimate(), *hashes as f64);
        }
    }
    report("2m to 80m, log2m 11, regwidth 3", &points, log2m);
    for (hashes, errors) in &points {
        assert!(errors.bias().abs() < MAX_BIAS, "bias of {:.5} at {hashes} hashes", errors.bias());
    }
}

/// Our error is not larger than the classic one, least of all where that changes from one formula to the other.
#[test]
fn not_worse_than_the_classic_estimate() {
    let (log2m, hashes) = (11, 3 << 11);
    let mut ours = Errors::default();
    let mut classic = Errors::default();
    for seed in 0..20_000 {
        let mut histogram = GrowingHistogram::new(log2m, REGWIDTH, Randomness::new(90_000 + seed));
        histogram.grow_to(hashes);
        ours.add(histogram.estimate(), hashes as f64);
        classic.add(classic::estimate(histogram.counts(), log2m, REGWIDTH), hashes as f64);
    }
    let ratio = ours.rmse() / classic.rmse();
    println!("log2m 11, n = 3m: RMSE {:.5}, classic {:.5}, ratio {ratio:.3}", ours.rmse(), classic.rmse());
    assert!(ratio <= 1.0, "{ratio}");
}

/// log2m 14 keeps 1,280 hashes one by one. The estimate that follows must not jump.
#[test]
fn no_bump_where_hashes_become_registers() {
    let parameters = Parameters::default();
    let last_exact = parameters.max_explicit() as u64;
    assert_eq!(last_exact, 1280);
    let sketches = 4000;
    let mut points: Vec<(u64, Errors)> =
        (last_exact - 1..=last_exact + 40).map(|hashes| (hashes, Errors::default())).collect();
    for seed in 0..sketches {
        let mut randomness = Randomness::new(50_000 + seed);
        let mut counted = Counted::new(parameters);
        for _ in 1..points[0].0 {
            counted.add(randomness.bits());
        }
        for (hashes, errors) in &mut points {
            counted.add(randomness.bits());
            errors.add(counted.count, *hashes as f64);
        }
    }
    report("1279 to 1320, log2m 14", &points, parameters.log2m());
    for (hashes, errors) in &points {
        let (bias, rmse) = (errors.bias(), errors.rmse());
        assert!(bias.abs() < MAX_BIAS / 6.0, "bias of {bias:.5} at {hashes} hashes");
        assert!(rmse <= max_rmse(parameters.log2m()), "RMSE of {rmse:.5} at {hashes} hashes");
        assert_eq!(*hashes <= last_exact, rmse == 0.0, "{hashes} hashes");
    }
}

/// SPARSE and FULL are two ways of writing the same registers.
#[test]
fn no_bump_where_sparse_becomes_full() {
    let mut randomness = Randomness::new(3);
    let mut sketch = Sketch::new(Parameters::default());
    let mut stages = Vec::new();
    for hashes in 1..=7000 {
        sketch.add(randomness.bits()).unwrap();
        if hashes % 10 == 0 {
            let encoded = sketch.encode().unwrap();
            assert_eq!(
                Sketch::decode(&encoded).map(|read| read.count()),
                Ok(sketch.count()),
                "{hashes} hashes"
            );
            stages.push(encoded[0]);
        }
    }
    stages.dedup();
    assert_eq!(stages, [0x12, 0x13, 0x14]);
}

/// The simulation against real sketches and against what is expected of each register: (1 - 2^-k / m)^n is the chance
/// that one of m registers is at most k after n hashes.
#[test]
fn the_simulation_is_like_real_sketches() {
    let (log2m, sketches) = (11u8, 2000u64);
    let parameters = Parameters::new(i64::from(log2m), i64::from(REGWIDTH), 0, 1).expect("within the ranges");
    let m = f64::from(1u32 << log2m);
    for hashes in [500u64, 5000, 20_000, 100_000] {
        let mut real = [0.0; 256];
        let mut simulated = [0.0; 256];
        let mut errors = [Errors::default(); 2];
        for seed in 0..sketches {
            let mut randomness = Randomness::new(hashes + (seed << 32));
            let mut sketch = Sketch::new(parameters);
            for _ in 0..hashes {
                sketch.add(randomness.bits()).unwrap();
            }
            let counted = estimate::histogram(sketch.registers().expect("never explicit"));
            let mut growing = GrowingHistogram::new(log2m, REGWIDTH, randomness);
            growing.grow_to(hashes);
            for value in 0..256 {
                real[value] += f64::from(counted[value]) / sketches as f64;
                simulated[value] += f64::from(growing.counts()[value]) / sketches as f64;
            }
            errors[0].add(sketch.count(), hashes as f64);
            errors[1].add(growing.estimate(), hashes as f64);
        }
        let at_most = |value: i32| (1.0 - 0.5f64.powi(value) / m).powf(hashes as f64);
        for value in 0..31 {
            let chance = at_most(value) - if value == 0 { 0.0 } else { at_most(value - 1) };
            let expected = m * chance;
            // Five standard errors; a little more where hardly a register is expected.
            let tolerance = 5.0 * (expected / sketches as f64).sqrt() + 3.0 / sketches as f64;
            for (mean, what) in [(real[value as usize], "real"), (simulated[value as usize], "simulated")] {
                let distance = (mean - expected).abs();
                assert!(distance < tolerance, "{what}, {hashes} hashes: {mean} of {value}, not {expected}");
            }
        }
        let [real, simulated] = errors.map(|errors| errors.rmse());
        // Each scatters by 1 / sqrt(2 * 2000) = 1.6 %, the ratio by 2.2 %.
        assert!((real / simulated - 1.0).abs() < 0.09, "{hashes} hashes: RMSE {real} and {simulated}");
        println!("{hashes} hashes: RMSE {real:.5} real, {simulated:.5} simulated");
    }
}
