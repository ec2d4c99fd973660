use std::sync::Arc;

use harness_contract::{config::ConfigError, sources::SaeFolder};
use harness_core::policy::Policy;
use harness_plan::{
    bench::{KindDeclaration, Settings},
    expand::{BenchKind, Expander, Plan, PlanError, ResolvedRow, RowCheck, RowWork},
};
use harness_store::{Store, StoreError};

use super::{
    derive,
    expand::{self, PartsOf, rollouts, shards},
    settings::{self, GridSettings},
};
use crate::results::{Bench, Results};

/// SAEs are spliced into passes over a text.
pub struct Grid {
    declaration: &'static KindDeclaration,
    /// How a row is called after its SAE set, before its model.
    on: &'static str,
    parts_of: PartsOf,
}

/// The text is documents.
pub static GRID_ON_DOCUMENTS: Grid = Grid {
    declaration: &settings::DOCUMENTS,
    on: " on ",
    parts_of: shards,
};

/// The text is what the model writes itself.
pub static GRID_ON_ROLLOUTS: Grid = Grid {
    declaration: &settings::ROLLOUTS,
    on: " on rollouts of ",
    parts_of: rollouts,
};

impl BenchKind for Grid {
    fn declaration(&self) -> &'static KindDeclaration {
        self.declaration
    }

    fn of_model(&self, model: &str) -> String {
        format!("{}{model}", self.on)
    }

    fn check(&self, check: &mut RowCheck<'_>, settings: &Settings) -> Result<(), ConfigError> {
        check_grid(check, &settings.typed()?);
        Ok(())
    }
}

impl Bench for Grid {
    fn expand(
        &self,
        expander: &mut Expander<'_>,
        row: &ResolvedRow,
        sae: &SaeFolder,
    ) -> Result<Arc<dyn RowWork>, PlanError> {
        Ok(Arc::new(expand::expand(expander, row, sae, self.parts_of)?))
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
