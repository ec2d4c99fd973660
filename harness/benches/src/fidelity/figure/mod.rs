//! How the figures of the grid benches are drawn.

mod grid;
#[cfg(test)]
mod tests;
mod transfer;

pub use grid::{GridOptions, Split, grid_figure, measured};
pub use transfer::{TransferPart, transfer_figure};
