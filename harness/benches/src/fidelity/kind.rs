use std::sync::Arc;

use harness_core::policy::Policy;
use harness_plan::{
    bench::{GridSettings, Settings},
    expand::{
        BenchKind, DOCUMENT_FILES, Expander, Plan, PlanError, ResolvedRow, RowCheck, RowWork,
        TextInput, TextNeed,
    },
    sources::SaeFolder,
};
use harness_store::{Store, StoreError};

use super::{derive, expand};
use crate::results::{Bench, Results};

/// SAEs are spliced into passes over documents.
pub struct Documents;

/// SAEs are spliced into passes over what the model writes itself.
pub struct Rollouts;

impl BenchKind for Documents {
    fn name(&self) -> &'static str {
        "grid"
    }

    fn of_model(&self, model: &str) -> String {
        format!(" on {model}")
    }

    fn text(&self) -> TextNeed {
        TextNeed {
            input: TextInput::Documents,
            what: "text to be measured on",
            files: DOCUMENT_FILES,
        }
    }

    fn text_amount(&self, settings: &Settings) -> u64 {
        match settings {
            Settings::Documents { text, .. } => text.budget_tokens,
            _ => 0,
        }
    }

    fn components(&self, _: &Settings, _: bool) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn check(&self, check: &mut RowCheck<'_>, settings: &Settings) {
        check_grid(check, settings.grid());
    }
}

impl Bench for Documents {
    fn expand(
        &self,
        expander: &mut Expander<'_>,
        row: &ResolvedRow,
        sae: &SaeFolder,
    ) -> Result<Arc<dyn RowWork>, PlanError> {
        Ok(Arc::new(expand::expand(expander, row, sae)?))
    }

    fn derive(&self, plan: &Plan, store: &Store) -> Result<Box<dyn Results>, StoreError> {
        Ok(Box::new(derive(plan, store)?))
    }
}

impl BenchKind for Rollouts {
    fn name(&self) -> &'static str {
        "rollout"
    }

    fn of_model(&self, model: &str) -> String {
        format!(" on rollouts of {model}")
    }

    fn text(&self) -> TextNeed {
        TextNeed {
            input: TextInput::Prompts,
            what: "prompts to continue",
            files: "jsonl with a field `prompt`, or --set prompt_field=NAME",
        }
    }

    fn text_amount(&self, settings: &Settings) -> u64 {
        match settings {
            Settings::Rollouts { text, .. } => text.n_prompts.into(),
            _ => 0,
        }
    }

    fn components(&self, settings: &Settings, is_diffusion: bool) -> Vec<(&'static str, String)> {
        match settings {
            Settings::Rollouts { text, .. } if is_diffusion => {
                vec![("remasker", text.order.clone())]
            }
            _ => Vec::new(),
        }
    }

    fn check(&self, check: &mut RowCheck<'_>, settings: &Settings) {
        check_grid(check, settings.grid());
    }
}

impl Bench for Rollouts {
    fn expand(
        &self,
        expander: &mut Expander<'_>,
        row: &ResolvedRow,
        sae: &SaeFolder,
    ) -> Result<Arc<dyn RowWork>, PlanError> {
        Ok(Arc::new(expand::expand(expander, row, sae)?))
    }

    fn derive(&self, plan: &Plan, store: &Store) -> Result<Box<dyn Results>, StoreError> {
        Ok(Box::new(derive(plan, store)?))
    }
}

fn check_grid(check: &mut RowCheck<'_>, grid: Option<&GridSettings>) {
    if let Some(grid) = grid.filter(|grid| grid.t_min > grid.t_max) {
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
