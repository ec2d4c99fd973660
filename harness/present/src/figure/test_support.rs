//! What the tests of figures look at, here and in `benches`.

#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

pub use super::{layout::Layout, sizes::SMALL, text::text_width};

pub const BLUE: &str = "#0072B2";

/// Elements that are drawn in `colour`, by tag.
pub fn drawn<'a>(svg: &'a str, tag: &str, colour: &str) -> Vec<&'a str> {
    svg.lines()
        .filter(|line| line.starts_with(&format!("<{tag} ")) && line.contains(colour))
        .collect()
}

/// Corners or points of an element.
pub fn points(element: &str) -> usize {
    let at = element.find(" points=\"").unwrap() + 9;
    element[at..]
        .split('"')
        .next()
        .unwrap()
        .split_whitespace()
        .count()
}
