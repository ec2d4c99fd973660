//! SAE sets that a prediction needs and nobody has given: those of the bench's layers and k, as
//! folders without weights and the facts that plugins would state of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use harness_contract::sources::{Checkpoint, Claim, ModelAnswer, ModelFacts, SaeAnswer, SaeFacts};
use harness_core::policy::Policy;
use harness_plan::{
    bench::{BenchSpec, Overrides, Profile, RowSpec, SettingsPatch},
    sources::Answers,
};
use serde_json::json;

use crate::failure::Failure;

/// Adds to `saes` the sets of rows whose model is given and whose set is not, made in `dir`, and to
/// `answers` what their folders are, which no plugin need say. Returns what is assumed of each, for
/// a person.
///
/// # Errors
/// A model's folder that is none, or that its adapter cannot use; a folder that cannot be written.
pub fn sets(
    spec: &BenchSpec,
    overrides: &Overrides,
    models: &BTreeMap<String, PathBuf>,
    saes: &mut BTreeMap<String, PathBuf>,
    (dir, d_sae): (&Path, u32),
    answers: &mut Answers,
) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    let given = saes.clone();
    for row in &spec.rows {
        let Some(model_dir) = models.get(&row.model) else {
            continue;
        };
        let mut chosen = overrides.rows.iter().flatten();
        let is_left_out = overrides.rows.is_some() && !chosen.any(|name| row.is_called(name));
        if is_left_out || given.contains_key(&row.sae) {
            continue;
        }
        let checkpoint = Checkpoint::read(&row.model, model_dir)?;
        // Whoever resolves the bench says which checkpoints no adapter reads.
        let Some(model) = answers.model(checkpoint)? else {
            continue;
        };
        let set_dir = dir.join("saes").join(&row.sae);
        answers.add(set_dir.clone(), SaeAnswer::Nothing);
        for layer in layers(row, overrides, model.n_layers) {
            let layer_dir = set_dir.join(format!("resid_post_layer_{layer}"));
            answers.add(layer_dir.clone(), SaeAnswer::Nothing);
            for (i, k) in ks(spec, row, overrides).into_iter().enumerate() {
                let place = layer_dir.join(format!("trainer_{i}"));
                let facts = SaeFacts {
                    layer,
                    k: Some(k),
                    d_model: model.d_model,
                    d_sae: d_sae.max(k),
                    ..SaeFacts::default()
                };
                // The SAEs of different sets are different ones.
                let config = json!({"facts": facts, "set": row.sae});
                let write = || {
                    fs::create_dir_all(&place)?;
                    fs::write(place.join("cfg.json"), config.to_string())
                };
                write().map_err(|error| Failure::cannot_write(&place, &error))?;
                let claims = vec![Claim {
                    plugin: String::new(),
                    components: Vec::new(),
                    facts,
                }];
                answers.add(place, SaeAnswer::Sae { claims });
            }
        }
        if saes.insert(row.sae.clone(), set_dir).is_none() {
            notes.push(format!(
                "SAE set {}: not given, taken to have {d_sae} latents at the bench's layers and k (--saes {}=DIR, or --d-sae)",
                row.sae, row.sae
            ));
        }
    }
    Ok(notes)
}

/// What is assumed of the embedded models where no plugin can be asked: that they are smaller than
/// the paper's.
pub fn embedded_models(spec: &BenchSpec, models: &BTreeMap<String, PathBuf>) -> Answers {
    let mut answers = Answers::default();
    for (name, dir) in models {
        let rows = || spec.rows.iter().filter(|row| row.model == *name);
        let deepest = rows().flat_map(|row| row.real_layers.clone()).max();
        let facts = ModelFacts {
            is_diffusion: rows().any(|row| row.policy != Some(Policy::Clean)),
            n_layers: deepest.unwrap_or(1).max(1),
            d_model: 1,
            ..ModelFacts::default()
        };
        answers.add(dir.clone(), ModelAnswer::Model { facts });
    }
    answers
}

/// Layers that a bench may run a row at.
fn layers(row: &RowSpec, overrides: &Overrides, n_layers: u32) -> BTreeSet<u32> {
    let of_bench = [Profile::Zoo, Profile::Real].map(|profile| row.layers(profile));
    let all = of_bench.into_iter().flatten();
    let asked = overrides.layers.iter().flatten();
    all.chain(asked)
        .copied()
        .filter(|layer| *layer < n_layers)
        .collect()
}

/// Active budgets that a bench may run a row with.
fn ks(spec: &BenchSpec, row: &RowSpec, overrides: &Overrides) -> BTreeSet<u32> {
    let variants = spec.variants.iter().map(|variant| &variant.settings);
    let levels = [
        &spec.settings,
        &spec.zoo,
        &spec.real,
        &row.settings,
        &overrides.settings,
    ];
    let of = |patch: &SettingsPatch| patch.get::<Vec<u32>>("k").unwrap_or_default();
    levels.into_iter().chain(variants).flat_map(of).collect()
}
