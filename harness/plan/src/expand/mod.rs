//! From a bench to cells: [`resolve`] checks a bench against what is on disk, [`expand`] makes the
//! cells, and [`Plan::cost`] says what they will take. Cells that share passes come in groups that
//! are run together ([`PlannedGroup`]).

mod by_model;
mod components;
mod cost;
mod error;
mod expander;
mod forecast;
mod group;
mod kind;
mod made_for;
mod own_rows;
mod part;
pub mod pass;
mod plan;
mod provenance;
mod resolve;
pub mod texts;
mod urgency;

pub use cost::Cost;
pub use error::PlanError;
pub use expander::{ExpandRow, Expander, NewCell, Place, Texts, expand};
pub use forecast::BATCH_ROWS;
pub use group::{GroupKind, GroupWork, Member, PlannedGroup};
pub use kind::{BenchKind, GeneratedRow, Kind, KindOf, RowCheck};
pub use own_rows::{Named, add_own_rows, own_names};
pub use plan::{Plan, PlannedRow, RowWork};
pub use resolve::{
    BenchRequest, EMBEDDED, Limits, NO_SCORER, Origin, ResolvedBench, ResolvedModel, ResolvedRow,
    TextSource, check_options, is_chosen, resolve, unknown_rows,
};
