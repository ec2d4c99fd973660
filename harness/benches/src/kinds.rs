//! What is asked of whichever kind a bench is of.

use harness_contract::{hash::HashCache, plugin::Discovery};
use harness_plan::{
    bench::RowKind,
    expand::{self, Kind, Plan, PlanError, ResolvedBench},
};
use harness_store::{Store, StoreError};

use crate::{
    BENCHES,
    results::{Bench, NoResults, Results},
};

/// The kind behind a row; `None` for one that runs nothing.
fn bench(kind: RowKind) -> Option<&'static dyn Bench> {
    let is_it = |bench: &&&dyn Bench| RowKind(bench.declaration()) == kind;
    BENCHES.iter().find(is_it).copied()
}

/// What a kind adds to planning; `None` for one that runs nothing.
pub fn kind_of(kind: RowKind) -> Option<Kind> {
    bench(kind).map(|bench| Kind(bench))
}

/// Makes the cells of a bench.
///
/// # Errors
/// Those of [`harness_plan::expand::expand`].
pub fn expand(
    bench: &ResolvedBench,
    plugins: &Discovery,
    hashes: &mut HashCache,
) -> Result<Plan, PlanError> {
    expand::expand(bench, plugins, hashes, |expander, row, sae| {
        let bench = self::bench(row.row.kind).ok_or_else(|| row.of_another_kind())?;
        bench.expand(expander, row, sae)
    })
}

/// Derives the rows of a plan from what the store holds.
///
/// # Errors
/// When the store cannot be read, or an output is not what its stage leaves.
pub fn derive(plan: &Plan, store: &Store) -> Result<Box<dyn Results>, StoreError> {
    match bench(plan.table.kind()) {
        Some(bench) => bench.derive(plan, store),
        None => Ok(Box::new(NoResults)),
    }
}
