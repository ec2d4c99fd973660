//! Rows of the decoding-order bench and the columns of its files.

use harness_core::record::Status;
use harness_present::{Column, optional};

use crate::columns::STATUS;

/// One value of the feature dynamics of decoding orders: a row of decoding-order.csv and of the
/// files beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct DynamicsRow {
    pub model: String,
    /// Decoding order.
    pub order: String,
    /// The SAE whose features are followed, within its set; `None` for a mean over several.
    pub sae_id: Option<String>,
    /// Layer, from 0; `None` for a mean over the layers.
    pub layer: Option<u32>,
    /// Denoising step, bin of the progress or generated position, each from 0; `None` for a summary
    /// over all.
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
    /// Questions that both have answered and whose gold answer could be read; `None` where one of
    /// them has answered none.
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

const MODEL: Column<DynamicsRow> =
    Column::key("model", "the model that answers", |r| r.model.clone());
const ORDER: Column<DynamicsRow> = Column::key(
    "order",
    "decoding order: component of a remasker plugin",
    |r| r.order.clone(),
);
const SAE_ID: Column<DynamicsRow> = Column::key(
    "sae_id",
    "the SAE that is followed, within its set; empty for the mean over all",
    |r| optional(r.sae_id.as_ref()),
);
const LAYER: Column<DynamicsRow> = Column::key(
    "layer",
    "block whose output the SAE encodes, from 0; empty for the mean over all",
    |r| optional(r.layer),
);
const METRIC: Column<DynamicsRow> = Column::key("metric", "what is measured, see below", |r| {
    r.metric.clone()
});

fn progress(meaning: &'static str) -> Column<DynamicsRow> {
    Column::value("progress", "share", meaning, |r| optional(r.progress))
}

fn values() -> [Column<DynamicsRow>; 4] {
    [
        Column::value(
            "value",
            "of the metric",
            "empty where nothing counts, such as drift before anything is decoded",
            |r| optional(r.value),
        ),
        Column::value(
            "std_err",
            "as the value",
            "by bootstrap over prompts, in at most 256 units",
            |r| optional(r.std_err),
        ),
        Column::value(
            "n",
            "count",
            "transitions of positions the mean is formed from; of `flip_count`, prompts",
            |r| optional(r.n),
        ),
        Column::value("status", "", STATUS, |r| r.status.to_string()),
    ]
}

/// Columns of decoding-order.csv, fig4.csv, fig5.csv and fig11.csv.
pub fn step_columns() -> Vec<Column<DynamicsRow>> {
    let step = Column::key(
        "step",
        "k of the transition, 1 to K−1",
        |r: &DynamicsRow| optional(r.at),
    );
    let mut columns = vec![
        MODEL,
        ORDER,
        SAE_ID,
        LAYER,
        step,
        progress("τ = k/(K−1)"),
        METRIC,
    ];
    columns.extend(values());
    columns
}

/// Columns of decoding-order_curves.csv and of those of its figures.
pub fn curve_columns() -> Vec<Column<DynamicsRow>> {
    let bin = Column::key(
        "bin",
        "bin b of B holds the steps with τ in (b/B, (b+1)/B]",
        |r: &DynamicsRow| optional(r.at),
    );
    let mut columns = vec![MODEL, ORDER, bin, progress("middle of the bin"), METRIC];
    columns.extend(values());
    columns
}

/// Columns of decoding-order_by_position.csv.
pub fn position_columns() -> Vec<Column<DynamicsRow>> {
    let position = Column::key(
        "position",
        "generated position, from 0",
        |r: &DynamicsRow| optional(r.at),
    );
    let place = progress("position / (positions − 1)");
    let mut columns = vec![MODEL, ORDER, SAE_ID, LAYER, position, place, METRIC];
    columns.extend(values());
    columns
}

/// Columns of decoding-order_summary.csv.
pub fn summary_columns() -> Vec<Column<DynamicsRow>> {
    let mut columns = vec![MODEL, ORDER, SAE_ID, LAYER, METRIC];
    columns.extend(values());
    columns
}

const PRESET: &str = "how questions were put, with its version: `chat@1`";
const EXTRACTION: &str = "how answers are read: `strict` or `flexible`";

/// Columns of accuracy.csv.
pub fn accuracy_columns() -> Vec<Column<AccuracyRow>> {
    vec![
        Column::key("model", "the model that answers", |r| r.model.clone()),
        Column::key("order", "decoding order", |r| r.order.clone()),
        Column::key("preset", PRESET, |r| r.preset.clone()),
        Column::value(
            "n",
            "count",
            "questions with a gold answer that could be read",
            |r| optional(r.n),
        ),
        Column::value(
            "correct",
            "count",
            "those whose answer equals it, compared as exact decimals",
            |r| optional(r.correct),
        ),
        Column::value("accuracy", "share", "`correct / n`", |r| {
            optional(r.accuracy)
        }),
        Column::value(
            "lo",
            "share",
            "lower end of the 95 % Wilson interval",
            |r| optional(r.lo),
        ),
        Column::value("hi", "share", "its upper end", |r| optional(r.hi)),
        Column::key("extraction", EXTRACTION, |r| r.extraction.clone()),
        Column::value(
            "n_no_answer",
            "count",
            "of the `n`, replies in which no answer was found; they are wrong",
            |r| optional(r.n_no_answer),
        ),
        Column::value(
            "n_gold_unread",
            "count",
            "questions whose gold answer could not be read; not scored",
            |r| optional(r.n_gold_unread),
        ),
        Column::value(
            "mean_steps",
            "steps",
            "steps until the last mask was filled, mean over questions",
            |r| optional(r.mean_steps),
        ),
        Column::value("status", "", STATUS, |r| r.status.to_string()),
    ]
}

/// Columns of accuracy_paired.csv.
pub fn paired_columns() -> Vec<Column<PairedRow>> {
    vec![
        Column::key("model", "the model that answers", |r| r.model.clone()),
        Column::key("preset", PRESET, |r| r.preset.clone()),
        Column::key("extraction", EXTRACTION, |r| r.extraction.clone()),
        Column::key("order_a", "one decoding order", |r| r.order_a.clone()),
        Column::key("order_b", "the other", |r| r.order_b.clone()),
        Column::value("n", "count", "questions that both have answered", |r| {
            optional(r.n)
        }),
        Column::value(
            "only_a",
            "count",
            "those that a alone has answered rightly",
            |r| optional(r.only_a),
        ),
        Column::value(
            "only_b",
            "count",
            "those that b alone has answered rightly",
            |r| optional(r.only_b),
        ),
        Column::value(
            "difference",
            "share",
            "accuracy of b minus that of a",
            |r| optional(r.difference),
        ),
        Column::value(
            "lo",
            "share",
            "lower end of its 95 % interval (Newcombe 1998, method 10)",
            |r| optional(r.lo),
        ),
        Column::value("hi", "share", "its upper end", |r| optional(r.hi)),
        Column::value("p_value", "", "exact McNemar test, two-sided", |r| {
            optional(r.p_value)
        }),
        Column::value("status", "", STATUS, |r| r.status.to_string()),
    ]
}
