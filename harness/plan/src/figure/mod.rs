//! Pictures of results: lines over k with error bands, as SVG.
//!
//! ```text
//! rows of a table -> steering_figure, grid_figure, transfer_figure -> Figure (plain data) -> render_svg -> text of an SVG file
//! ```
//! Equal figures give equal bytes. A missing value leaves a gap and is never drawn as 0. Lines differ in colour, marker and
//! dash, so that they can be told apart in grey print and by colour-blind readers.

mod bench;
mod canvas;
mod grid;
mod layout;
mod model;
mod panel;
mod scale;
mod steering;
mod svg;
#[cfg(test)]
mod tests;
mod transfer;

pub use bench::{WriteFigureError, bench_figures, write_figures};
pub use grid::{GridOptions, Split, grid_figure, measured};
pub use model::{Axis, Dash, Figure, FigureError, Panel, Point, Scale, Series, YRange};
pub use steering::steering_figure;
pub use svg::render_svg;
pub use transfer::{TransferPart, transfer_figure};
