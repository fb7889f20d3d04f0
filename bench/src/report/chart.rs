//! A chart: panels side by side, one for each setting, and in each a bar for every implementation.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::measure::Spread;

pub struct Panel {
    pub title: String,
    pub bars: Vec<(&'static str, Spread)>,
}

// In pixels.
const MARGIN: i32 = 16;
const HEAD: i32 = 58;
const PANEL: i32 = 440;
const PANEL_HEAD: i32 = 26;
const ROW: i32 = 22;
const BAR: i32 = 14;
const AXIS: i32 = 26;
const NAMES: i32 = 118;
const NUMBERS: i32 = 52;
const PLOT: i32 = PANEL - NAMES - NUMBERS - 16;
const COLUMNS: usize = 2;

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0x77, 0x77, 0x77);
const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);

/// Each implementation has the same colour in every chart. Variants of one implementation have shades of one colour.
fn colour(name: &str) -> RGBColor {
    match name {
        "bare" => RGBColor(0x8a, 0x8a, 0x8a),
        "bare-again" => RGBColor(0xbd, 0xbd, 0xbd),
        "minimio" => RGBColor(0x0b, 0x8a, 0x5f),
        "minimio-drained" => RGBColor(0x74, 0xc4, 0xa5),
        "mio-short-read" => RGBColor(0x3b, 0x6f, 0xb6),
        "mio-drained" => RGBColor(0x8f, 0xb1, 0xde),
        "polling-level" => RGBColor(0xc4, 0x6a, 0x1b),
        "tokio-on-mio" => RGBColor(0x3b, 0x6f, 0xb6),
        "tokio-on-mio-again" => RGBColor(0x8f, 0xb1, 0xde),
        "tokio-on-minimio" => RGBColor(0x0b, 0x8a, 0x5f),
        "tokio-on-minimio-lend" => RGBColor(0x74, 0xc4, 0xa5),
        "polling-oneshot" => RGBColor(0xea, 0xb0, 0x76),
        _ => RGBColor(0x8a, 0x5f, 0xb0),
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Error = Box<dyn std::error::Error + Send + Sync>;

pub fn draw(
    path: &Path,
    title: &str,
    floor: &str,
    better: &str,
    panels: &[Panel],
) -> Result<(), Error> {
    let columns = panels.len().min(COLUMNS);
    let height_of = |row: &[Panel]| {
        let bars = row.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
        PANEL_HEAD + ROW * bars as i32 + AXIS
    };
    let rows: Vec<&[Panel]> = panels.chunks(COLUMNS).collect();
    let height = HEAD + rows.iter().map(|row| height_of(row) + MARGIN).sum::<i32>();
    // A title needs the width of two panels, even if there is only one.
    let width = (2 * MARGIN + PANEL * columns as i32).max(2 * MARGIN + PANEL + 200);
    let root = SVGBackend::new(path, (width as u32, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    write(&root, title, (MARGIN, 20), 17, INK, HPos::Left)?;
    let comma = if better.is_empty() { "" } else { "; " };
    let below =
        format!("ratio to {floor}{comma}{better}; thin lines: least to largest of the rounds");
    write(&root, &below, (MARGIN, 41), 12, FAINT, HPos::Left)?;
    let mut top = HEAD;
    for row in rows {
        for (column, panel) in row.iter().enumerate() {
            draw_panel(&root, (MARGIN + PANEL * column as i32, top), panel)?;
        }
        top += height_of(row) + MARGIN;
    }
    root.present()?;
    Ok(())
}

fn draw_panel(root: &Area<'_>, (left, top): (i32, i32), panel: &Panel) -> Result<(), Error> {
    write(root, &panel.title, (left, top + 10), 14, INK, HPos::Left)?;
    let medians = panel.bars.iter().map(|(_, spread)| spread.median);
    // One bad round may be far away. Then its line is cut off and has an arrow.
    let most = medians.fold(1.0, f64::max) * 1.25;
    let start = left + NAMES;
    let at = |ratio: f64| start + (ratio / most * f64::from(PLOT)).round() as i32;
    let first = top + PANEL_HEAD;
    let last = first + ROW * panel.bars.len() as i32;

    let step = step(most);
    for tick in 0..=(most / step) as i32 {
        let ratio = f64::from(tick) * step;
        let x = at(ratio);
        root.draw(&PathElement::new(vec![(x, first), (x, last)], GRID))?;
        let digits = usize::from(step < 1.0);
        let label = format!("{ratio:.digits$}");
        write(root, &label, (x, last + 11), 11, FAINT, HPos::Center)?;
    }
    for (row, (name, spread)) in panel.bars.iter().enumerate() {
        let colour = colour(name);
        let middle = first + ROW * row as i32 + ROW / 2;
        let name_ends = (start - 8, middle);
        // All servers of tokio have this in front.
        let name = name.trim_start_matches("tokio-on-");
        write(root, name, name_ends, 12, INK, HPos::Right)?;
        let (upper, lower) = (middle - BAR / 2, middle + BAR / 2);
        let bar = [(start, upper), (at(spread.median), lower)];
        root.draw(&Rectangle::new(bar, colour.filled()))?;

        let is_cut = spread.largest > most;
        let (from, to) = (at(spread.least), at(spread.largest.min(most)));
        let line = |points: Vec<(i32, i32)>| PathElement::new(points, INK);
        root.draw(&line(vec![(from, middle), (to, middle)]))?;
        root.draw(&line(vec![(from, middle - 3), (from, middle + 3)]))?;
        if is_cut {
            root.draw(&line(vec![
                (to - 4, middle - 4),
                (to, middle),
                (to - 4, middle + 4),
            ]))?;
        } else {
            root.draw(&line(vec![(to, middle - 3), (to, middle + 3)]))?;
        }
        let number = format!("{:.3}", spread.median);
        let number_ends = (start + PLOT + NUMBERS, middle);
        write(root, &number, number_ends, 12, INK, HPos::Right)?;
    }
    let one = vec![(at(1.0), first - 3), (at(1.0), last)];
    root.draw(&PathElement::new(one, BLACK.stroke_width(2)))?;
    Ok(())
}

/// The distance between two marks of an axis: the smallest round number that makes no more than seven marks.
fn step(most: f64) -> f64 {
    [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]
        .into_iter()
        .find(|step| most / step <= 7.0)
        .unwrap_or(most)
}

fn write(
    root: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: i32,
    colour: RGBColor,
    side: HPos,
) -> Result<(), Error> {
    let style = TextStyle::from(("sans-serif", size).into_font())
        .color(&colour)
        .pos(Pos::new(side, VPos::Center));
    root.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}
