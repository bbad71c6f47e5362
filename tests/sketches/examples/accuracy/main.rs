//! Draws `bench/plots/hll_accuracy.svg` and writes its figures beside it, as CSV: bias and RMSE of our estimate and of
//! the classic one, which postgresql-hll computes, from the same registers.
//!
//! `cargo run --locked -p counter_ext_sketches --example accuracy`

mod chart;
mod classic;

use std::fmt::Write;
use std::path::Path;

use counter_ext_sketches::simulation::{Errors, GrowingHistogram, Randomness, log_spaced};

const REGWIDTH: u8 = 5;
const PRECISIONS: [(u8, u64); 2] = [(11, 20_000), (14, 4000)];
const FIRST_HASHES: u64 = 10;
const LAST_HASHES: u64 = 100_000_000;
const POINTS_A_DECADE: u32 = 40;

/// Errors of both estimates at one number of hashes.
struct Point {
    hashes: u64,
    ours: Errors,
    classic: Errors,
}

/// A precision's curves.
struct Measured {
    log2m: u8,
    sketches: u64,
    points: Vec<Point>,
}

impl Measured {
    fn standard_error(&self) -> f64 {
        1.04 / f64::from(1u32 << self.log2m).sqrt()
    }
}

fn measure(log2m: u8, sketches: u64, all_hashes: &[u64]) -> Measured {
    let mut points: Vec<Point> = all_hashes
        .iter()
        .map(|hashes| Point { hashes: *hashes, ours: Errors::default(), classic: Errors::default() })
        .collect();
    for seed in 0..sketches {
        if seed % (sketches / 10) == 0 {
            eprintln!("log2m {log2m}: {} % of {sketches} sketches", 100 * seed / sketches);
        }
        let mut histogram = GrowingHistogram::new(log2m, REGWIDTH, Randomness::new(seed));
        for point in &mut points {
            histogram.grow_to(point.hashes);
            let truth = point.hashes as f64;
            point.ours.add(histogram.estimate(), truth);
            point.classic.add(classic::estimate(histogram.counts(), log2m, REGWIDTH), truth);
        }
    }
    Measured { log2m, sketches, points }
}

fn csv(measured: &[Measured]) -> String {
    let mut lines = String::from("log2m,sketches,hashes,bias_ours,bias_classic,rmse_ours,rmse_classic\n");
    for Measured { log2m, sketches, points } in measured {
        for Point { hashes, ours, classic } in points {
            let (bias, classic_bias) = (ours.bias(), classic.bias());
            let (rmse, classic_rmse) = (ours.rmse(), classic.rmse());
            writeln!(
                lines,
                "{log2m},{sketches},{hashes},{bias:.6},{classic_bias:.6},{rmse:.6},{classic_rmse:.6}"
            )
            .expect("a String takes everything");
        }
    }
    lines
}

/// Our RMSE to the classic one where that changes from linear counting to the harmonic mean.
fn rmse_ratio(measured: &Measured, hashes: u64) -> f64 {
    let point = measured.points.iter().find(|point| point.hashes == hashes).expect("a measured point");
    point.ours.rmse() / point.classic.rmse()
}

fn main() {
    let measured = PRECISIONS.map(|(log2m, sketches)| {
        let mut hashes = log_spaced(FIRST_HASHES, LAST_HASHES, POINTS_A_DECADE);
        hashes.push(3 << log2m);
        hashes.sort_unstable();
        measure(log2m, sketches, &hashes)
    });
    let ratio = rmse_ratio(&measured[0], 3 << measured[0].log2m);
    let note = format!("RMSE at log2m 11 and n = 3m = 6,144: ours is {ratio:.3} of the classic one");
    println!("{note}");

    let plots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/plots");
    std::fs::create_dir_all(&plots).expect("bench/plots can be made");
    let name = "hll_accuracy";
    std::fs::write(plots.join(name).with_extension("csv"), csv(&measured)).expect("the CSV can be written");
    std::fs::write(plots.join(name).with_extension("svg"), chart::draw(&measured, &note))
        .expect("the SVG can be written");
    println!("bench/plots/{name}.csv, bench/plots/{name}.svg");
}
