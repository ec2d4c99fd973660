//! Rows of the autointerp bench and the columns of its files. What a field means is
//! said by its column.

use harness_contract::outputs::ExplanationLine;
use harness_core::{record::Status, sae_id::SaeId, stats::Estimate};
use harness_present::{Column, optional};

use crate::columns::{OfSae, STATUS, of_sae};

/// One SAE: a row of autointerp.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct AutointerpRow {
    pub model: String,
    pub sae: SaeId,
    pub score: Estimate,
    pub std_dev: Option<f64>,
    pub n_dead: Option<u64>,
    pub n_unparsed: Option<u64>,
    pub n_refused: Option<u64>,
    pub n_failed: Option<u64>,
    pub judge: String,
    pub score_unanswered_counted: Option<f64>,
    pub n_asked: Option<u64>,
    pub n_not_asked: Option<u64>,
    pub random_windows: String,
    /// Whether the judge may be compared with the paper's; `None` when nothing was asked.
    pub comparable_with_paper: Option<bool>,
    pub status: Status,
}

/// One latent: a row of latents.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentRow {
    pub model: String,
    pub sae: SaeId,
    pub latent: u32,
    pub chosen: String,
    pub explanation: Option<String>,
    pub autointerp_score: Option<f64>,
    pub n_windows: u64,
    pub n_correct: Option<u64>,
    pub predicted: Option<Vec<u32>>,
    pub active: Vec<u32>,
    pub n_active: u64,
    pub density: f64,
    pub max_act: f64,
    pub outcome: String,
    pub error: Option<String>,
    pub judge: String,
}

/// The latent of an SAE that goes best with a label of the text: a row of autointerp_labels.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelRow {
    pub model: String,
    pub sae: SaeId,
    pub label: String,
    pub n_documents: u64,
    pub latent: u32,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub explanation: Option<String>,
    pub autointerp_score: Option<f64>,
    pub none_score: Option<f64>,
}

impl OfSae for AutointerpRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

impl OfSae for LatentRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

impl OfSae for LabelRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

/// Columns of autointerp.csv.
pub fn autointerp_columns() -> Vec<Column<AutointerpRow>> {
    let mut columns = of_sae().to_vec();
    columns.extend([
        Column::value(
            "autointerp_score",
            "share",
            "mean over latents of the share of windows predicted rightly; of the latents with a \
             usable prediction",
            |r: &AutointerpRow| optional(r.score.value),
        ),
        Column::value(
            "std_dev",
            "share",
            "standard deviation of that share over latents (n − 1)",
            |r| optional(r.std_dev),
        ),
        Column::value(
            "std_err",
            "share",
            "standard error of the mean, by bootstrap over latents",
            |r| optional(r.score.std_err),
        ),
        Column::value("n_latents", "count", "latents with a score", |r| {
            optional(r.score.n)
        }),
        Column::value(
            "n_dead",
            "count",
            "latents of the whole SAE that fired at fewer than `dead_threshold` positions",
            |r| optional(r.n_dead),
        ),
        Column::value(
            "n_unparsed",
            "count",
            "asked latents without a score because an answer, of the explanation or of the \
             prediction, is not what was asked for",
            |r| optional(r.n_unparsed),
        ),
        Column::value(
            "n_refused",
            "count",
            "asked latents without a score because the judge's model declined",
            |r| optional(r.n_refused),
        ),
        Column::value(
            "n_failed",
            "count",
            "asked latents without a score because a question failed in another way, what is asked \
             again included; `latents.csv` has its kind",
            |r| optional(r.n_failed),
        ),
        Column::value("judge", "", "identity of the judge", |r| r.judge.clone()),
        Column::value(
            "score_unanswered_counted",
            "share",
            "the mean over the asked latents, those without a usable answer counted as 0; those that \
             are asked again count in neither",
            |r| optional(r.score_unanswered_counted),
        ),
        Column::value(
            "n_asked",
            "count",
            "latents the judge was asked about: `n_latents + n_unparsed + n_refused + n_failed`",
            |r| optional(r.n_asked),
        ),
        Column::value(
            "n_not_asked",
            "count",
            "chosen latents (`--latent`) that are dead or have too few windows",
            |r| optional(r.n_not_asked),
        ),
        Column::key(
            "random_windows",
            "`checked`: windows at random positions count as what they are; `paper_code`: as \
             inactive, whatever they are",
            |r| r.random_windows.clone(),
        ),
        Column::value(
            "comparable_with_paper",
            "",
            "`false` for every judge that is not the paper's",
            |r| optional(r.comparable_with_paper),
        ),
        Column::value("status", "", STATUS, |r| r.status.to_string()),
    ]);
    columns
}

/// Columns of latents.csv.
pub fn latent_columns() -> Vec<Column<LatentRow>> {
    let mut columns = of_sae().to_vec();
    columns.extend([
        Column::key("latent", "its index", |r: &LatentRow| r.latent.to_string()),
        Column::value(
            "chosen",
            "",
            "`sample`, `list` (`--latent`), or `label`: it goes best with a label of the text",
            |r| r.chosen.clone(),
        ),
        Column::value("explanation", "", "the judge's words", |r| {
            optional(r.explanation.as_ref())
        }),
        Column::value(
            "autointerp_score",
            "share",
            "windows predicted rightly, of those predicted",
            |r| optional(r.autointerp_score),
        ),
        Column::value(
            "n_windows",
            "count",
            "windows that were to be predicted",
            |r| r.n_windows.to_string(),
        ),
        Column::value("n_correct", "count", "of them, predicted rightly", |r| {
            optional(r.n_correct)
        }),
        Column::value(
            "predicted",
            "",
            "places of the windows predicted to be active, from 0, separated by spaces",
            |r| r.predicted.as_deref().map(places).unwrap_or_default(),
        ),
        Column::value(
            "active",
            "",
            "places of the windows that count as active, likewise",
            |r| places(&r.active),
        ),
        Column::value(
            "n_active",
            "count",
            "positions on which it is active",
            |r| r.n_active.to_string(),
        ),
        Column::value(
            "density",
            "share",
            "their share of the positions that counted",
            |r| r.density.to_string(),
        ),
        Column::value("max_act", "", "largest activation", |r| {
            r.max_act.to_string()
        }),
        Column::value(
            "outcome",
            "",
            "`scored`, `dead`, `few_windows`, a kind of \"Questions without an answer\", or \
             `missing` while nobody has asked",
            |r| r.outcome.clone(),
        ),
        Column::value("error", "", "why it has no score", |r| {
            optional(r.error.as_ref())
        }),
        Column::value("judge", "", "identity of the judge", |r| r.judge.clone()),
    ]);
    columns
}

/// Columns of autointerp_labels.csv.
pub fn label_columns() -> Vec<Column<LabelRow>> {
    let mut columns = of_sae().to_vec();
    columns.extend([
        Column::key("label", "a label of the text", |r: &LabelRow| {
            r.label.clone()
        }),
        Column::value(
            "n_documents",
            "count",
            "documents that have the label",
            |r| r.n_documents.to_string(),
        ),
        Column::key(
            "latent",
            "the latent with the largest F1 of \"fires in the document\" as a test for the label",
            |r| r.latent.to_string(),
        ),
        Column::value(
            "precision",
            "share",
            "documents with the label, of those it fires in",
            |r| r.precision.to_string(),
        ),
        Column::value(
            "recall",
            "share",
            "documents it fires in, of those with the label",
            |r| r.recall.to_string(),
        ),
        Column::value("f1", "share", "harmonic mean of both", |r| r.f1.to_string()),
        Column::value("explanation", "", "the judge's words", |r| {
            optional(r.explanation.as_ref())
        }),
        Column::value(
            "autointerp_score",
            "share",
            "windows predicted rightly, of those predicted",
            |r| optional(r.autointerp_score),
        ),
        Column::value(
            "none_score",
            "share",
            "what predicting no window to be active would have scored",
            |r| optional(r.none_score),
        ),
    ]);
    columns
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
