use std::sync::Arc;

use harness_contract::config::ConfigError;
use harness_plan::{
    bench::{KindDeclaration, Settings},
    expand::{BenchKind, Expander, GeneratedRow, Plan, PlanError, ResolvedRow, RowCheck, RowWork},
    sources::SaeFolder,
};
use harness_store::{Store, StoreError};

use super::{
    derive, expand,
    settings::{self, SteeringSettings},
};
use crate::results::{Bench, Results};

/// Texts are steered along latents, judged and scored.
pub struct Steering;

impl BenchKind for Steering {
    fn declaration(&self) -> &'static KindDeclaration {
        &settings::KIND
    }

    fn of_model(&self, _: &str) -> String {
        String::new()
    }

    fn check(&self, check: &mut RowCheck<'_>, settings: &Settings) -> Result<(), ConfigError> {
        let set: SteeringSettings = settings.typed()?;
        let pool = check.n_prefixes;
        if set.n_prefix as usize > pool {
            let message = format!("`n_prefix` is {} for {}", set.n_prefix, check.row.sae);
            check.problem(message, format!("the pool has {pool} prefixes"));
        }
        check.positions(set.positions.unwrap_or_default(), set.mask_rate);
        Ok(())
    }

    /// The pass that finds features is a group and says itself what it takes.
    fn generated(&self, settings: &Settings) -> Option<GeneratedRow> {
        Some(GeneratedRow {
            row_tokens: settings.whole("max_new_tokens") + 16,
            holds_all_saes: false,
        })
    }
}

impl Bench for Steering {
    fn expand(
        &self,
        expander: &mut Expander<'_>,
        row: &ResolvedRow,
        sae: &SaeFolder,
    ) -> Result<Arc<dyn RowWork>, PlanError> {
        let set: SteeringSettings = row.settings.typed()?;
        Ok(Arc::new(expand::expand(expander, row, &set, sae)?))
    }

    fn derive(&self, plan: &Plan, store: &Store) -> Result<Box<dyn Results>, StoreError> {
        Ok(Box::new(derive(plan, store)?))
    }
}
