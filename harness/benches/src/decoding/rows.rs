//! Rows of the decoding-order bench and the columns of its files. What a field means is
//! said by its column.

use harness_core::{dynamics::Metric, record::Status, stats::Estimate};
use harness_present::{Column, optional};

use crate::columns::STATUS;

/// One value of the feature dynamics of decoding orders: a row of decoding-order.csv and of the
/// files beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct DynamicsRow {
    pub model: String,
    pub order: String,
    pub sae_id: Option<String>,
    pub layer: Option<u32>,
    /// Denoising step, bin of the progress or generated position, each from 0; `None` for a summary
    /// over all.
    pub at: Option<u32>,
    /// Where that is in the run (or in the generated text), 0 to 1.
    pub progress: Option<f64>,
    pub metric: Metric,
    pub estimate: Estimate,
    pub status: Status,
}

/// Right answers of a model under a decoding order: a row of accuracy.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct AccuracyRow {
    pub model: String,
    pub order: String,
    pub preset: String,
    pub extraction: String,
    pub n: Option<u64>,
    pub correct: Option<u64>,
    pub accuracy: Option<f64>,
    pub lo: Option<f64>,
    pub hi: Option<f64>,
    pub n_no_answer: Option<u64>,
    pub n_gold_unread: Option<u64>,
    pub mean_steps: Option<f64>,
    pub status: Status,
}

/// Two decoding orders on the same questions: a row of accuracy_paired.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedRow {
    pub model: String,
    pub preset: String,
    pub extraction: String,
    pub order_a: String,
    pub order_b: String,
    pub n: Option<u64>,
    pub only_a: Option<u64>,
    pub only_b: Option<u64>,
    pub difference: Option<f64>,
    pub lo: Option<f64>,
    pub hi: Option<f64>,
    pub p_value: Option<f64>,
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
const METRIC: Column<DynamicsRow> = Column::key(
    "metric",
    "what is measured, see the metrics of `decoding-order.csv`",
    |r| r.metric.name().to_owned(),
);

fn progress(meaning: &'static str) -> Column<DynamicsRow> {
    Column::value("progress", "share", meaning, |r| optional(r.progress))
}

fn values() -> [Column<DynamicsRow>; 4] {
    [
        Column::value(
            "value",
            "of the metric",
            "empty where nothing counts, such as drift before anything is decoded",
            |r| optional(r.estimate.value),
        ),
        Column::value(
            "std_err",
            "as the value",
            "by bootstrap over prompts, in at most 256 units",
            |r| optional(r.estimate.std_err),
        ),
        Column::value(
            "n",
            "count",
            "transitions of positions the mean is formed from; of `flip_count`, prompts",
            |r| optional(r.estimate.n),
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
