use harness_contract::sources::SaeFolder;

use super::{
    AutointerpWork, Cost, PlanError, ResolvedRow, RowWork,
    expander::Expander,
    pass::{PassText, masks},
};
use crate::bench::AutointerpSettings;
use harness_contract::{
    cell::Cell,
    stages::{
        EXPLAIN_MAX_TOKENS, ExplainParams, JudgeRef, LatentChoice, ModelRef, PREDICT_MAX_TOKENS,
        PredictParams, ShardRef, Stage, WindowsParams,
    },
};

/// Tokens of the instructions of a question about a latent, about.
const INSTRUCTION_TOKENS: u64 = 200;
/// Tokens of a window in a question for each of its tokens: marks and other tokenizers make some
/// more.
const TOKENS_A_TOKEN: f64 = 1.4;

impl Expander<'_> {
    /// The cells behind the score of one SAE's explanations.
    pub(super) fn autointerp(
        &mut self,
        row: &ResolvedRow,
        set: &AutointerpSettings,
        sae: &SaeFolder,
        models: &[ModelRef],
    ) -> Result<RowWork, PlanError> {
        let bench = self.bench;
        let model = &bench.models[row.model];
        let sae_ref = self.sae_ref(row, sae)?;
        let rules = set.rules();
        let params = WindowsParams {
            model: models[row.model].clone(),
            sae: sae_ref,
            text: ShardRef {
                files: self.files(row)?,
                text_field: set.text_field.clone(),
                documents: set.documents,
                context_length: set.context_length,
                first_token: 0,
                tokens: set.budget_tokens,
                allow_short: set.allow_short,
                max_bad_rows: set.max_bad_rows,
            },
            masks: masks(model, set.mask_rate, set.seed),
            positions: set.positions,
            latents: match &set.latent {
                Some(latents) => LatentChoice::Listed {
                    latents: ascending(latents),
                },
                None => LatentChoice::Sample { n: set.n_latents },
            },
            dead_threshold: set.dead_threshold,
            rules,
            n_logits: set.n_logits,
            label_field: set.labels().map(str::to_owned),
            seed: set.seed,
            numerics: bench.numerics,
        };
        let one = Cost {
            cells: 1,
            ..Cost::default()
        };
        let windows = self.add(Stage::Windows, (0, row.model, 0), &params, Vec::new(), one)?;
        if !self.group_of.contains_key(&windows) {
            let cell = Cell::new(Stage::Windows, &params, Vec::new())?;
            let text = PassText {
                tokens: set.budget_tokens,
                row_tokens: set.context_length,
                batch: set.batch,
            };
            self.join_pass(cell, row, text, sae);
        }

        let judge = JudgeRef {
            component: self.components.get("judge", &set.judge),
            model: set.judge_model.clone(),
        };
        let n_asked = match &set.latent {
            Some(latents) => latents.len() as u64,
            None => u64::from(set.n_latents.min(sae.d_sae)),
        };
        let asked = |n_windows: u32, most_tokens: u32| {
            let shown = f64::from(n_windows) * rules.width() as f64 * TOKENS_A_TOKEN;
            Cost {
                judge_calls: n_asked,
                judge_tokens_in: n_asked * (INSTRUCTION_TOKENS + shown.ceil() as u64),
                judge_tokens_out: n_asked * u64::from(most_tokens),
                ..one
            }
        };
        let explain = self.add(
            Stage::Explain,
            (2, 0, 0),
            &ExplainParams::Asked {
                judge: judge.clone(),
            },
            vec![windows.clone()],
            asked(set.n_top_shown + set.n_weighted_shown, EXPLAIN_MAX_TOKENS),
        )?;
        let predict = self.add(
            Stage::Predict,
            (3, 0, 0),
            &PredictParams { judge },
            vec![windows.clone(), explain.clone()],
            asked(rules.n_scored(), PREDICT_MAX_TOKENS),
        )?;
        Ok(RowWork::Autointerp(Box::new(AutointerpWork {
            settings: set.clone(),
            windows,
            explain,
            predict,
        })))
    }
}

fn ascending(latents: &[u32]) -> Vec<u32> {
    let mut latents = latents.to_vec();
    latents.sort_unstable();
    latents
}
