use harness_contract::sources::SaeFolder;

use super::{
    Cost, GridWork, GroupKind, Member, PlanError, PlannedGroup, ResolvedModel, ResolvedRow,
    RowWork, expander::Expander, texts::Written,
};
use crate::{
    bench::{DocumentSettings, GridSettings, RolloutSettings, Settings},
    inspect::InspectedModel,
};
use harness_contract::{
    cell::Cell,
    stages::{Corruption, FidelityParams, GridText, ModelRef, RolloutParams, ShardRef, Stage},
};

/// A part of the text a row is measured on.
struct Part {
    text: GridText,
    /// The rollout cell, where it is rollouts.
    inputs: Vec<String>,
    name: String,
    n_tokens: u64,
    row_tokens: u64,
    row_targets: u64,
}

impl Expander<'_> {
    /// The cells behind the fidelity of one SAE: one for each part of the text.
    pub(super) fn grid(
        &mut self,
        row: &ResolvedRow,
        sae: &SaeFolder,
        models: &[ModelRef],
    ) -> Result<RowWork, PlanError> {
        let bench = self.bench;
        let model = &bench.models[row.model];
        let (set, parts) = match &row.settings {
            Settings::Documents { grid, text } => (grid, self.shards(row, text)?),
            Settings::Rollouts { grid, text } => (
                grid,
                vec![self.rollouts(row, grid, text, &models[row.model])?],
            ),
            Settings::Steering(_) | Settings::Decoding(_) | Settings::Autointerp(_) => {
                let reason = format!("{} is no row of a grid bench", row.row.sae);
                return Err(PlanError::Nothing { reason });
            }
        };
        let rollout = parts.iter().flat_map(|part| &part.inputs).next().cloned();
        let corruption = model.folder.is_diffusion.then_some(Corruption {
            t_min: set.t_min,
            t_max: set.t_max,
            seed: set.seed,
        });
        let sae_ref = self.sae_ref(row, sae)?;
        let mut shards = Vec::new();
        for part in parts {
            let params = FidelityParams {
                model: models[row.model].clone(),
                sae: sae_ref.clone(),
                text: part.text.clone(),
                corruption: corruption.clone(),
                measures: set.measures,
                numerics: bench.numerics,
            };
            let cost = Cost {
                cells: 1,
                ..Cost::default()
            };
            let at = (0, row.model, 1);
            let key = self.add(Stage::Fidelity, at, &params, part.inputs.clone(), cost)?;
            if !self.group_of.contains_key(&key) {
                // The key of a group is that of any of its cells without the SAE.
                let cell = Cell::new(Stage::Fidelity, &params, part.inputs.clone())?;
                self.join(cell, row, set, sae, &part)?;
            }
            shards.push(key);
        }
        Ok(RowWork::Grid(Box::new(GridWork {
            kind: row.row.kind,
            policy: row.row.policy.clone(),
            is_diffusion: model.folder.is_diffusion,
            has_paper_code: set.measures.paper_code && model.folder.is_shifted(),
            dtype: bench.numerics.dtype,
            settings: set.clone(),
            shards,
            rollout,
        })))
    }

    /// The shards of a budget. Shards tile the stream, so a larger budget keeps those it has.
    fn shards(
        &mut self,
        row: &ResolvedRow,
        text: &DocumentSettings,
    ) -> Result<Vec<Part>, PlanError> {
        let files = self.files(row)?;
        let starts =
            (0..text.budget_tokens.div_ceil(text.shard_tokens)).map(|i| i * text.shard_tokens);
        let row_tokens = u64::from(text.context_length);
        Ok(starts
            .map(|first_token| {
                let tokens = text.shard_tokens.min(text.budget_tokens - first_token);
                Part {
                    text: GridText::Files(ShardRef {
                        files: files.clone(),
                        text_field: text.text_field.clone(),
                        documents: text.documents,
                        context_length: text.context_length,
                        first_token,
                        tokens,
                        allow_short: text.allow_short,
                        max_bad_rows: text.max_bad_rows,
                    }),
                    inputs: Vec::new(),
                    name: format!("tokens {first_token} to {}", first_token + tokens),
                    n_tokens: tokens,
                    row_tokens,
                    row_targets: row_tokens,
                }
            })
            .collect())
    }

    /// The continuations a row is measured on, and the cell that writes them.
    fn rollouts(
        &mut self,
        row: &ResolvedRow,
        set: &GridSettings,
        text: &RolloutSettings,
        model: &ModelRef,
    ) -> Result<Part, PlanError> {
        let bench = self.bench;
        let resolved = &bench.models[row.model];
        let params = RolloutParams {
            model: model.clone(),
            files: self.files(row)?,
            text_field: text.prompt_field.clone(),
            max_bad_rows: text.max_bad_rows,
            n_prompts: text.n_prompts,
            prompt_tokens: text.prompt_tokens,
            chat: text.chat,
            generation: self.generation(resolved, text.into(), set.seed),
            numerics: bench.numerics,
        };
        let n_prompts = u64::from(text.n_prompts);
        // Prompts are at most so long: how long they are is not known before they are read.
        let written = Written {
            texts: n_prompts,
            prompt: u64::from(text.prompt_tokens),
            new: u64::from(text.max_new_tokens),
            steps: u64::from(text.dlm_steps),
        };
        let cost = written.cost(&resolved.folder);
        let at = (0, row.model, 0);
        let key = self.add(Stage::Rollout, at, &params, Vec::new(), cost)?;
        let row_targets = u64::from(text.max_new_tokens);
        let row_tokens = u64::from(text.prompt_tokens) + row_targets;
        Ok(Part {
            text: GridText::Rollouts,
            inputs: vec![key],
            name: "rollouts".to_owned(),
            n_tokens: n_prompts * row_tokens,
            row_tokens,
            row_targets,
        })
    }

    /// Put a cell into its group, which comes into being with its first.
    fn join(
        &mut self,
        cell: Cell,
        row: &ResolvedRow,
        set: &GridSettings,
        sae: &SaeFolder,
        part: &Part,
    ) -> Result<(), PlanError> {
        let bench = self.bench;
        let model = &bench.models[row.model];
        let is_diffusion = model.folder.is_diffusion;
        let name = cell.group().unwrap_or_else(|| cell.key.clone());
        let index = match self.group_names.get(&name) {
            Some(index) => *index,
            None => {
                let bytes = bench.numerics.dtype.bytes();
                let group = PlannedGroup {
                    kind: GroupKind::Splices,
                    model: model.name.clone(),
                    text: part.name.clone(),
                    n_tokens: part.n_tokens,
                    row_tokens: part.row_tokens,
                    row_targets: part.row_targets,
                    batch: bench.limits.batch.unwrap_or(set.batch),
                    rates: is_diffusion.then_some((set.t_min, set.t_max)),
                    n_logit_sets: 1 + u64::from(
                        set.measures.paper_code && model.folder.is_shifted(),
                    ),
                    measures: set.measures,
                    shape: model.folder.shape(bytes),
                    weight_bytes: self.numbers(row.model, model)? * bytes,
                    members: Vec::new(),
                };
                self.groups.push(group);
                self.group_names.insert(name, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        // Every token is the policy's for an SAE of clean text.
        let has_policy_splice =
            set.measures.policy_splice && is_diffusion && row.row.policy != "clean";
        self.groups[index].members.push(Member {
            key: cell.key.clone(),
            layer: sae.layer,
            most_active: sae.k.unwrap_or(sae.d_sae),
            d_sae: sae.d_sae,
            n_splices: 1 + u64::from(has_policy_splice),
        });
        self.group_of.insert(cell.key, index);
        Ok(())
    }

    /// Numbers in the weights of a model.
    fn numbers(&mut self, index: usize, model: &ResolvedModel) -> Result<u64, PlanError> {
        if let Some(numbers) = self.numbers.get(&index) {
            return Ok(*numbers);
        }
        let numbers = InspectedModel::of(&model.folder)?.parameters;
        self.numbers.insert(index, numbers);
        Ok(numbers)
    }
}
