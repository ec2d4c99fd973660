use std::sync::Arc;

use harness_contract::{config::ConfigError, stages::DocumentPolicy};
use harness_plan::{
    bench::{KindDeclaration, Settings},
    expand::{BenchKind, Expander, Plan, PlanError, ResolvedRow, RowCheck, RowWork},
    sources::SaeFolder,
};
use harness_store::{Store, StoreError};

use super::{
    derive, expand,
    settings::{self, AutointerpSettings},
};
use crate::results::{Bench, Results};

/// Latents are explained by a judge, and the explanations tested on windows of text.
pub struct Autointerp;

impl BenchKind for Autointerp {
    fn declaration(&self) -> &'static KindDeclaration {
        &settings::KIND
    }

    fn of_model(&self, model: &str) -> String {
        format!(" in {model}")
    }

    fn check(&self, check: &mut RowCheck<'_>, settings: &Settings) -> Result<(), ConfigError> {
        let set: AutointerpSettings = settings.typed()?;
        check_windows(check, &set);
        check.positions(set.positions, set.mask_rate);
        if set.labels().is_some_and(|at| !at.starts_with('/')) {
            let message = "`label_field` does not begin with a slash".to_owned();
            check.problem(message, "it is a JSON pointer such as /labels/topics");
        }
        if set.labels().is_some() && set.documents == DocumentPolicy::Pack {
            let message = "packed rows hold several documents, and labels are of one".to_owned();
            let hint = "`documents` of `truncate` puts one into each row; --set label_field=none \
                        goes without labels";
            check.problem(message, hint);
        }
        Ok(())
    }

    /// Latents asked for by number must be in every SAE.
    fn check_saes(
        &self,
        check: &mut RowCheck<'_>,
        settings: &Settings,
        saes: &[SaeFolder],
    ) -> Result<(), ConfigError> {
        let set: AutointerpSettings = settings.typed()?;
        let asked = set.latent.iter().flatten().max();
        let too_few = |largest| saes.iter().find(|sae| largest >= sae.d_sae);
        if let Some((largest, sae)) = asked.and_then(|n| Some((n, too_few(*n)?))) {
            let message = format!(
                "latent {largest} out of range: SAEs of {} have {} latents, 0 to {}",
                check.row.sae,
                sae.d_sae,
                sae.d_sae.saturating_sub(1)
            );
            check.problem_of("--latent", message, "");
        }
        Ok(())
    }
}

impl Bench for Autointerp {
    fn expand(
        &self,
        expander: &mut Expander<'_>,
        row: &ResolvedRow,
        sae: &SaeFolder,
    ) -> Result<Arc<dyn RowWork>, PlanError> {
        let set: AutointerpSettings = row.settings.typed()?;
        Ok(Arc::new(expand::expand(expander, row, &set, sae)?))
    }

    fn derive(&self, plan: &Plan, store: &Store) -> Result<Box<dyn Results>, StoreError> {
        Ok(Box::new(derive(plan, store)?))
    }
}

fn check_windows(check: &mut RowCheck<'_>, set: &AutointerpSettings) {
    let rules = set.rules();
    if let Err(error) = rules.checked() {
        let hint = "`n_top_shown` and `n_weighted_shown` say how many explain a latent; the \
                    others are predicted";
        check.problem(format!("{error}, of {}", check.row.sae), hint);
    }
    if rules.n_scored() == 0 {
        let message = "no window is left to be predicted".to_owned();
        let hint = "`n_top` above `n_top_shown`, `n_weighted` above `n_weighted_shown`, or \
                    `n_random` above 0";
        check.problem(message, hint);
    }
    if set.context_length <= 2 * set.buffer {
        let message = format!(
            "rows of {} tokens hold no window of {}",
            set.context_length,
            rules.width()
        );
        check.problem(message, "raise `context_length` or lower `buffer`");
    }
}
