//! What must hold of a bench before anything is made of it.

use harness_contract::sources::SaeFolder;
use harness_core::suggest;

use super::resolved::{EMBEDDED, NO_SCORER, ResolvedRow, Resolver, unknown_rows};
use crate::bench::{AutointerpSettings, DecodingSettings, RowKind, RowSpec, Settings};
use harness_contract::stages::{DocumentPolicy, Positions};

impl Resolver<'_> {
    /// `--rows`, `--model` and `--saes` must name something the bench runs.
    pub(super) fn check_names(&mut self) {
        let request = self.request;
        self.problems
            .extend(unknown_rows(request.spec, request.overrides));
        let overridden_scorer = (request.overrides.settings.scorer.as_deref())
            .filter(|name| ![NO_SCORER, EMBEDDED].contains(name));
        let models: Vec<&str> = request
            .spec
            .models()
            .into_iter()
            .chain(overridden_scorer)
            .collect();
        let sets = request.spec.sae_sets();
        for (option, names, given) in [
            ("--model", models, request.models),
            ("--saes", sets, request.saes),
        ] {
            for name in given.keys().filter(|n| !names.contains(&n.as_str())) {
                let hint = suggest::hint(name, names.iter().copied());
                self.problem(
                    &format!("{option} {name}"),
                    format!("the bench runs no `{name}`"),
                    hint,
                );
            }
        }
    }

    /// Rows of results of a decoding bench name the model and not the SAE set.
    pub(super) fn check_models_once(&mut self, rows: &[ResolvedRow]) {
        let decoding = || rows.iter().filter(|row| row.row.kind == RowKind::Decoding);
        let twice = decoding().enumerate().find_map(|(i, row)| {
            let other = decoding().take(i).find(|other| other.model == row.model)?;
            Some((
                row.row.model.clone(),
                other.row.sae.clone(),
                row.row.sae.clone(),
            ))
        });
        if let Some((model, a, b)) = twice {
            let origin = self.request.spec.origin.clone();
            let message = format!("{model} is followed with two SAE sets, {a} and {b}");
            self.problem(
                &origin,
                message,
                format!("choose one with --rows {model}/{a}"),
            );
        }
    }

    pub(super) fn check_settings(&mut self, row: &RowSpec, model: usize, settings: &Settings) {
        let origin = self.request.spec.origin.clone();
        if let Settings::Steering(set) = settings {
            let pool = self.request.prefixes.len();
            if set.n_prefix as usize > pool {
                let message = format!("`n_prefix` is {} for {}", set.n_prefix, row.sae);
                self.problem(&origin, message, format!("the pool has {pool} prefixes"));
            }
            self.check_positions(row, set.positions.unwrap_or_default(), set.mask_rate);
        }
        if let Settings::Decoding(set) = settings {
            self.check_decoding(row, model, set);
        }
        if let Settings::Autointerp(set) = settings {
            self.check_autointerp(row, set);
        }
        if let Some(grid) = settings.grid() {
            if grid.t_min > grid.t_max {
                let message = format!("`t_min` is {}, above `t_max` {}", grid.t_min, grid.t_max);
                self.problem(&origin, message, "");
            }
            if row.policy != "clean" && !self.models[model].folder.is_diffusion {
                let message = format!(
                    "{} has no masks, and SAE set {} is of policy `{}`",
                    row.model, row.sae, row.policy
                );
                let hint = "config.json of a masked-diffusion model names its mask_token_id";
                self.problem(&origin, message, hint);
            }
        }
    }

    fn check_autointerp(&mut self, row: &RowSpec, set: &AutointerpSettings) {
        let origin = self.request.spec.origin.clone();
        if let Err(error) = set.rules().checked() {
            let hint = "`n_top_shown` and `n_weighted_shown` say how many explain a latent; the others are predicted";
            self.problem(&origin, format!("{error}, of {}", row.sae), hint);
        }
        if set.rules().n_scored() == 0 {
            let message = "no window is left to be predicted".to_owned();
            let hint = "`n_top` above `n_top_shown`, `n_weighted` above `n_weighted_shown`, or `n_random` above 0";
            self.problem(&origin, message, hint);
        }
        if set.context_length <= 2 * set.buffer {
            let message = format!(
                "rows of {} tokens hold no window of {}",
                set.context_length,
                set.rules().width()
            );
            self.problem(&origin, message, "raise `context_length` or lower `buffer`");
        }
        self.check_positions(row, set.positions, set.mask_rate);
        if set.labels().is_some_and(|at| !at.starts_with('/')) {
            let message = "`label_field` does not begin with a slash".to_owned();
            self.problem(
                &origin,
                message,
                "it is a JSON pointer such as /labels/topics",
            );
        }
        if set.labels().is_some() && set.documents == DocumentPolicy::Pack {
            let message = "packed rows hold several documents, and labels are of one".to_owned();
            self.problem(
                &origin,
                message,
                "`documents` of `truncate` puts one into each row; --set label_field=none goes without labels",
            );
        }
    }

    /// Masked positions need masks.
    fn check_positions(&mut self, row: &RowSpec, positions: Positions, mask_rate: Option<f64>) {
        let is_clean = mask_rate.is_none_or(|rate| rate == 0.0);
        if positions == Positions::Policy && row.policy == "mask" && is_clean {
            let origin = self.request.spec.origin.clone();
            let message = format!(
                "{} was trained on masked positions, and clean text has none",
                row.sae
            );
            let hint = "mask text with --mask-rate, or count all positions with --positions all";
            self.problem(&origin, message, hint);
        }
    }

    /// Latents asked for by number must be in every SAE.
    pub(super) fn check_latents(&mut self, row: &RowSpec, settings: &Settings, saes: &[SaeFolder]) {
        let Settings::Autointerp(set) = settings else {
            return;
        };
        let Some(largest) = set.latent.iter().flatten().max() else {
            return;
        };
        let Some(sae) = saes.iter().find(|sae| *largest >= sae.d_sae) else {
            return;
        };
        let message = format!(
            "latent {largest} out of range: SAEs of {} have {} latents, 0 to {}",
            row.sae,
            sae.d_sae,
            sae.d_sae.saturating_sub(1)
        );
        self.problem("--latent", message, "");
    }

    pub(super) fn check_decoding(&mut self, row: &RowSpec, model: usize, set: &DecodingSettings) {
        let origin = self.request.spec.origin.clone();
        if set.k.len() != 1 {
            let message = format!(
                "`k` has {} values: a decoding bench follows one SAE a layer",
                set.k.len()
            );
            self.problem(&origin, message, "choose one with --k");
        }
        if set.orders.is_empty() {
            let hint = "name decoding orders; `harness list plugins` shows those there are";
            self.problem(&origin, "`orders` is empty".to_owned(), hint);
        }
        if set.orders.iter().any(|order| order.is_empty()) {
            let hint = "separate names with one comma: origin,entropy";
            self.problem(&origin, "`orders` holds an empty name".to_owned(), hint);
        }
        if let Some(order) = (set.orders.iter().enumerate())
            .find(|(i, order)| set.orders[..*i].contains(order))
            .map(|(_, order)| order)
        {
            self.problem(&origin, format!("`orders` names `{order}` twice"), "");
        }
        if !self.models[model].folder.is_diffusion {
            let message = format!("{} has no masks, and so no decoding order", row.model);
            let hint = "config.json of a masked-diffusion model names its mask_token_id";
            self.problem(&origin, message, hint);
        }
        if set.dlm_steps < 2 {
            let message = "`dlm_steps` is 1: what changes from step to step needs two".to_owned();
            self.problem(&origin, message, "");
        }
    }
}
