//! Inspected sets and checkpoints as aligned text, CSV and JSON.

use harness_core::{record::shown_k, twins::Twins};
use serde_json::Value;

use super::tables::{size, thousands};
use harness_plan::inspect::{
    Inspected, InspectedModel, InspectedSae, InspectedSet, ParameterSource,
};
use harness_present::csv_text;

/// Columns of `harness inspect --format csv` for sets: one row for each SAE.
pub const SAE_COLUMNS: [&str; 25] = [
    "set",
    "sae_id",
    "layer",
    "k",
    "d_model",
    "d_sae",
    "architecture",
    "format",
    "policy",
    "model",
    "tokens",
    "epochs",
    "batch",
    "context_length",
    "mask_rate_min",
    "mask_rate_max",
    "seed",
    "steps",
    "ev",
    "loss",
    "l0",
    "n_dead",
    "bytes",
    "seconds",
    "path",
];

/// Columns of `harness inspect --format csv` for a checkpoint.
pub const MODEL_COLUMNS: [&str; 12] = [
    "model",
    "family",
    "objective",
    "n_layers",
    "d_model",
    "d_ff",
    "vocab_size",
    "parameters",
    "parameters_from",
    "weight_bytes",
    "bytes",
    "path",
];

/// Everything as CSV, a row for each SAE or one for a checkpoint; what is not known is empty.
pub fn csv(found: &Inspected) -> String {
    match found {
        Inspected::Saes { sets } => {
            let rows = sets
                .iter()
                .flat_map(|set| set.saes.iter().map(|sae| sae_fields(set, sae)));
            csv_text(&SAE_COLUMNS, rows)
        }
        Inspected::Model(model) => csv_text(&MODEL_COLUMNS, [model_fields(model)].into_iter()),
    }
}

/// Everything as JSON, with the record of time of each set.
///
/// # Errors
/// When a path is no UTF-8.
pub fn json(found: &Inspected) -> Result<Value, serde_json::Error> {
    serde_json::to_value(found)
}

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |v| v.to_string())
}

fn sae_fields(set: &InspectedSet, sae: &InspectedSae) -> Vec<String> {
    vec![
        set.name.clone(),
        sae.sae_id.clone(),
        sae.layer.to_string(),
        shown(sae.k),
        sae.d_model.to_string(),
        sae.d_sae.to_string(),
        shown(sae.architecture.as_ref()),
        shown(sae.format.as_ref()),
        shown(sae.policy.as_ref()),
        shown(sae.model.as_ref()),
        shown(sae.training.tokens),
        shown(sae.training.epochs),
        shown(sae.training.batch),
        shown(sae.training.context_length),
        shown(sae.training.mask_rate.map(|rates| rates[0])),
        shown(sae.training.mask_rate.map(|rates| rates[1])),
        shown(sae.training.seed),
        shown(sae.training.steps),
        shown(sae.training.ev),
        shown(sae.training.loss),
        shown(sae.training.l0),
        shown(sae.training.n_dead),
        sae.bytes.to_string(),
        shown(sae.seconds),
        sae.dir.display().to_string(),
    ]
}

fn model_fields(model: &InspectedModel) -> Vec<String> {
    let from = match model.parameters_from {
        ParameterSource::Weights => "weights",
        ParameterSource::Configuration => "configuration",
    };
    vec![
        model.name.clone(),
        model.family.clone(),
        model.objective.clone(),
        model.n_layers.to_string(),
        model.d_model.to_string(),
        model.d_ff.to_string(),
        model.vocab_size.to_string(),
        model.parameters.to_string(),
        from.to_owned(),
        model.weight_bytes.to_string(),
        model.bytes.to_string(),
        model.dir.display().to_string(),
    ]
}

/// A set's heading: what all of its SAEs have in common, with `-` for what no file says.
pub fn heading(set: &InspectedSet) -> Vec<(&'static str, String)> {
    let dash = || "-".to_owned();
    let text = |of: fn(&InspectedSae) -> Option<String>| set.common(of).unwrap_or_else(dash);
    let count =
        |of: fn(&InspectedSae) -> Option<u64>| set.common(of).map_or_else(dash, |n| n.to_string());
    let rates = set.common(|sae| sae.training.mask_rate);
    let mut lines = vec![
        ("SAEs", set.saes.len().to_string()),
        ("architecture", text(|sae| sae.architecture.clone())),
        ("format", text(|sae| sae.format.clone())),
        ("model", text(|sae| sae.model.clone())),
        ("policy", text(|sae| sae.policy.clone())),
        ("site", text(|sae| sae.site.clone())),
        ("tokens", count(|sae| sae.training.tokens)),
        ("batch", count(|sae| sae.training.batch)),
        ("context length", count(|sae| sae.training.context_length)),
        (
            "mask rate",
            rates.map_or_else(dash, |[a, b]| format!("{a} to {b}")),
        ),
        ("seed", count(|sae| sae.training.seed)),
        (
            "bytes",
            size(set.saes.iter().map(|sae| sae.bytes as f64).sum()),
        ),
    ];
    if let Some(epochs) = set.common(|sae| sae.training.epochs) {
        lines.push(("epochs", epochs.to_string()));
    }
    if let Some(r) = &set.runtime {
        let own: f64 = r.saes.iter().map(|sae| sae.seconds).sum();
        lines.push((
            "time",
            format!(
                "{:.1} s of model passes, {:.1} s of rows, {own:.1} s of steps on {} with {} threads, gone on with {} times",
                r.model_seconds, r.buffer_seconds, r.device, r.threads, r.resumed
            ),
        ));
    }
    lines
}

/// The SAEs of a set as rows of text under a header.
pub fn rows(set: &InspectedSet) -> Vec<Vec<String>> {
    let header = [
        "layer", "k", "d_model", "d_sae", "tokens", "EV", "loss", "L0", "dead", "bytes", "s",
    ];
    let mut header = header.map(str::to_owned).to_vec();
    let place = |sae: &InspectedSae| (sae.layer, sae.k);
    let twins = Twins::among(set.saes.iter().map(|sae| (place(sae), &*sae.sae_id)));
    if !twins.is_empty() {
        header.push("SAE".to_owned());
    }
    let mut rows = vec![header];
    let decimals = |x: Option<f64>, digits: usize| {
        x.map_or_else(|| "-".to_owned(), |x| format!("{x:.digits$}"))
    };
    for sae in &set.saes {
        let mut row = vec![
            sae.layer.to_string(),
            shown_k(sae.k),
            sae.d_model.to_string(),
            sae.d_sae.to_string(),
            sae.training
                .tokens
                .map_or_else(|| "-".to_owned(), |n| thousands(n as f64)),
            decimals(sae.training.ev, 4),
            decimals(sae.training.loss, 4),
            decimals(sae.training.l0, 2),
            sae.training
                .n_dead
                .map_or_else(|| "-".to_owned(), |n| n.to_string()),
            size(sae.bytes as f64),
            decimals(sae.seconds, 1),
        ];
        if !twins.is_empty() {
            let twin = twins.name(&place(sae), &sae.sae_id);
            row.push(twin.unwrap_or_default().to_owned());
        }
        rows.push(row);
    }
    rows
}

/// A checkpoint's lines.
pub fn model_lines(model: &InspectedModel) -> Vec<(&'static str, String)> {
    let remark = match model.parameters_from {
        ParameterSource::Weights => "",
        ParameterSource::Configuration => ", estimated from its configuration",
    };
    let mut lines = vec![
        ("family", model.family.clone()),
        ("objective", model.objective.clone()),
        ("blocks", model.n_layers.to_string()),
        ("d_model", model.d_model.to_string()),
        ("d_ff", model.d_ff.to_string()),
        ("vocabulary", model.vocab_size.to_string()),
        (
            "parameters",
            format!("{}{remark}", thousands(model.parameters as f64)),
        ),
        ("weights", size(model.weight_bytes as f64)),
        ("bytes", size(model.bytes as f64)),
    ];
    lines.extend((model.warnings.iter()).map(|warning| ("warning", warning.clone())));
    lines
}
