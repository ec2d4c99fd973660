//! Rows of results. A missing number is `None` with a status that says why; nothing is rounded.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{layer::Depth, steering::MeanScore};

/// Whether a row's numbers are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every cell behind the row is done.
    Ok,
    /// Some cells behind the row failed or have questions open; the numbers are of the others.
    Partial,
    /// Every cell behind the row is done, and the judge gave no usable answer for any feature: what
    /// needs one is missing.
    Unjudged,
    /// No cell behind the row has a value because cells failed.
    Failed,
    /// No cell behind the row has been run yet.
    Missing,
    /// Every cell behind the row is done, and no model scores perplexity: P and S are missing.
    NoScorer,
    /// The cells are done, and what they measured varies by rounding alone: there is no variance to
    /// explain, and no value.
    NoVariance,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 7] = [
        Status::Ok,
        Status::Partial,
        Status::Unjudged,
        Status::Failed,
        Status::Missing,
        Status::NoScorer,
        Status::NoVariance,
    ];

    /// `ok`, `partial`, `unjudged`, `failed`, `missing`, `no_scorer` or `no_variance`.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Partial => "partial",
            Status::Unjudged => "unjudged",
            Status::Failed => "failed",
            Status::Missing => "missing",
            Status::NoScorer => "no_scorer",
            Status::NoVariance => "no_variance",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Status::ALL.map(Status::name).join(", ");
        Status::ALL
            .into_iter()
            .find(|s| s.name() == name)
            .ok_or_else(|| format!("unknown status `{name}`: one of {known}"))
    }
}

/// An active budget as tables and messages show it: `-` where an SAE has none.
pub fn shown_k(k: Option<u32>) -> String {
    k.map_or_else(|| "-".to_owned(), |k| k.to_string())
}

/// C, P and S with what they rest on.
#[derive(Clone, Debug, PartialEq)]
pub struct SteeringNumbers {
    /// C (Eq. 17).
    pub concept_improvement: MeanScore,
    /// P (Eq. 18).
    pub perplexity_reduction: MeanScore,
    /// S (Eq. 19).
    pub steering_score: MeanScore,
    /// Features, valid or not.
    pub n_features: Option<u64>,
    /// Features with C and P.
    pub n_valid: Option<u64>,
    /// Features with C.
    pub n_judged: Option<u64>,
    /// Questions without a usable answer, by what became of them; `None` when none was asked.
    pub missing: Option<BTreeMap<String, u64>>,
    /// Identity of the judge; empty when nothing was judged.
    pub judge: String,
    /// Whether the judge may be compared with the paper's; `None` when nothing was judged.
    pub comparable_with_paper: Option<bool>,
    /// Whether the numbers are whole.
    pub status: Status,
}

/// One SAE: a row of fig9.csv or fig10.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct SteeringRow {
    /// Family of models compared with each other, e.g. `qwen-dream`.
    pub family: String,
    /// Model, e.g. `dream`.
    pub model: String,
    /// SAE set, e.g. `dream-mask`.
    pub sae: String,
    /// The SAE within its set.
    pub sae_id: String,
    /// Layer, from 0.
    pub layer: u32,
    /// Third of the layers.
    pub depth: Depth,
    /// Active budget of the SAE; `None` where it has none.
    pub k: Option<u32>,
    pub numbers: SteeringNumbers,
}

/// One layer of an SAE set, mean over its k sweep: a row of table2.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct Table2Row {
    /// Family of models compared with each other, e.g. `qwen-dream`.
    pub family: String,
    /// Model, e.g. `dream`.
    pub model: String,
    /// SAE set, e.g. `dream-mask`.
    pub sae: String,
    /// Layer, from 0.
    pub layer: u32,
    /// Third of the layers.
    pub depth: Depth,
    /// Whether S is the largest printed S of its family and layer.
    pub starred: bool,
    pub numbers: SteeringNumbers,
}

/// One configuration of Table 4, with the time and the scores of one SAE.
#[derive(Clone, Debug, PartialEq)]
pub struct Table4Row {
    /// Group of the table: `baseline_ar`, `ablation_amp_factor`, …
    pub group: String,
    /// Model, e.g. `dream`.
    pub model: String,
    /// SAE set.
    pub sae: String,
    /// The SAE within its set.
    pub sae_id: String,
    /// Layer, from 0.
    pub layer: u32,
    /// Active budget of the SAE; `None` where it has none.
    pub k: Option<u32>,
    /// Strength α.
    pub amp_factor: f64,
    /// Denoising steps; `None` for autoregressive models.
    pub dlm_steps: Option<u32>,
    /// Steering policy.
    pub token_scope: String,
    /// Steered positions of a policy that picks some.
    pub k_scope: Option<u32>,
    /// Prefixes for each feature.
    pub n_prefix: u32,
    /// Tokens after the prefix.
    pub max_new_tokens: u32,
    /// Wall-clock minutes of all stages of this SAE, as first measured; depends on the machine.
    pub time_per_sae_min: Option<f64>,
    pub numbers: SteeringNumbers,
}

/// A value of a metric plugin besides C, P and S, of one SAE: a row of metrics.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricRow {
    /// Model, e.g. `dream`.
    pub model: String,
    /// SAE set, e.g. `dream-mask`.
    pub sae: String,
    /// The SAE's folder within its set.
    pub sae_id: String,
    /// Layer, from 0.
    pub layer: u32,
    /// Active budget of the SAE, for those that have one.
    pub k: Option<u32>,
    /// What tells configurations of one SAE apart, as `name=value` texts; empty where there is one.
    pub variant: String,
    pub component: String,
    /// Name of the value; that of the component where nothing has been computed.
    pub metric: String,
    /// Unit, empty for a plain number.
    pub unit: String,
    /// 1 higher is better, -1 lower is better, 0 neither; `None` where nothing has been computed.
    pub direction: Option<i32>,
    /// Mean over the features that have a value.
    pub value: Option<f64>,
    /// Its standard error, by bootstrap over these features.
    pub std_err: Option<f64>,
    /// These features.
    pub n: Option<u64>,
    /// Whether it is there.
    pub status: Status,
    /// Why the metric failed.
    pub error: Option<String>,
}

/// One value of a grid bench: a row of fidelity.csv or transfer.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct GridRow {
    /// Family of models compared with each other, e.g. `qwen-dream`.
    pub family: String,
    /// The model whose residual is replaced.
    pub model: String,
    /// SAE set.
    pub sae: String,
    /// The SAE within its set.
    pub sae_id: String,
    /// Layer, from 0.
    pub layer: u32,
    /// Third of the layers.
    pub depth: Depth,
    /// Active budget of the SAE; `None` where it has none.
    pub k: Option<u32>,
    /// What is measured, see `harness_core::fidelity`.
    pub metric: String,
    /// How it is defined, see `harness_core::fidelity`.
    pub variant: String,
    /// The value; `None` where it is undefined or not there.
    pub value: Option<f64>,
    /// Its standard error over resampled rows of text.
    pub std_err: Option<f64>,
    /// Tokens it is formed from.
    pub n: Option<u64>,
    /// Whether it is whole.
    pub status: Status,
}

/// One value of the feature dynamics of decoding orders: a row of decoding-order.csv and of the files beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct DynamicsRow {
    pub model: String,
    /// Decoding order.
    pub order: String,
    /// The SAE whose features are followed, within its set; `None` for a mean over several.
    pub sae_id: Option<String>,
    /// Layer, from 0; `None` for a mean over the layers.
    pub layer: Option<u32>,
    /// Denoising step, bin of the progress or generated position, each from 0; `None` for a summary over all.
    pub at: Option<u32>,
    /// Where that is in the run (or in the generated text), 0 to 1.
    pub progress: Option<f64>,
    /// `jaccard_pre`, `drift_post`, `lock_rate` or `flip_count`, see `harness_core::dynamics`.
    pub metric: String,
    /// The value; `None` where it is undefined or not there.
    pub value: Option<f64>,
    /// Its standard error over resampled prompts.
    pub std_err: Option<f64>,
    /// What it is formed from, see `harness_core::dynamics`; `None` where nothing has been run.
    pub n: Option<u64>,
    /// Whether it is whole.
    pub status: Status,
}

/// Right answers of a model under a decoding order: a row of accuracy.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct AccuracyRow {
    pub model: String,
    /// Decoding order.
    pub order: String,
    /// How questions were put, with its version: `chat@1`.
    pub preset: String,
    /// How answers were read: `strict` or `flexible`.
    pub extraction: String,
    /// Questions with a gold answer that could be read.
    pub n: Option<u64>,
    /// Those answered rightly.
    pub correct: Option<u64>,
    /// `correct / n`.
    pub accuracy: Option<f64>,
    /// Lower end of the 95 % Wilson interval.
    pub lo: Option<f64>,
    /// Upper end.
    pub hi: Option<f64>,
    /// Of the `n`, replies in which no answer was found.
    pub n_no_answer: Option<u64>,
    /// Questions whose gold answer could not be read, not scored.
    pub n_gold_unread: Option<u64>,
    /// Steps until the last mask was filled, mean over prompts.
    pub mean_steps: Option<f64>,
    /// Whether it is whole.
    pub status: Status,
}

/// One SAE: a row of autointerp.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct AutointerpRow {
    /// Model, e.g. `dream`.
    pub model: String,
    /// SAE set, e.g. `dream-mask`.
    pub sae: String,
    /// The SAE within its set.
    pub sae_id: String,
    /// Layer, from 0.
    pub layer: u32,
    /// Active budget of the SAE; `None` where it has none.
    pub k: Option<u32>,
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
    /// SAE set.
    pub sae: String,
    /// The SAE within its set.
    pub sae_id: String,
    /// Layer, from 0.
    pub layer: u32,
    /// Active budget of the SAE; `None` where it has none.
    pub k: Option<u32>,
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
    /// What became of it: `scored`, `dead`, `few_windows`, `unparsed`, `refused`, `failed`, or `missing` while questions are open.
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
    /// SAE set.
    pub sae: String,
    /// The SAE within its set.
    pub sae_id: String,
    /// Layer, from 0.
    pub layer: u32,
    /// Active budget of the SAE; `None` where it has none.
    pub k: Option<u32>,
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

/// Two decoding orders on the same questions: a row of accuracy_paired.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedRow {
    pub model: String,
    /// How questions were put, with its version.
    pub preset: String,
    /// How answers were read.
    pub extraction: String,
    pub order_a: String,
    /// The other.
    pub order_b: String,
    /// Questions that both have answered and whose gold answer could be read; `None` where one of them has answered none.
    pub n: Option<u64>,
    /// Rightly answered by the first only.
    pub only_a: Option<u64>,
    /// By the second only.
    pub only_b: Option<u64>,
    /// Accuracy of the second minus that of the first; `None` without questions.
    pub difference: Option<f64>,
    /// Lower end of its 95 % interval.
    pub lo: Option<f64>,
    /// Upper end.
    pub hi: Option<f64>,
    /// Exact McNemar test, two-sided.
    pub p_value: Option<f64>,
    /// Whether it is whole.
    pub status: Status,
}
