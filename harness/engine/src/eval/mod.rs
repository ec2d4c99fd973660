//! Measuring a model and an SAE on one batch: costs of positions, SAE splices and the residuals between them.
//!
//! ```text
//! embed -> blocks ..= layer -> [splice: rows replaced by their reconstruction] -> blocks to the end -> costs of the scored positions
//! ```
//! The host drives the model in segments, so the blocks before a splice run once for every SAE of a layer.

mod batch;
mod costs;
mod error;
mod grid;
mod splice;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Scope};
pub use costs::{Scored, position_costs};
pub use error::EvalError;
pub use grid::{
    Candidate, GridCosts, GridOptions, GridWork, NoWatch, Replacement, ScoredSet, SpliceCosts,
    Watch, Which, run_grid,
};
pub use splice::{reconstruct_where, rows_where, splice};
