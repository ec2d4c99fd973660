use std::sync::Arc;

use harness_plan::{
    bench::{Settings, SteeringSettings},
    expand::{
        BenchKind, DOCUMENT_FILES, Expander, GeneratedRow, Plan, PlanError, ResolvedRow, RowCheck,
        RowWork, TextInput, TextNeed,
    },
    sources::SaeFolder,
};
use harness_store::{Store, StoreError};

use super::{derive, expand};
use crate::results::{Bench, Results};

/// Texts are steered along latents, judged and scored.
pub struct Steering;

impl BenchKind for Steering {
    fn name(&self) -> &'static str {
        "steering"
    }

    fn of_model(&self, _: &str) -> String {
        String::new()
    }

    fn text(&self) -> TextNeed {
        TextNeed {
            input: TextInput::Documents,
            what: "text for its activation pass",
            files: DOCUMENT_FILES,
        }
    }

    fn text_amount(&self, settings: &Settings) -> u64 {
        of(settings).map_or(0, |set| set.budget_tokens)
    }

    fn components(&self, settings: &Settings, is_diffusion: bool) -> Vec<(&'static str, String)> {
        let Some(set) = of(settings) else {
            return Vec::new();
        };
        let mut needed = vec![
            ("steering", set.token_scope.clone()),
            ("judge", set.judge.clone()),
        ];
        needed.extend(is_diffusion.then(|| ("remasker", set.order.clone())));
        needed.extend(set.metrics.iter().map(|name| ("metric", name.clone())));
        needed
    }

    fn scorer<'s>(&self, settings: &'s Settings) -> Option<&'s str> {
        of(settings).map(|set| set.scorer.as_str())
    }

    fn limit(&self, settings: &mut Settings, limit: u32) -> Option<&'static str> {
        let Settings::Steering(set) = settings else {
            return None;
        };
        let is_less = limit < set.n_features;
        set.n_features = set.n_features.min(limit);
        if set.n_features == 0 {
            // `--limit 0`: valid, and nothing to do.
            set.k.clear();
        }
        is_less.then_some("n_features")
    }

    fn check(&self, check: &mut RowCheck<'_>, settings: &Settings) {
        let Some(set) = of(settings) else { return };
        let pool = check.n_prefixes;
        if set.n_prefix as usize > pool {
            let message = format!("`n_prefix` is {} for {}", set.n_prefix, check.row.sae);
            check.problem(message, format!("the pool has {pool} prefixes"));
        }
        check.positions(set.positions.unwrap_or_default(), set.mask_rate);
    }

    /// The pass that finds features is a group and says itself what it takes.
    fn generated(&self, settings: &Settings) -> Option<GeneratedRow> {
        let set = of(settings)?;
        Some(GeneratedRow {
            row_tokens: set.max_new_tokens + 16,
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
        let set = of(&row.settings).ok_or_else(|| row.of_another_kind())?;
        Ok(Arc::new(expand::expand(expander, row, set, sae)?))
    }

    fn derive(&self, plan: &Plan, store: &Store) -> Result<Box<dyn Results>, StoreError> {
        Ok(Box::new(derive(plan, store)?))
    }
}

fn of(settings: &Settings) -> Option<&SteeringSettings> {
    match settings {
        Settings::Steering(set) => Some(set),
        _ => None,
    }
}
