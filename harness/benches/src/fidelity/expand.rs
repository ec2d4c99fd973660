//! The cells of a grid bench: every SAE on every part of the text, and the continuations of prompts
//! that it may be measured on.

use harness_contract::sources::SaeFolder;
use harness_contract::stages::{Corruption, FidelityParams, GridText, RolloutParams, ShardRef};
use harness_core::fidelity::SpliceKind;
use harness_plan::expand::{
    Cost, Expander, GroupKind, Member, NewCell, PlanError, PlannedGroup, ResolvedRow, Texts,
    texts::Written,
};

use super::settings::{DocumentSettings, GridSettings, RolloutSettings};
use super::work::GridWork;

/// A part of the text a row is measured on.
pub struct Part {
    text: GridText,
    /// The rollout cell, where it is rollouts.
    inputs: Vec<String>,
    name: String,
    n_tokens: u64,
    row_tokens: u64,
    row_targets: u64,
}

/// Makes the parts of the text that a row is measured on.
pub type PartsOf =
    fn(&mut Expander<'_>, &ResolvedRow, &GridSettings) -> Result<Vec<Part>, PlanError>;

/// Adds the cells behind the fidelity of one SAE: one for each part of the text.
pub fn expand(
    expander: &mut Expander<'_>,
    row: &ResolvedRow,
    sae: &SaeFolder,
    parts_of: PartsOf,
) -> Result<GridWork, PlanError> {
    let bench = expander.bench;
    let model = &bench.models[row.model];
    let set: GridSettings = row.settings.typed()?;
    let parts = parts_of(expander, row, &set)?;
    let rollout = parts.iter().flat_map(|part| &part.inputs).next().cloned();
    let corruption = model.folder.is_diffusion.then_some(Corruption {
        t_min: set.t_min,
        t_max: set.t_max,
        seed: set.seed,
    });
    let sae_ref = expander.sae_ref(row, sae)?;
    let mut shards = Vec::new();
    for part in parts {
        let params = FidelityParams {
            model: expander.model_ref(row.model),
            sae: sae_ref.clone(),
            text: part.text.clone(),
            corruption: corruption.clone(),
            measures: set.measures,
            numerics: bench.numerics,
        };
        let cell = NewCell {
            place: (0, row.model, 1),
            params,
            inputs: part.inputs.clone(),
            cost: Cost::of_cell(),
        };
        // A splice of zeros is made once for all SAEs of a layer.
        let splices = set
            .measures
            .splices(row.policy()?, model.folder.is_diffusion);
        let of_sae = splices.iter().filter(|s| **s != SpliceKind::Zero).count();
        let member = |key| Member::of(key, sae, of_sae as u64);
        let key =
            expander.add_to_group(cell, member, |expander| group(expander, row, &set, &part))?;
        shards.push(key);
    }
    Ok(GridWork {
        kind: row.row.kind,
        policy: row.policy()?,
        is_diffusion: model.folder.is_diffusion,
        is_shifted: model.folder.is_shifted(),
        dtype: bench.numerics.dtype,
        settings: set,
        shards,
        rollout,
    })
}

/// The shards of a budget. Shards tile the stream, so a larger budget keeps those it has.
pub fn shards(
    expander: &mut Expander<'_>,
    row: &ResolvedRow,
    _: &GridSettings,
) -> Result<Vec<Part>, PlanError> {
    let text: DocumentSettings = row.settings.typed()?;
    let files = expander.files(row)?;
    let starts = (0..text.budget_tokens.div_ceil(text.shard_tokens)).map(|i| i * text.shard_tokens);
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
pub fn rollouts(
    expander: &mut Expander<'_>,
    row: &ResolvedRow,
    set: &GridSettings,
) -> Result<Vec<Part>, PlanError> {
    let text: RolloutSettings = row.settings.typed()?;
    let bench = expander.bench;
    let resolved = &bench.models[row.model];
    let params = RolloutParams {
        model: expander.model_ref(row.model),
        files: expander.files(row)?,
        text_field: text.prompt_field.clone(),
        max_bad_rows: text.max_bad_rows,
        n_prompts: text.n_prompts,
        prompt_tokens: text.prompt_tokens,
        chat: text.chat,
        generation: expander.generation(resolved, &texts_of(&text), set.seed),
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
    let key = expander.add(NewCell {
        place: at,
        params,
        inputs: Vec::new(),
        cost,
    })?;
    let row_targets = u64::from(text.max_new_tokens);
    let row_tokens = u64::from(text.prompt_tokens) + row_targets;
    Ok(vec![Part {
        text: GridText::Rollouts,
        inputs: vec![key],
        name: "rollouts".to_owned(),
        n_tokens: n_prompts * row_tokens,
        row_tokens,
        row_targets,
    }])
}

/// The group of a part of the text: all SAEs of the model.
fn group(
    expander: &mut Expander<'_>,
    row: &ResolvedRow,
    set: &GridSettings,
    part: &Part,
) -> Result<PlannedGroup, PlanError> {
    let bench = expander.bench;
    let folder = &bench.models[row.model].folder;
    let bytes = bench.numerics.dtype.bytes();
    Ok(PlannedGroup {
        kind: GroupKind::Splices,
        what: "fidelity",
        model: bench.models[row.model].name.clone(),
        text: part.name.clone(),
        n_tokens: part.n_tokens,
        row_tokens: part.row_tokens,
        row_targets: part.row_targets,
        batch: bench.limits.batch.unwrap_or(set.batch),
        rates: folder.is_diffusion.then_some((set.t_min, set.t_max)),
        n_logit_sets: set.measures.logits(folder.is_shifted()).len() as u64,
        measures: set.measures,
        shape: folder.shape(bytes),
        weight_bytes: expander.numbers(row.model)? * bytes,
        members: Vec::new(),
    })
}

/// How continuations are generated.
fn texts_of(set: &RolloutSettings) -> Texts<'_> {
    Texts {
        max_new_tokens: set.max_new_tokens,
        temperature: set.temperature,
        top_p: set.top_p,
        dlm_steps: set.dlm_steps,
        order: &set.order,
    }
}
