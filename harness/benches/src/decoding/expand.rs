//! The cells of a decoding-order bench: questions answered in each order, part by part.

use harness_contract::stages::{DecodingParams, QuestionsRef, SaeRef};
use harness_core::task::preset::{Preset, Rendered, Turn};
use harness_plan::{
    expand::{
        Expander, NewCell, PlanError, ResolvedRow, Texts,
        texts::{Written, encoded, tokens_of},
    },
    sources::SaeFolder,
};

use super::settings::DecodingSettings;
use super::work::{DecodingWork, Followed, OrderWork};

/// Tokens of a word problem, about: GSM8K's have some 46 words.
pub(super) const QUESTION_TOKENS: u64 = 60;
/// Tokens that a chat template puts around a turn, about.
const TURN_TOKENS: u64 = 10;

/// Adds the cells of a row: one for each order and part of the questions. All its SAEs share them,
/// since one pass serves every layer.
pub fn expand(
    expander: &mut Expander<'_>,
    row: &ResolvedRow,
    set: &DecodingSettings,
) -> Result<DecodingWork, PlanError> {
    let bench = expander.bench;
    let model = &bench.models[row.model];
    let files = expander.files(row)?;
    let saes = row
        .saes
        .iter()
        .map(|sae| expander.sae_ref(row, sae))
        .collect::<Result<Vec<SaeRef>, _>>()?;
    let mut orders = Vec::new();
    for order in &set.orders {
        let mut parts = Vec::new();
        for first in (0..set.n_questions).step_by(set.shard_questions as usize) {
            let count = set.shard_questions.min(set.n_questions - first);
            let params = DecodingParams {
                model: expander.model_ref(row.model),
                saes: saes.clone(),
                k_set: set.k_set,
                questions: QuestionsRef {
                    files: files.clone(),
                    question_field: set.question_field.clone(),
                    answer_field: set.answer_field.clone(),
                    max_bad_rows: set.max_bad_rows,
                    seed: set.seed,
                    first,
                    count,
                },
                preset: set.preset.clone(),
                prompt_tokens: set.prompt_tokens,
                generation: expander.generation(model, &texts_in(set, order), set.seed),
                until_stop: set.until_stop,
                numerics: bench.numerics,
            };
            let written = Written {
                texts: u64::from(count),
                prompt: question_tokens(&set.preset, u64::from(set.prompt_tokens)),
                new: u64::from(set.max_new_tokens),
                steps: u64::from(set.dlm_steps),
            };
            let mut cost = written.cost(&model.folder);
            let follow = |sae: &SaeFolder| encoded(written.followed(), sae.d_model, sae.d_sae);
            cost.flops += row.saes.iter().map(follow).sum::<f64>();
            parts.push(expander.add(NewCell {
                place: (0, row.model, 0),
                params,
                inputs: Vec::new(),
                cost,
            })?);
        }
        orders.push(OrderWork {
            order: order.clone(),
            parts,
        });
    }
    Ok(DecodingWork {
        settings: set.clone(),
        profile: row.profile,
        saes: (row.saes.iter())
            .map(|sae| Followed {
                id: sae.id.clone(),
                layer: sae.layer,
            })
            .collect(),
        orders,
    })
}

/// How answers are generated in one order.
fn texts_in<'a>(set: &DecodingSettings, order: &'a str) -> Texts<'a> {
    Texts {
        max_new_tokens: set.max_new_tokens,
        temperature: set.temperature,
        top_p: set.top_p,
        dlm_steps: set.dlm_steps,
        order,
    }
}

/// Tokens of a question as a preset puts it, about, and at most what is allowed.
fn question_tokens(preset: &Preset, most: u64) -> u64 {
    let around = match preset.render("") {
        Rendered::Plain(text) => tokens_of(&text) as u64,
        Rendered::Chat(turns) => {
            let tokens = |turn: &Turn| tokens_of(&turn.content) as u64 + TURN_TOKENS;
            // The turn of the answer is begun.
            turns.iter().map(tokens).sum::<u64>() + TURN_TOKENS
        }
    };
    (around + QUESTION_TOKENS).min(most)
}
