//! The cells of an auto-interpretation bench: windows of latents, explanations, predictions.

use harness_contract::stages::{
    EXPLAIN_MAX_TOKENS, ExplainParams, JudgeRef, LatentChoice, PREDICT_MAX_TOKENS, PredictParams,
    ShardRef, WindowsParams,
};
use harness_plan::{
    expand::{
        Cost, Expander, Member, NewCell, PlanError, ResolvedRow,
        pass::{PassText, masks},
    },
    sources::SaeFolder,
};

use super::settings::AutointerpSettings;
use super::work::AutointerpWork;

/// Tokens of the instructions of a question about a latent, about.
const INSTRUCTION_TOKENS: u64 = 200;
/// Tokens of a window in a question for each of its tokens: marks and other tokenizers make some
/// more.
const TOKENS_A_TOKEN: f64 = 1.4;

/// Adds the cells behind the score of one SAE's explanations.
pub fn expand(
    expander: &mut Expander<'_>,
    row: &ResolvedRow,
    set: &AutointerpSettings,
    sae: &SaeFolder,
) -> Result<AutointerpWork, PlanError> {
    let bench = expander.bench;
    let model = &bench.models[row.model];
    let sae_ref = expander.sae_ref(row, sae)?;
    let rules = set.rules();
    let params = WindowsParams {
        model: expander.model_ref(row.model),
        sae: sae_ref,
        text: ShardRef {
            files: expander.files(row)?,
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
    let text = PassText {
        tokens: set.budget_tokens,
        row_tokens: set.context_length,
        batch: set.batch,
    };
    let windows = NewCell {
        place: (0, row.model, 0),
        params,
        inputs: Vec::new(),
        cost: Cost::of_cell(),
    };
    let member = |key| Member::of(key, sae, 0);
    let windows = expander.add_to_group(windows, member, |expander| {
        Ok(text.group(expander.bench, row))
    })?;

    let judge = JudgeRef {
        component: expander.component("judge", &set.judge),
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
            ..Cost::of_cell()
        }
    };
    let explain = expander.add(NewCell {
        place: (2, 0, 0),
        params: ExplainParams::Asked {
            judge: judge.clone(),
        },
        inputs: vec![windows.clone()],
        cost: asked(set.n_top_shown + set.n_weighted_shown, EXPLAIN_MAX_TOKENS),
    })?;
    let predict = expander.add(NewCell {
        place: (3, 0, 0),
        params: PredictParams { judge },
        inputs: vec![windows.clone(), explain.clone()],
        cost: asked(rules.n_scored(), PREDICT_MAX_TOKENS),
    })?;
    Ok(AutointerpWork {
        settings: set.clone(),
        windows,
        explain,
        predict,
    })
}

fn ascending(latents: &[u32]) -> Vec<u32> {
    let mut latents = latents.to_vec();
    latents.sort_unstable();
    latents
}
