//! Measuring a model and SAEs on one batch: costs of positions, SAE splices, and the residuals
//! between them.
//!
//! The host drives the model in segments, so the blocks before a splice run once for every SAE. The
//! benches and the parity fixtures are measured by the same [`run_grid`] and [`Explained`].

mod batch;
mod counted;
mod error;
mod explained;
mod grid;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Scope};
pub use counted::ScoredSet;
pub use error::EvalError;
pub use explained::{Explained, Place, Variance, unit_of};
pub use grid::{
    Candidate, GridCosts, GridOptions, GridWork, NoWatch, Replacement, SpliceCosts, Watch, Which,
    run_grid,
};
