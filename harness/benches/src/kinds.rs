//! The kinds of benches there are: the one list.

use harness_contract::{hash::HashCache, plugin::Discovery};
use harness_plan::{
    bench::RowKind,
    expand::{self, Kind, Plan, PlanError, ResolvedBench},
};
use harness_store::{Store, StoreError};

use crate::{
    autointerp, decoding, fidelity,
    results::{Bench, Results},
    steering,
};

/// The kind behind a row; `None` for one that runs nothing.
fn bench(kind: RowKind) -> Option<&'static dyn Bench> {
    Some(match kind {
        RowKind::Steering => &steering::Steering,
        RowKind::Documents => &fidelity::Documents,
        RowKind::Rollouts => &fidelity::Rollouts,
        RowKind::Decoding => &decoding::Decoding,
        RowKind::Autointerp => &autointerp::Autointerp,
        RowKind::Catalogue => return None,
    })
}

/// What a kind adds to planning; `None` for one that runs nothing.
pub fn kinds(kind: RowKind) -> Option<Kind> {
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
    // A bench that runs nothing has no plan.
    let bench = bench(plan.table.kind()).unwrap_or(&fidelity::Documents);
    bench.derive(plan, store)
}
