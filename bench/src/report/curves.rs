//! A chart of curves: panels side by side, and in each a line for every implementation. The axis of connections is
//! logarithmic.

use super::chart::{step, PANEL_TITLE, SMALL, TITLE};
use super::significant;
use super::svg::{Colour, Place, Side, Svg, FAINT, GRID, INK};
use crate::measure::Spread;

pub struct Panel {
    pub title: String,
    pub curves: Vec<Curve>,
}

pub struct Curve {
    pub name: String,
    pub colour: Colour,
    /// The numbers of connections in order, and the figure of each.
    pub points: Vec<(u64, Spread)>,
}

// In pixels.
const MARGIN: i32 = 16;
const HEAD: i32 = 58;
const PANEL: i32 = 440;
const LEGEND: i32 = 16;
const PLOT: i32 = 150;
const PLOT_WIDTH: i32 = 360;
const NUMBERS: i32 = 50;
const AXIS: i32 = 26;
const COLUMNS: usize = 2;
/// The room that the label of a mark needs.
const LABEL: i32 = 38;

pub fn draw(title: &str, below: &str, panels: &[Panel]) -> String {
    let columns = panels.len().min(COLUMNS) as i32;
    let rows = panels.len().div_ceil(COLUMNS) as i32;
    let row = 20 + LEGEND + PLOT + AXIS + MARGIN;
    let width = (2 * MARGIN + PANEL * columns).max(2 * MARGIN + PANEL + 200);
    let mut svg = Svg::new(width, HEAD + rows * row);
    svg.text(title, (MARGIN, 20), TITLE, INK, Side::Left);
    svg.text(below, (MARGIN, 41), SMALL, FAINT, Side::Left);
    for (index, panel) in panels.iter().enumerate() {
        let (column, line) = ((index % COLUMNS) as i32, (index / COLUMNS) as i32);
        draw_panel(
            &mut svg,
            (MARGIN + PANEL * column, HEAD + row * line),
            panel,
        );
    }
    svg.finish()
}

fn draw_panel(svg: &mut Svg, (left, top): Place, panel: &Panel) {
    svg.text(&panel.title, (left, top + 6), PANEL_TITLE, INK, Side::Left);
    let mut at = left;
    for curve in &panel.curves {
        let middle = top + 20 + LEGEND / 2;
        svg.bar((at, middle - 4), (at + 10, middle + 4), curve.colour);
        svg.text(&curve.name, (at + 14, middle), SMALL, INK, Side::Left);
        at += 26 + curve.name.chars().count() as i32 * SMALL * 6 / 10;
    }
    let all = || panel.curves.iter().flat_map(|curve| &curve.points);
    let counts = || all().map(|(count, _)| (*count).max(1));
    let (Some(fewest), Some(most)) = (counts().min(), counts().max()) else {
        return;
    };
    // One bad round may be far away. Then its line is cut off at the top.
    let highest = all().map(|(_, spread)| spread.median).fold(0.0, f64::max) * 1.15;
    if highest <= 0.0 {
        return;
    }
    let (start, base) = (left + NUMBERS, top + 20 + LEGEND + PLOT);
    let x = |count: u64| start + (PLOT_WIDTH as f64 * along(count, fewest, most)).round() as i32;
    let y = |value: f64| base - (f64::from(PLOT) * value.min(highest) / highest).round() as i32;

    let step = step(highest * 1.4);
    for mark in 0..=(highest / step) as i32 {
        let value = f64::from(mark) * step;
        let height = y(value);
        svg.line(&[(start, height), (start + PLOT_WIDTH, height)], 1, GRID);
        let label = short(value);
        svg.text(&label, (start - 6, height), SMALL, FAINT, Side::Right);
    }
    let mut marks: Vec<u64> = counts().collect();
    marks.sort_unstable();
    marks.dedup();
    let mut free_from = i32::MIN;
    for (index, count) in marks.iter().enumerate() {
        let at = x(*count);
        svg.line(&[(at, base), (at, base + 4)], 1, FAINT);
        let is_last = index + 1 == marks.len();
        // The last label is more important than the one before it.
        if at >= free_from && (is_last || at + LABEL <= x(most)) {
            let label = with_commas(*count);
            svg.text(&label, (at, base + 13), SMALL, FAINT, Side::Middle);
            free_from = at + LABEL;
        }
    }
    for curve in &panel.curves {
        for (count, spread) in &curve.points {
            let at = x(*count);
            svg.curve(
                &[(at, y(spread.least)), (at, y(spread.largest))],
                1,
                curve.colour,
            );
            svg.dot((at, y(spread.median)), 3, curve.colour);
        }
        let point = |(count, spread): &(u64, Spread)| (x(*count), y(spread.median));
        let points: Vec<Place> = curve.points.iter().map(point).collect();
        svg.curve(&points, 2, curve.colour);
    }
}

/// Where a number of connections is between the fewest and the most, from 0 to 1.
fn along(count: u64, fewest: u64, most: u64) -> f64 {
    let log = |count: u64| (count.max(1) as f64).ln();
    match most > fewest {
        true => (log(count) - log(fewest)) / (log(most) - log(fewest)),
        false => 0.5,
    }
}

/// A number at an axis.
fn short(value: f64) -> String {
    match value {
        _ if value >= 10_000.0 => format!("{}k", value / 1_000.0),
        _ if value == value.round() => format!("{value}"),
        _ => significant(value).trim_end_matches('0').to_owned(),
    }
}

pub fn with_commas(count: u64) -> String {
    match count {
        0..=999 => count.to_string(),
        _ => format!("{},{:03}", with_commas(count / 1_000), count % 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_is_logarithmic() {
        assert_eq!(along(1, 1, 10_000), 0.0);
        assert!((along(100, 1, 10_000) - 0.5).abs() < 1e-9);
        assert_eq!(along(10_000, 1, 10_000), 1.0);
        assert_eq!(along(16, 16, 16), 0.5);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(with_commas(19_000), "19,000");
        assert_eq!(with_commas(1_000_024), "1,000,024");
        assert_eq!(
            [short(50_000.0), short(2.0), short(0.5)],
            ["50k", "2", "0.5"]
        );
    }

    #[test]
    fn each_curve_has_a_line_and_a_name() {
        let spread = |median| Spread {
            median,
            least: median - 1.0,
            largest: median + 100.0,
        };
        let curve = |name: &str| Curve {
            name: name.into(),
            colour: "#123456",
            points: vec![(1, spread(5.0)), (19_000, spread(8.0))],
        };
        let panel = Panel {
            title: "echo".into(),
            curves: vec![curve("one"), curve("other")],
        };
        let svg = draw("title", "below", &[panel]);
        assert!(svg.contains(">one<") && svg.contains(">other<") && svg.contains(">19,000<"));
        assert_eq!(svg.matches("r=\"3\"").count(), 4);
        // Also what is far above the others stays inside.
        assert!(!svg.contains(",-"), "{svg}");
    }
}
