//! The kinds of benches there are: the one list.

use harness_contract::{hash::HashCache, plugin::Discovery};
use harness_plan::{
    bench::RowKind,
    expand::{self, Kind, Plan, PlanError, ResolvedBench},
};
use harness_store::{Store, StoreError};

use crate::{
    autointerp, catalogue, decoding, fidelity,
    results::{Bench, Results},
    steering,
};

/// The kinds as bench files know them.
pub static KINDS: &[RowKind] = &[
    RowKind(&steering::settings::KIND),
    RowKind(&fidelity::settings::DOCUMENTS),
    RowKind(&fidelity::settings::ROLLOUTS),
    RowKind(&decoding::settings::KIND),
    RowKind(&autointerp::settings::KIND),
    RowKind(&catalogue::settings::KIND),
];

/// The kinds that run something.
static BENCHES: [&dyn Bench; 5] = [
    &steering::Steering,
    &fidelity::GRID_ON_DOCUMENTS,
    &fidelity::GRID_ON_ROLLOUTS,
    &decoding::Decoding,
    &autointerp::Autointerp,
];

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
    // A bench that runs nothing has no plan.
    let bench = bench(plan.table.kind()).unwrap_or(&fidelity::GRID_ON_DOCUMENTS);
    bench.derive(plan, store)
}
