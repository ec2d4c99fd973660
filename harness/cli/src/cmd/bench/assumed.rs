//! SAE sets that a prediction needs and nobody has given: those of the bench's layers and k, as
//! configurations without weights.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use harness_contract::sources::ModelFolder;
use harness_plan::bench::{BenchSpec, Overrides, Profile, RowSpec, SettingsPatch};
use serde_json::json;

use crate::failure::Failure;

/// Adds to `saes` the sets of rows whose model is given and whose set is not, made in `dir`; what
/// is assumed of each, for a person.
///
/// # Errors
/// A model's folder that is none; a folder that cannot be written.
pub fn sets(
    spec: &BenchSpec,
    overrides: &Overrides,
    models: &BTreeMap<String, PathBuf>,
    saes: &mut BTreeMap<String, PathBuf>,
    (dir, d_sae): (&Path, u32),
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
        let model = ModelFolder::read(&row.model, model_dir)?;
        let set_dir = dir.join("saes").join(&row.sae);
        for layer in layers(row, overrides, model.n_layers) {
            for (i, k) in ks(spec, row, overrides).into_iter().enumerate() {
                let place = set_dir.join(format!("resid_post_layer_{layer}/trainer_{i}"));
                let config = json!({
                    "d_in": model.d_model, "d_sae": d_sae.max(k), "k": k, "hook_layer": layer, "set": row.sae,
                });
                let write = || {
                    fs::create_dir_all(&place)?;
                    fs::write(place.join("cfg.json"), config.to_string())
                };
                write().map_err(|error| Failure::cannot_write(&place, &error))?;
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
