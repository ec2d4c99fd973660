//! From a bench to cells: [`resolve`] checks a bench against what is on disk, [`expand`] makes the
//! cells, and [`Plan::cost`] says what they will take. Cells that share passes come in groups that
//! are run together ([`PlannedGroup`]).

mod autointerp;
mod by_model;
mod components;
mod cost;
mod decoding;
mod error;
mod expander;
mod forecast;
mod grid;
mod group;
mod made_for;
mod part;
mod pass;
mod plan;
mod provenance;
mod resolve;
mod steering;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_autointerp;
#[cfg(test)]
mod tests_decoding;
#[cfg(test)]
mod tests_forecast;
#[cfg(test)]
mod tests_grid;
#[cfg(test)]
mod tests_judge;
#[cfg(test)]
mod tests_keys;
#[cfg(test)]
mod tests_pinned;
#[cfg(test)]
mod tests_text;
mod texts;
mod urgency;

pub use cost::Cost;
pub use error::PlanError;
pub use expander::expand;
pub use group::{GroupKind, GroupWork, Member, PlannedGroup};
pub use plan::{
    AutointerpWork, DecodingWork, Followed, GridWork, OrderWork, Plan, PlannedRow, RowCells,
    RowWork, SteeringWork,
};
pub use resolve::{
    BenchRequest, EMBEDDED, Limits, NO_SCORER, Origin, ResolvedBench, ResolvedModel, ResolvedRow,
    TextSource, resolve,
};
pub use resolve::{is_chosen, unknown_rows};
