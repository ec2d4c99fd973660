use harness_core::record::{AccuracyRow, DynamicsRow, PairedRow};

use super::columns::optional;
use harness_present::csv_text;

/// Columns of decoding-order.csv, fig4.csv, fig5.csv and fig11.csv.
pub const STEP_COLUMNS: [&str; 11] = [
    "model", "order", "sae_id", "layer", "step", "progress", "metric", "value", "std_err", "n",
    "status",
];

/// Columns of decoding-order_curves.csv and of those of its figures.
pub const CURVE_COLUMNS: [&str; 9] = [
    "model", "order", "bin", "progress", "metric", "value", "std_err", "n", "status",
];

/// Columns of decoding-order_by_position.csv.
pub const POSITION_COLUMNS: [&str; 11] = [
    "model", "order", "sae_id", "layer", "position", "progress", "metric", "value", "std_err", "n",
    "status",
];

/// Columns of decoding-order_summary.csv; `sae_id` and `layer` are empty for the mean over all.
pub const SUMMARY_COLUMNS: [&str; 9] = [
    "model", "order", "sae_id", "layer", "metric", "value", "std_err", "n", "status",
];

pub const ACCURACY_COLUMNS: [&str; 13] = [
    "model",
    "order",
    "preset",
    "n",
    "correct",
    "accuracy",
    "lo",
    "hi",
    "extraction",
    "n_no_answer",
    "n_gold_unread",
    "mean_steps",
    "status",
];

/// Columns of accuracy_paired.csv.
pub const PAIRED_COLUMNS: [&str; 13] = [
    "model",
    "preset",
    "extraction",
    "order_a",
    "order_b",
    "n",
    "only_a",
    "only_b",
    "difference",
    "lo",
    "hi",
    "p_value",
    "status",
];

/// decoding-order.csv, or the part of it that a figure shows.
pub fn steps_csv<'a>(rows: impl Iterator<Item = &'a DynamicsRow>) -> String {
    csv_text(&STEP_COLUMNS, rows.map(full))
}

/// decoding-order_by_position.csv.
pub fn positions_csv(rows: &[DynamicsRow]) -> String {
    csv_text(&POSITION_COLUMNS, rows.iter().map(full))
}

/// decoding-order_curves.csv, or the part of it that a figure shows.
pub fn curves_csv<'a>(rows: impl Iterator<Item = &'a DynamicsRow>) -> String {
    csv_text(
        &CURVE_COLUMNS,
        rows.map(|r| {
            let own = vec![
                r.model.clone(),
                r.order.clone(),
                optional(r.at),
                optional(r.progress),
            ];
            [own, value(r)].concat()
        }),
    )
}

/// decoding-order_summary.csv.
pub fn summary_csv(rows: &[DynamicsRow]) -> String {
    csv_text(
        &SUMMARY_COLUMNS,
        rows.iter().map(|r| {
            let own = vec![
                r.model.clone(),
                r.order.clone(),
                optional(r.sae_id.as_ref()),
                optional(r.layer),
            ];
            [own, value(r)].concat()
        }),
    )
}

pub fn accuracy_csv(rows: &[AccuracyRow]) -> String {
    csv_text(
        &ACCURACY_COLUMNS,
        rows.iter().map(|r| {
            vec![
                r.model.clone(),
                r.order.clone(),
                r.preset.clone(),
                optional(r.n),
                optional(r.correct),
                optional(r.accuracy),
                optional(r.lo),
                optional(r.hi),
                r.extraction.clone(),
                optional(r.n_no_answer),
                optional(r.n_gold_unread),
                optional(r.mean_steps),
                r.status.to_string(),
            ]
        }),
    )
}

/// accuracy_paired.csv.
pub fn paired_csv(rows: &[PairedRow]) -> String {
    csv_text(
        &PAIRED_COLUMNS,
        rows.iter().map(|r| {
            vec![
                r.model.clone(),
                r.preset.clone(),
                r.extraction.clone(),
                r.order_a.clone(),
                r.order_b.clone(),
                optional(r.n),
                optional(r.only_a),
                optional(r.only_b),
                optional(r.difference),
                optional(r.lo),
                optional(r.hi),
                optional(r.p_value),
                r.status.to_string(),
            ]
        }),
    )
}

fn full(r: &DynamicsRow) -> Vec<String> {
    let own = vec![
        r.model.clone(),
        r.order.clone(),
        optional(r.sae_id.as_ref()),
        optional(r.layer),
        optional(r.at),
        optional(r.progress),
    ];
    [own, value(r)].concat()
}

fn value(r: &DynamicsRow) -> Vec<String> {
    vec![
        r.metric.clone(),
        optional(r.value),
        optional(r.std_err),
        optional(r.n),
        r.status.to_string(),
    ]
}
