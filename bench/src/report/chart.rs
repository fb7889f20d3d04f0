//! A chart of bars: panels side by side, one for each setting, and in each a bar for every implementation.

use super::svg::{Colour, Place, Side, Svg, FAINT, GRID, INK};
use crate::measure::Spread;

pub struct Panel {
    pub title: String,
    /// The name at each bar, its colour, and its length.
    pub bars: Vec<(String, Colour, Spread)>,
}

// In pixels.
const MARGIN: i32 = 16;
const HEAD: i32 = 58;
const PANEL: i32 = 440;
const PANEL_HEAD: i32 = 26;
const ROW: i32 = 22;
const BAR: i32 = 14;
const AXIS: i32 = 26;
const NUMBERS: i32 = 52;
const COLUMNS: usize = 2;

// Sizes of letters. A letter is about six tenths as wide.
pub const TITLE: i32 = 15;
pub const PANEL_TITLE: i32 = 13;
pub const SMALL: i32 = 11;

/// Each implementation has the same colour in every chart. Variants of one implementation have shades of one colour.
pub fn colour(name: &str) -> Colour {
    match name {
        "bare" => "#8a8a8a",
        "bare-again" => "#bdbdbd",
        "minimio" | "tokio-on-minimio" => "#0b8a5f",
        "minimio-drained" | "tokio-on-minimio-lend" => "#74c4a5",
        "mio-short-read" | "tokio-on-mio" => "#3b6fb6",
        "mio-drained" | "tokio-on-mio-again" => "#8fb1de",
        "polling-level" => "#c46a1b",
        "polling-oneshot" => "#eab076",
        _ => "#8a5fb0",
    }
}

/// `below` is the line under the title. The bars are ratios, and `1` has a line of its own.
pub fn draw(title: &str, below: &str, panels: &[Panel]) -> String {
    let columns = panels.len().min(COLUMNS);
    let height_of = |row: &[Panel]| {
        let bars = row.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
        PANEL_HEAD + ROW * bars as i32 + AXIS
    };
    let rows: Vec<&[Panel]> = panels.chunks(COLUMNS).collect();
    let height = HEAD + rows.iter().map(|row| height_of(row) + MARGIN).sum::<i32>();
    // A title needs the width of two panels, even if there is only one.
    let width = (2 * MARGIN + PANEL * columns as i32).max(2 * MARGIN + PANEL + 200);
    let mut svg = Svg::new(width, height);
    svg.text(title, (MARGIN, 20), TITLE, INK, Side::Left);
    svg.text(below, (MARGIN, 41), SMALL, FAINT, Side::Left);
    let mut top = HEAD;
    for row in rows {
        for (column, panel) in row.iter().enumerate() {
            draw_panel(&mut svg, (MARGIN + PANEL * column as i32, top), panel);
        }
        top += height_of(row) + MARGIN;
    }
    svg.finish()
}

fn draw_panel(svg: &mut Svg, (left, top): Place, panel: &Panel) {
    svg.text(&panel.title, (left, top + 10), PANEL_TITLE, INK, Side::Left);
    let longest = panel.bars.iter().map(|(name, ..)| name.chars().count());
    let names = 14 + longest.max().unwrap_or(0) as i32 * SMALL * 6 / 10;
    let plot = PANEL - names - NUMBERS - 16;
    let medians = panel.bars.iter().map(|(.., spread)| spread.median);
    // One bad round may be far away. Then its line is cut off and has an arrow.
    let most = medians.fold(1.0, f64::max) * 1.25;
    let start = left + names;
    let at = |ratio: f64| start + (ratio / most * f64::from(plot)).round() as i32;
    let first = top + PANEL_HEAD;
    let last = first + ROW * panel.bars.len() as i32;

    let step = step(most);
    for tick in 0..=(most / step) as i32 {
        let ratio = f64::from(tick) * step;
        let x = at(ratio);
        svg.line(&[(x, first), (x, last)], 1, GRID);
        let digits = usize::from(step < 1.0);
        let label = format!("{ratio:.digits$}");
        svg.text(&label, (x, last + 11), SMALL, FAINT, Side::Middle);
    }
    for (row, (name, colour, spread)) in panel.bars.iter().enumerate() {
        let middle = first + ROW * row as i32 + ROW / 2;
        svg.text(name, (start - 8, middle), SMALL, INK, Side::Right);
        let (upper, lower) = (middle - BAR / 2, middle + BAR / 2);
        svg.bar((start, upper), (at(spread.median), lower), colour);

        let is_cut = spread.largest > most;
        let (from, to) = (at(spread.least), at(spread.largest.min(most)));
        svg.line(&[(from, middle), (to, middle)], 1, INK);
        svg.line(&[(from, middle - 3), (from, middle + 3)], 1, INK);
        if is_cut {
            let arrow = [(to - 4, middle - 4), (to, middle), (to - 4, middle + 4)];
            svg.line(&arrow, 1, INK);
        } else {
            svg.line(&[(to, middle - 3), (to, middle + 3)], 1, INK);
        }
        let number = format!("{:.3}", spread.median);
        let number_ends = (start + plot + NUMBERS, middle);
        svg.text(&number, number_ends, SMALL, INK, Side::Right);
    }
    svg.line(&[(at(1.0), first - 3), (at(1.0), last)], 2, INK);
}

/// The distance between two marks of an axis: the smallest round number that makes no more than seven marks.
pub fn step(most: f64) -> f64 {
    const MARKS: f64 = 7.0;
    let mut step = 0.001;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if most / (step * factor) <= MARKS {
                return step * factor;
            }
        }
        step *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn an_axis_has_few_marks_at_round_numbers() {
        for (most, expected) in [(1.25, 0.2), (3.4, 0.5), (7.0, 1.0), (210_000.0, 50_000.0)] {
            assert!((step(most) / expected - 1.0).abs() < 1e-9, "{most}");
        }
    }
}
