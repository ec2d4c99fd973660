use harness_contract::sources::SaeFolder;

use super::{
    DecodingWork, Followed, OrderWork, PlanError, ResolvedRow, RowWork,
    expander::{Expander, TextsOf},
    texts::{Written, encoded, question_tokens},
};
use crate::bench::DecodingSettings;
use harness_contract::stages::{DecodingParams, ModelRef, QuestionsRef, SaeRef, Stage};

impl Expander<'_> {
    /// The cells of a row: one for each order and part of the questions. All its SAEs share them,
    /// since one pass serves every layer.
    pub(super) fn decoding(
        &mut self,
        row: &ResolvedRow,
        set: &DecodingSettings,
        models: &[ModelRef],
    ) -> Result<RowWork, PlanError> {
        let bench = self.bench;
        let model = &bench.models[row.model];
        let files = self.files(row)?;
        let saes = row
            .saes
            .iter()
            .map(|sae| self.sae_ref(row, sae))
            .collect::<Result<Vec<SaeRef>, _>>()?;
        let mut orders = Vec::new();
        for order in &set.orders {
            let mut parts = Vec::new();
            for first in (0..set.n_questions).step_by(set.shard_questions as usize) {
                let count = set.shard_questions.min(set.n_questions - first);
                let params = DecodingParams {
                    model: models[row.model].clone(),
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
                    generation: self.generation(model, TextsOf::in_order(set, order), set.seed),
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
                parts.push(self.add(
                    Stage::Decoding,
                    (0, row.model, 0),
                    &params,
                    Vec::new(),
                    cost,
                )?);
            }
            orders.push(OrderWork {
                order: order.clone(),
                parts,
            });
        }
        Ok(RowWork::Decoding(Box::new(DecodingWork {
            settings: set.clone(),
            profile: row.profile,
            saes: (row.saes.iter())
                .map(|sae| Followed {
                    id: sae.id.clone(),
                    layer: sae.layer,
                })
                .collect(),
            orders,
        })))
    }
}
