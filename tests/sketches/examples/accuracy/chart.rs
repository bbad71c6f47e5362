//! The chart: two panels, bias above RMSE, for each precision.

use std::fmt::Write;

use counter_ext_sketches::simulation::Errors;

use super::{FIRST_HASHES, LAST_HASHES, Measured, Point};

const WIDTH: f64 = 1120.0;
const HEIGHT: f64 = 780.0;
const PANEL_WIDTH: f64 = 460.0;
const PANEL_HEIGHT: f64 = 250.0;
const FIRST_LEFT: f64 = 76.0;
const FIRST_TOP: f64 = 110.0;
const COLUMN_STEP: f64 = 552.0;
const ROW_STEP: f64 = 306.0;

const OURS: &str = "#0b6e99";
const CLASSIC: &str = "#c2410c";
const LIMIT: &str = "#525252";

const STYLE: &str = "text { font-family: sans-serif; font-size: 13px; fill: #1f2937 } \
    .title { font-size: 18px; font-weight: bold } .panel { font-size: 14px; font-weight: bold } \
    .grid { stroke: #e5e7eb; stroke-width: 1 } .frame { fill: none; stroke: #6b7280; stroke-width: 1 } \
    .curve { fill: none; stroke-width: 2; stroke-linejoin: round } \
    .limit { fill: none; stroke-width: 1.2; stroke-dasharray: 6 4 }";

struct Panel {
    left: f64,
    top: f64,
    /// Percent at the bottom and at the top.
    range: (f64, f64),
    step: f64,
}

impl Panel {
    fn x(&self, hashes: f64) -> f64 {
        let (first, last) = ((FIRST_HASHES as f64).log10(), (LAST_HASHES as f64).log10());
        self.left + PANEL_WIDTH * (hashes.log10() - first) / (last - first)
    }

    fn y(&self, percent: f64) -> f64 {
        self.top + PANEL_HEIGHT * (self.range.1 - percent) / (self.range.1 - self.range.0)
    }

    fn frame(&self, svg: &mut Svg, title: &str) {
        let (bottom, right) = (self.top + PANEL_HEIGHT, self.left + PANEL_WIDTH);
        svg.text(self.left, self.top - 8.0, "start", "panel", title);
        let mut hashes = FIRST_HASHES;
        while hashes <= LAST_HASHES {
            let x = self.x(hashes as f64);
            svg.line("grid", x, self.top, x, bottom);
            let power = hashes.ilog10();
            svg.text(x, bottom + 18.0, "middle", "", &format!("10{}", superscript(power)));
            hashes *= 10;
        }
        let steps = ((self.range.1 - self.range.0) / self.step).round() as i32;
        for step in 0..=steps {
            let percent = self.range.0 + f64::from(step) * self.step;
            let y = self.y(percent);
            svg.line("grid", self.left, y, right, y);
            // Not "-0.0".
            let percent = if percent.abs() < 1e-9 { 0.0 } else { percent };
            svg.text(self.left - 8.0, y + 4.5, "end", "", &format!("{percent:.1} %"));
        }
        svg.rectangle("frame", self.left, self.top, PANEL_WIDTH, PANEL_HEIGHT);
    }

    fn limit(&self, svg: &mut Svg, percent: f64) {
        let y = self.y(percent);
        let (left, right) = (self.left, self.left + PANEL_WIDTH);
        svg.add(&format!(r#"<path class="limit" stroke="{LIMIT}" d="M{left:.1} {y:.1} H{right:.1}"/>"#));
    }

    fn curve(&self, svg: &mut Svg, colour: &str, points: impl Iterator<Item = (u64, f64)>) {
        let mut path = String::new();
        for (hashes, percent) in points {
            let command = if path.is_empty() { 'M' } else { 'L' };
            write!(path, "{command}{:.1} {:.1} ", self.x(hashes as f64), self.y(percent)).expect("a String");
        }
        svg.add(&format!(r#"<path class="curve" stroke="{colour}" d="{}"/>"#, path.trim_end()));
    }
}

struct Svg(String);

impl Svg {
    fn add(&mut self, element: &str) {
        self.0.push_str(element);
        self.0.push('\n');
    }

    fn line(&mut self, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
        self.add(&format!(r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#));
    }

    fn rectangle(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64) {
        self.add(&format!(r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}"/>"#));
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        self.add(&format!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        ));
    }

    fn legend(&mut self, x: f64, y: f64, stroke: &str, class: &str, text: &str) {
        let end = x + 30.0;
        self.add(&format!(r#"<path class="{class}" stroke="{stroke}" d="M{x} {y} H{end}"/>"#));
        self.text(end + 8.0, y + 4.5, "start", "", text);
    }
}

fn superscript(number: u32) -> String {
    let digits = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    number.to_string().bytes().map(|digit| digits[usize::from(digit - b'0')]).collect()
}

fn percents(points: &[Point], of: impl Fn(&Point) -> f64) -> impl Iterator<Item = (u64, f64)> {
    points.iter().map(move |point| (point.hashes, 100.0 * of(point)))
}

pub fn draw(measured: &[Measured], note: &str) -> String {
    let mut svg = Svg(String::new());
    svg.add(&format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">"#
    ));
    svg.add(&format!("<style>{STYLE}</style>"));
    svg.add(&format!(r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>"##));
    svg.text(
        FIRST_LEFT,
        34.0,
        "start",
        "title",
        "HyperLogLog: error of the estimate against distinct hashes n",
    );
    svg.legend(FIRST_LEFT, 62.0, OURS, "curve", "ours (Ertl 2017)");
    svg.legend(FIRST_LEFT + 180.0, 62.0, CLASSIC, "curve", "classic (2007), as postgresql-hll computes it");
    svg.legend(FIRST_LEFT + 520.0, 62.0, LIMIT, "limit", "limits: bias 0.3 %, RMSE 1.04 / √m");
    for (column, measured) in measured.iter().enumerate() {
        draw_column(&mut svg, FIRST_LEFT + column as f64 * COLUMN_STEP, measured);
    }
    svg.text(FIRST_LEFT, HEIGHT - 42.0, "start", "", note);
    let registers_only = "Simulated, both from the same registers. Few hashes are kept one by one and counted exactly \
         (log2m 11: up to 160, log2m 14: up to 1,280).";
    svg.text(FIRST_LEFT, HEIGHT - 18.0, "start", "", registers_only);
    svg.add("</svg>");
    svg.0
}

type ErrorsOf = fn(&Point) -> &Errors;

fn draw_column(svg: &mut Svg, left: f64, measured: &Measured) {
    let Measured { log2m, sketches, points } = measured;
    let m = 1u32 << log2m;
    let bias = Panel { left, top: FIRST_TOP, range: (-0.5, 2.5), step: 0.5 };
    // Room for the classic bump.
    let highest = if *log2m < 14 { 4.0 } else { 2.5 };
    let rmse = Panel { left, top: FIRST_TOP + ROW_STEP, range: (0.0, highest), step: 0.5 };
    let title = format!("log2m {log2m} (m = {m}), {sketches} sketches");
    bias.frame(svg, &format!("Relative bias, {title}"));
    bias.limit(svg, 0.3);
    bias.limit(svg, -0.3);
    rmse.frame(svg, &format!("Relative RMSE, {title}"));
    rmse.limit(svg, 100.0 * measured.standard_error());
    let curves: [(&str, ErrorsOf); 2] = [(CLASSIC, |point| &point.classic), (OURS, |point| &point.ours)];
    for (colour, errors) in curves {
        bias.curve(svg, colour, percents(points, |point| errors(point).bias()));
        rmse.curve(svg, colour, percents(points, |point| errors(point).rmse()));
    }
    svg.text(
        left + PANEL_WIDTH / 2.0,
        FIRST_TOP + ROW_STEP + PANEL_HEIGHT + 38.0,
        "middle",
        "",
        "distinct hashes n",
    );
}
