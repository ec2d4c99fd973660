//! Results on disk: one content-addressed JSON file for each cell, and the manifest of a run.
//!
//! ```text
//! OUT/store.json                schema of the store
//! OUT/cells/ab/abcd….json       one finished or failed cell
//! OUT/quarantine/               damaged cell files, kept for inspection
//! OUT/conflicts/                a second, different result of a finished cell
//! OUT/run.json                  manifest of the last run
//! OUT/manifests/                manifests of all runs
//! OUT/claims/                   who computes what just now, see [`crate::claims`]
//! OUT/replies/                  replies of judges that cost money, see [`crate::replies`]
//! ```
//! A file appears whole or not at all (temporary file, fsync, rename), so a run may be ended at any
//! moment, several processes may share a store, and nothing needs a lock.

mod cells;
pub mod claims;
mod findings;
mod gc;
mod keys;
mod manifest;
mod merge;
mod record;
pub mod replies;
mod stage_summary;
#[cfg(test)]
mod tests;
mod unread;
mod verify;
#[cfg(test)]
mod verify_tests;

pub use cells::{Access, Available, Lookup, Put, Store, StoreError};
pub use findings::{Finding, Problem};
pub use gc::{Removable, Rubbish};
pub use manifest::{
    ActivationSummary, CellCounts, DecodingSummary, GridSummary, ManifestBadRows, ManifestCutText,
    ManifestModel, ManifestPlugin, ManifestSae, RunManifest,
};
pub use merge::Merged;
pub use record::{CellRecord, Damage, Provenance, STORE_SCHEMA};
pub use stage_summary::StageSummary;
pub use unread::Unread;
pub use verify::Verified;

/// Folder of a store with what was submitted to Slurm.
pub const SLURM: &str = "slurm";
