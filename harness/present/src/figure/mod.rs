//! Pictures as SVG: lines with error bands, heat maps, bars.
//!
//! ```text
//! Figure (plain data) -> render_svg -> text of an SVG file
//! ```
//! Equal figures give equal bytes. A missing value leaves a gap or is hatched, and is never drawn
//! as 0. Lines differ in colour, marker and dash, so that they can be told apart in grey print and
//! by colour-blind readers.

mod bars;
mod canvas;
mod cells;
mod colour_bar;
mod colours;
mod layout;
mod legend;
mod model;
mod panel;
mod pens;
mod scale;
mod sizes;
mod svg;
#[cfg(any(test, feature = "test-support"))]
pub mod test_support;
#[cfg(test)]
mod tests;
mod text;

pub use colours::LEVELS;
pub use model::{
    Axis, Bar, BarGroup, Dash, Figure, FigureError, Fill, HeatMap, Marks, Panel, PanelSize, Point,
    Scale, Series, YRange,
};
pub use svg::render_svg;
