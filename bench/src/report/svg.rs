//! A drawing as SVG: shapes and texts on a card with a background of its own, so that it can be read on a page of any
//! colour. A reader who prefers dark pages gets a dark card.

use std::fmt::Write as _;

/// The colours that follow the reader's choice: the name of a class, and the colour on a light and on a dark card.
#[derive(Debug, Clone, Copy)]
pub struct Ink(&'static str, &'static str, &'static str);

pub const INK: Ink = Ink("ink", "#222222", "#e6edf3");
pub const FAINT: Ink = Ink("faint", "#666666", "#9198a1");
pub const GRID: Ink = Ink("grid", "#e2e2e2", "#30363d");
const CARD: Ink = Ink("card", "#ffffff", "#0d1117");

/// Other colours, which can be told apart on both cards.
pub type Colour = &'static str;

/// A place, in pixels from the upper left corner.
pub type Place = (i32, i32);

/// Which part of a text is at its place.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    Left,
    Middle,
    Right,
}

#[derive(Debug)]
pub struct Svg {
    size: Place,
    shapes: String,
}

impl Svg {
    pub fn new(width: i32, height: i32) -> Svg {
        Svg {
            size: (width, height),
            shapes: String::new(),
        }
    }

    /// One line of text, whose middle is at the height of `at`.
    pub fn text(&mut self, text: &str, at: Place, size: i32, ink: Ink, side: Side) {
        let anchor = match side {
            Side::Left => "start",
            Side::Middle => "middle",
            Side::Right => "end",
        };
        let Ink(class, light, _) = ink;
        let text = escaped(text);
        _ = writeln!(
            self.shapes,
            r#"<text class="{class}" x="{}" y="{}" dy="0.35em" font-size="{size}" text-anchor="{anchor}" fill="{light}">{text}</text>"#,
            at.0, at.1
        );
    }

    pub fn bar(&mut self, (left, top): Place, (right, bottom): Place, colour: Colour) {
        let (width, height) = ((right - left).max(0), (bottom - top).max(0));
        _ = writeln!(
            self.shapes,
            r#"<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="{colour}"/>"#
        );
    }

    /// A line through these places, in a colour that follows the reader's choice.
    pub fn line(&mut self, points: &[Place], width: i32, ink: Ink) {
        let Ink(class, light, _) = ink;
        let more = format!(r#"class="{class}-line" stroke="{light}""#);
        self.path(points, width, &more);
    }

    /// The same in another colour.
    pub fn curve(&mut self, points: &[Place], width: i32, colour: Colour) {
        self.path(points, width, &format!(r#"stroke="{colour}""#));
    }

    fn path(&mut self, points: &[Place], width: i32, more: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
        _ = writeln!(
            self.shapes,
            r#"<polyline points="{}" fill="none" stroke-width="{width}" {more}/>"#,
            points.join(" ")
        );
    }

    pub fn dot(&mut self, (x, y): Place, radius: i32, colour: Colour) {
        _ = writeln!(
            self.shapes,
            r#"<circle cx="{x}" cy="{y}" r="{radius}" fill="{colour}"/>"#
        );
    }

    pub fn finish(self) -> String {
        let (width, height) = self.size;
        let mut dark = String::new();
        for Ink(class, _, colour) in [INK, FAINT, GRID, CARD] {
            _ = write!(
                dark,
                ".{class}{{fill:{colour}}}.{class}-line{{stroke:{colour}}}"
            );
        }
        let Ink(class, light, _) = CARD;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif">
<style>@media (prefers-color-scheme:dark){{{dark}}}</style>
<rect class="{class}" width="{width}" height="{height}" rx="6" fill="{light}"/>
{}</svg>
"#,
            self.shapes
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_has_both_cards_and_no_bare_angle() {
        let mut svg = Svg::new(100, 50);
        svg.text("a < b & c", (1, 2), 11, INK, Side::Left);
        let text = svg.finish();
        assert!(text.contains("a &lt; b &amp; c"), "{text}");
        assert!(text.contains("fill=\"#ffffff\"") && text.contains(".card{fill:#0d1117}"));
        assert_eq!(
            text.matches("<text").count(),
            text.matches("</text>").count()
        );
    }
}
