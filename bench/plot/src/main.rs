//! Draws a file of figures as SVG beside it: `counter_ext_plot FILE.csv TITLE UNIT`.
//!
//! The first column is the horizontal axis, in powers of ten; each other column is a curve, named by its heading. The vertical axis
//! begins at 0.

use std::error::Error;
use std::path::{Path, PathBuf};

use plotters::prelude::*;

const SIZE: (u32, u32) = (960, 540);
/// Told apart by people who do not see all colours (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

struct Figures {
    axis: String,
    curves: Vec<Curve>,
}

struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

fn read(path: &Path) -> Result<Figures, Box<dyn Error>> {
    let mut reader = csv::Reader::from_path(path)?;
    let mut headings = reader.headers()?.iter().map(str::to_owned);
    let axis = headings.next().ok_or("a file without columns")?;
    let mut curves: Vec<Curve> = headings.map(|name| Curve { name, points: Vec::new() }).collect();
    for row in reader.records() {
        let row = row?;
        let x: f64 = row.get(0).ok_or("an empty row")?.parse()?;
        for (curve, y) in curves.iter_mut().zip(row.iter().skip(1)) {
            // A lane that was not measured at this number leaves a gap.
            if !y.is_empty() {
                curve.points.push((x, y.parse()?));
            }
        }
    }
    Ok(Figures { axis, curves })
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((least, most)) => Some((least.min(value), most.max(value))),
    })
}

fn draw(figures: &Figures, title: &str, unit: &str, to: &Path) -> Result<(), Box<dyn Error>> {
    let points = || figures.curves.iter().flat_map(|curve| &curve.points);
    let (first, last) = range(points().map(|point| point.0)).ok_or("a file without figures")?;
    let (_, highest) = range(points().map(|point| point.1)).ok_or("a file without figures")?;
    let root = SVGBackend::new(to, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d((first..last).log_scale(), 0.0..highest * 1.08)?;
    chart
        .configure_mesh()
        .x_desc(&figures.axis)
        .y_desc(unit)
        .x_label_formatter(&|x| grouped(*x))
        .y_label_formatter(&|y| grouped(*y))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (curve, colour) in figures.curves.iter().zip(COLOURS.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(3)).point_size(4))?
            .label(&curve.name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(150, 150, 150))
        .draw()?;
    root.present()?;
    Ok(())
}

/// 1234567 -> 1,234,567
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, title, unit] = arguments.as_slice() else {
        return Err("usage: counter_ext_plot FILE.csv TITLE UNIT".into());
    };
    let from = PathBuf::from(file);
    draw(&read(&from)?, title, unit, &from.with_extension("svg"))
}

#[cfg(test)]
mod tests {
    use super::{grouped, range};

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(grouped(0.0), "0");
        assert_eq!(grouped(999.4), "999");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(grouped(100_000.0), "100,000");
    }

    #[test]
    fn nothing_has_no_range() {
        assert_eq!(range(std::iter::empty()), None);
        assert_eq!(range([3.0, 1.0, 2.0].into_iter()), Some((1.0, 3.0)));
    }
}
