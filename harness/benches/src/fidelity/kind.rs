use std::sync::Arc;

use harness_contract::config::ConfigError;
use harness_core::policy::Policy;
use harness_plan::{
    bench::{KindDeclaration, Settings},
    expand::{BenchKind, Expander, Plan, PlanError, ResolvedRow, RowCheck, RowWork},
    sources::SaeFolder,
};
use harness_store::{Store, StoreError};

use super::{
    derive,
    expand::{self, rollouts, shards},
    settings::{self, GridSettings},
};
use crate::results::{Bench, Results};

/// SAEs are spliced into passes over documents.
pub struct Documents;

/// SAEs are spliced into passes over what the model writes itself.
pub struct Rollouts;

impl BenchKind for Documents {
    fn declaration(&self) -> &'static KindDeclaration {
        &settings::DOCUMENTS
    }

    fn of_model(&self, model: &str) -> String {
        format!(" on {model}")
    }

    fn check(&self, check: &mut RowCheck<'_>, settings: &Settings) -> Result<(), ConfigError> {
        check_grid(check, &settings.typed()?);
        Ok(())
    }
}

impl Bench for Documents {
    fn expand(
        &self,
        expander: &mut Expander<'_>,
        row: &ResolvedRow,
        sae: &SaeFolder,
    ) -> Result<Arc<dyn RowWork>, PlanError> {
        Ok(Arc::new(expand::expand(expander, row, sae, shards)?))
    }

    fn derive(&self, plan: &Plan, store: &Store) -> Result<Box<dyn Results>, StoreError> {
        Ok(Box::new(derive(plan, store)?))
    }
}

impl BenchKind for Rollouts {
    fn declaration(&self) -> &'static KindDeclaration {
        &settings::ROLLOUTS
    }

    fn of_model(&self, model: &str) -> String {
        format!(" on rollouts of {model}")
    }

    fn check(&self, check: &mut RowCheck<'_>, settings: &Settings) -> Result<(), ConfigError> {
        check_grid(check, &settings.typed()?);
        Ok(())
    }
}

impl Bench for Rollouts {
    fn expand(
        &self,
        expander: &mut Expander<'_>,
        row: &ResolvedRow,
        sae: &SaeFolder,
    ) -> Result<Arc<dyn RowWork>, PlanError> {
        Ok(Arc::new(expand::expand(expander, row, sae, rollouts)?))
    }

    fn derive(&self, plan: &Plan, store: &Store) -> Result<Box<dyn Results>, StoreError> {
        Ok(Box::new(derive(plan, store)?))
    }
}

fn check_grid(check: &mut RowCheck<'_>, grid: &GridSettings) {
    if grid.t_min > grid.t_max {
        let message = format!("`t_min` is {}, above `t_max` {}", grid.t_min, grid.t_max);
        check.problem(message, "");
    }
    if let Some(policy) = check.row.policy.filter(|policy| *policy != Policy::Clean) {
        check.masks(|row| {
            format!(
                "{} has no masks, and SAE set {} is of policy `{policy}`",
                row.model, row.sae
            )
        });
    }
}
