//! From a bench to cells: [`resolve`] checks a bench against what is on disk, [`expand`] makes the cells, and
//! [`Plan::cost`] says what they will take.

mod components;
mod cost;
mod error;
mod plan;
mod resolve;
mod steering;
#[cfg(test)]
pub(crate) mod tests;

pub use cost::Cost;
pub use error::PlanError;
pub use plan::{Plan, PlannedRow, RowCells};
pub use resolve::{BenchRequest, Origin, ResolvedBench, ResolvedModel, ResolvedRow, resolve};
pub use steering::expand;
