use harness_core::record::{AutointerpRow, LabelRow, LatentRow};

use super::columns::optional;
use harness_contract::outputs::ExplanationLine;
use harness_present::csv_text;

pub const AUTOINTERP_COLUMNS: [&str; 20] = [
    "model",
    "sae",
    "sae_id",
    "layer",
    "k",
    "autointerp_score",
    "std_dev",
    "std_err",
    "n_latents",
    "n_dead",
    "n_unparsed",
    "n_refused",
    "n_failed",
    "judge",
    "score_unanswered_counted",
    "n_asked",
    "n_not_asked",
    "random_windows",
    "comparable_with_paper",
    "status",
];

/// Columns of latents.csv; lists are separated by spaces.
pub const LATENT_COLUMNS: [&str; 19] = [
    "model",
    "sae",
    "sae_id",
    "layer",
    "k",
    "latent",
    "chosen",
    "explanation",
    "autointerp_score",
    "n_windows",
    "n_correct",
    "predicted",
    "active",
    "n_active",
    "density",
    "max_act",
    "outcome",
    "error",
    "judge",
];

/// Columns of autointerp_labels.csv.
pub const LABEL_COLUMNS: [&str; 14] = [
    "model",
    "sae",
    "sae_id",
    "layer",
    "k",
    "label",
    "n_documents",
    "latent",
    "precision",
    "recall",
    "f1",
    "explanation",
    "autointerp_score",
    "none_score",
];

pub fn autointerp_csv(rows: &[AutointerpRow]) -> String {
    csv_text(
        &AUTOINTERP_COLUMNS,
        rows.iter().map(|r| {
            vec![
                r.model.clone(),
                r.sae.clone(),
                r.sae_id.clone(),
                r.layer.to_string(),
                optional(r.k),
                optional(r.autointerp_score),
                optional(r.std_dev),
                optional(r.std_err),
                optional(r.n_latents),
                optional(r.n_dead),
                optional(r.n_unparsed),
                optional(r.n_refused),
                optional(r.n_failed),
                r.judge.clone(),
                optional(r.score_unanswered_counted),
                optional(r.n_asked),
                optional(r.n_not_asked),
                r.random_windows.clone(),
                optional(r.comparable_with_paper),
                r.status.to_string(),
            ]
        }),
    )
}

pub fn latents_csv(rows: &[LatentRow]) -> String {
    csv_text(
        &LATENT_COLUMNS,
        rows.iter().map(|r| {
            vec![
                r.model.clone(),
                r.sae.clone(),
                r.sae_id.clone(),
                r.layer.to_string(),
                optional(r.k),
                r.latent.to_string(),
                r.chosen.clone(),
                r.explanation.clone().unwrap_or_default(),
                optional(r.autointerp_score),
                r.n_windows.to_string(),
                optional(r.n_correct),
                r.predicted.as_deref().map(places).unwrap_or_default(),
                places(&r.active),
                r.n_active.to_string(),
                r.density.to_string(),
                r.max_act.to_string(),
                r.outcome.clone(),
                r.error.clone().unwrap_or_default(),
                r.judge.clone(),
            ]
        }),
    )
}

/// autointerp_labels.csv.
pub fn labels_csv(rows: &[LabelRow]) -> String {
    csv_text(
        &LABEL_COLUMNS,
        rows.iter().map(|r| {
            vec![
                r.model.clone(),
                r.sae.clone(),
                r.sae_id.clone(),
                r.layer.to_string(),
                optional(r.k),
                r.label.clone(),
                r.n_documents.to_string(),
                r.latent.to_string(),
                r.precision.to_string(),
                r.recall.to_string(),
                r.f1.to_string(),
                r.explanation.clone().unwrap_or_default(),
                optional(r.autointerp_score),
                optional(r.none_score),
            ]
        }),
    )
}

pub fn explanations_jsonl(lines: &[ExplanationLine]) -> String {
    (lines.iter())
        .map(|line| format!("{}\n", serde_json::json!(line)))
        .collect()
}

fn places(places: &[u32]) -> String {
    let texts: Vec<String> = places.iter().map(ToString::to_string).collect();
    texts.join(" ")
}
