//! Pictures of results as SVG: lines with error bands, heat maps, bars.
//!
//! ```text
//! rows of a table -> steering_figure, autointerp_figure, grid_figure, transfer_figure,    Figure
//!                    dynamics_heatmaps, dynamics_curves, accuracy_bars                -> (plain data) -> render_svg -> text of an SVG file
//! ```
//! Equal figures give equal bytes. A missing value leaves a gap or is hatched, and is never drawn as 0. Lines differ in colour, marker and
//! dash, so that they can be told apart in grey print and by colour-blind readers.

mod accuracy;
mod autointerp;
mod bench;
mod dynamics;
mod grid;
mod steering;
#[cfg(test)]
mod tests;
mod transfer;

pub use accuracy::accuracy_bars;
pub use autointerp::autointerp_figure;
pub use bench::{WriteFigureError, bench_figures, write_figures};
pub use dynamics::{Across, DynamicsOptions, dynamics_curves, dynamics_heatmaps};
pub use grid::{GridOptions, Split, grid_figure, measured};
pub use steering::steering_figure;
pub use transfer::{TransferPart, transfer_figure};
