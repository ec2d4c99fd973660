//! Rows of the autointerp bench and the columns of its files.

use harness_contract::outputs::ExplanationLine;
use harness_core::{record::Status, sae_id::SaeId};
use harness_present::{Column, optional};

use crate::columns::{OfSae, STATUS, of_sae};

/// One SAE: a row of autointerp.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct AutointerpRow {
    /// Model, e.g. `dream`.
    pub model: String,
    pub sae: SaeId,
    /// Mean score of the latents whose windows were predicted.
    pub autointerp_score: Option<f64>,
    /// Standard deviation of the score over these latents.
    pub std_dev: Option<f64>,
    /// Standard error of the mean, by bootstrap over latents.
    pub std_err: Option<f64>,
    /// Latents whose windows were predicted.
    pub n_latents: Option<u64>,
    /// Latents of the SAE that fired less often than the threshold.
    pub n_dead: Option<u64>,
    /// Asked latents without a score because an answer was not what was asked for.
    pub n_unparsed: Option<u64>,
    /// Asked latents without a score because the judge's model declined.
    pub n_refused: Option<u64>,
    /// Asked latents without a score because a question failed in another way.
    pub n_failed: Option<u64>,
    /// Identity of the judge; empty when nothing was asked.
    pub judge: String,
    /// Mean over all asked latents, those without a score counted as 0.
    pub score_unanswered_counted: Option<f64>,
    /// Latents the judge was asked about.
    pub n_asked: Option<u64>,
    /// Chosen latents that were not asked about: dead, or with too few windows.
    pub n_not_asked: Option<u64>,
    /// What counts as true of random windows: `checked` or `paper_code`.
    pub random_windows: String,
    /// Whether the judge may be compared with the paper's; `None` when nothing was asked.
    pub comparable_with_paper: Option<bool>,
    /// Whether the numbers are whole.
    pub status: Status,
}

/// One latent: a row of latents.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentRow {
    pub model: String,
    pub sae: SaeId,
    /// Index of the latent.
    pub latent: u32,
    /// Why it was looked at: `sample`, `list` or `label`.
    pub chosen: String,
    /// What it stands for; `None` without a usable answer.
    pub explanation: Option<String>,
    /// Share of windows predicted rightly.
    pub autointerp_score: Option<f64>,
    /// Windows that were to be predicted.
    pub n_windows: u64,
    /// Of them, predicted rightly.
    pub n_correct: Option<u64>,
    /// Places of the windows it was predicted to be active in, from 0.
    pub predicted: Option<Vec<u32>>,
    /// Places of the windows it is active in.
    pub active: Vec<u32>,
    /// Positions on which it is active.
    pub n_active: u64,
    /// Their share of the positions that counted.
    pub density: f64,
    /// Largest activation.
    pub max_act: f64,
    /// What became of it: `scored`, `dead`, `few_windows`, `unparsed`, `refused`, `failed`, or
    /// `missing` while questions are open.
    pub outcome: String,
    /// Why it has no score.
    pub error: Option<String>,
    /// Identity of the judge.
    pub judge: String,
}

/// The latent of an SAE that goes best with a label of the text: a row of autointerp_labels.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelRow {
    pub model: String,
    pub sae: SaeId,
    pub label: String,
    /// Documents that have it.
    pub n_documents: u64,
    pub latent: u32,
    /// Share of the documents it fires in that have the label.
    pub precision: f64,
    /// Share of the label's documents it fires in.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// What it stands for.
    pub explanation: Option<String>,
    /// Share of windows predicted rightly.
    pub autointerp_score: Option<f64>,
    /// What predicting none to be active would have scored.
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

/// Columns of autointerp.csv: one row for each SAE.
pub fn autointerp_columns() -> Vec<Column<AutointerpRow>> {
    let mut columns = of_sae().to_vec();
    columns.extend([
        Column::value(
            "autointerp_score",
            "share",
            "mean over latents of the share of windows predicted rightly; of the latents with a \
             usable prediction",
            |r: &AutointerpRow| optional(r.autointerp_score),
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
            |r| optional(r.std_err),
        ),
        Column::value("n_latents", "count", "latents with a score", |r| {
            optional(r.n_latents)
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

/// Columns of latents.csv: one row for each latent. Lists are separated by spaces.
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
            "places of the windows predicted to be active, from 0",
            |r| r.predicted.as_deref().map(places).unwrap_or_default(),
        ),
        Column::value(
            "active",
            "",
            "places of the windows that count as active",
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

/// Columns of autointerp_labels.csv: for each label of the text the latent that goes best with it.
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
