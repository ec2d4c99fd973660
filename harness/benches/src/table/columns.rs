use std::collections::BTreeMap;

use harness_contract::sanitize::one_line;
use harness_core::record::{
    GridRow, MetricRow, SteeringNumbers, SteeringRow, Table2Row, Table4Row,
};
use harness_present::csv_text;

/// Columns that every table of steering results ends in.
macro_rules! numbers {
    ($($first:literal),*; $($last:literal),*) => {
        [
            $($first,)*
            "concept_improvement_std_err",
            "perplexity_reduction_std_err",
            "steering_score_std_err",
            "n_features",
            "n_valid",
            "n_judged",
            "n_missing",
            "missing",
            "judge",
            "comparable_with_paper",
            $($last,)*
            "status",
        ]
    };
}

/// Columns of fig9.csv and fig10.csv.
pub const STEERING_COLUMNS: [&str; 21] = numbers!(
    "family", "model", "sae", "sae_id", "layer", "depth", "k", "concept_improvement", "perplexity_reduction", "steering_score";
);

pub const TABLE2_COLUMNS: [&str; 20] = numbers!(
    "family", "model", "sae", "layer", "depth", "concept_improvement", "perplexity_reduction", "steering_score", "starred";
);

/// Columns of table4.csv. `time_per_sae_min` is a measurement: it differs from machine to machine.
pub const TABLE4_COLUMNS: [&str; 27] = numbers!(
    "group", "model", "sae", "sae_id", "layer", "k", "amp_factor", "dlm_steps", "token_scope", "k_scope", "n_prefix",
    "max_new_tokens", "concept_improvement", "perplexity_reduction", "steering_score";
    "time_per_sae_min"
);

/// Columns of fidelity.csv, transfer.csv and transfer-rollouts.csv.
pub const GRID_COLUMNS: [&str; 11] = [
    "model", "sae", "sae_id", "layer", "k", "metric", "variant", "value", "std_err", "n", "status",
];

/// Columns of metrics.csv; tables of variants have `variant` after `k`.
pub const METRIC_COLUMNS: [&str; 13] = [
    "model",
    "sae",
    "sae_id",
    "layer",
    "k",
    "component",
    "metric",
    "unit",
    "direction",
    "value",
    "std_err",
    "n",
    "status",
];

/// metrics.csv. The status of a metric that failed says why.
pub fn metrics_csv(rows: &[MetricRow]) -> String {
    let has_variants = rows.iter().any(|row| !row.variant.is_empty());
    let variant = |text: &str| has_variants.then(|| text.to_owned());
    let (own, values) = METRIC_COLUMNS.split_at(5);
    let columns: Vec<&str> = (own.iter().copied())
        .chain(has_variants.then_some("variant"))
        .chain(values.iter().copied())
        .collect();
    let line = |r: &MetricRow| -> Vec<String> {
        let own = [
            r.model.clone(),
            r.sae.clone(),
            r.sae_id.clone(),
            r.layer.to_string(),
            optional(r.k),
        ];
        let status = match &r.error {
            Some(error) => format!("{}: {}", r.status, one_line(error)),
            None => r.status.to_string(),
        };
        let values = [
            r.component.clone(),
            r.metric.clone(),
            r.unit.clone(),
            optional(r.direction),
            optional(r.value),
            optional(r.std_err),
            optional(r.n),
            status,
        ];
        (own.into_iter().chain(variant(&r.variant)))
            .chain(values)
            .collect()
    };
    csv_text(&columns, rows.iter().map(line))
}

/// fidelity.csv, transfer.csv or transfer-rollouts.csv.
pub fn grid_csv(rows: &[GridRow]) -> String {
    let line = |r: &GridRow| {
        vec![
            r.model.clone(),
            r.sae.clone(),
            r.sae_id.clone(),
            r.layer.to_string(),
            optional(r.k),
            r.metric.clone(),
            r.variant.clone(),
            optional(r.value),
            optional(r.std_err),
            optional(r.n),
            r.status.to_string(),
        ]
    };
    csv_text(&GRID_COLUMNS, rows.iter().map(line))
}

/// fig9.csv or fig10.csv.
pub fn steering_csv(rows: &[SteeringRow]) -> String {
    let line = |r: &SteeringRow| {
        let own = [
            r.family.clone(),
            r.model.clone(),
            r.sae.clone(),
            r.sae_id.clone(),
            r.layer.to_string(),
            r.depth.to_string(),
            optional(r.k),
        ];
        [
            own.to_vec(),
            scores(&r.numbers).to_vec(),
            basis(&r.numbers).to_vec(),
            vec![r.numbers.status.to_string()],
        ]
        .concat()
    };
    csv_text(&STEERING_COLUMNS, rows.iter().map(line))
}

pub fn table2_csv(rows: &[Table2Row]) -> String {
    let line = |r: &Table2Row| {
        let own = [
            r.family.clone(),
            r.model.clone(),
            r.sae.clone(),
            r.layer.to_string(),
            r.depth.to_string(),
        ];
        let star = vec![r.starred.to_string()];
        let status = vec![r.numbers.status.to_string()];
        [
            own.to_vec(),
            scores(&r.numbers).to_vec(),
            star,
            basis(&r.numbers).to_vec(),
            status,
        ]
        .concat()
    };
    csv_text(&TABLE2_COLUMNS, rows.iter().map(line))
}

pub fn table4_csv(rows: &[Table4Row]) -> String {
    let line = |r: &Table4Row| {
        let own = [
            r.group.clone(),
            r.model.clone(),
            r.sae.clone(),
            r.sae_id.clone(),
            r.layer.to_string(),
            optional(r.k),
            r.amp_factor.to_string(),
            optional(r.dlm_steps),
            r.token_scope.clone(),
            optional(r.k_scope),
            r.n_prefix.to_string(),
            r.max_new_tokens.to_string(),
        ];
        let last = vec![optional(r.time_per_sae_min), r.numbers.status.to_string()];
        [
            own.to_vec(),
            scores(&r.numbers).to_vec(),
            basis(&r.numbers).to_vec(),
            last,
        ]
        .concat()
    };
    csv_text(&TABLE4_COLUMNS, rows.iter().map(line))
}

fn scores(n: &SteeringNumbers) -> [String; 3] {
    [
        n.concept_improvement,
        n.perplexity_reduction,
        n.steering_score,
    ]
    .map(|m| optional(m.value))
}

fn basis(n: &SteeringNumbers) -> [String; 10] {
    let n_missing = n
        .missing
        .as_ref()
        .map(|missing| missing.values().sum::<u64>());
    [
        optional(n.concept_improvement.std_err),
        optional(n.perplexity_reduction.std_err),
        optional(n.steering_score.std_err),
        optional(n.n_features),
        optional(n.n_valid),
        optional(n.n_judged),
        optional(n_missing),
        n.missing.as_ref().map(counted).unwrap_or_default(),
        n.judge.clone(),
        optional(n.comparable_with_paper),
    ]
}

/// Counts by kind: `content_filter=2 refused=1`.
pub(super) fn counted(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> = (counts.iter())
        .map(|(kind, n)| format!("{kind}={n}"))
        .collect();
    counts.join(" ")
}

/// A value unrounded (the shortest text that reads back the same), or nothing.
pub(super) fn optional<T: ToString>(value: Option<T>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::{layer::Depth, record::Status, steering::MeanScore};

    fn numbers() -> SteeringNumbers {
        SteeringNumbers {
            concept_improvement: MeanScore {
                value: Some(0.1 + 0.2),
                std_err: Some(1e-7),
            },
            perplexity_reduction: MeanScore {
                value: Some(-0.5),
                std_err: None,
            },
            steering_score: MeanScore {
                value: None,
                std_err: None,
            },
            n_features: Some(20),
            n_valid: Some(19),
            n_judged: Some(19),
            missing: Some(BTreeMap::from([
                ("refused".into(), 2),
                ("unparsed".into(), 1),
            ])),
            judge: "lexical-1".into(),
            comparable_with_paper: Some(false),
            status: Status::Ok,
        }
    }

    #[test]
    fn numbers_are_unrounded_and_missing_ones_empty() {
        let row = Table2Row {
            family: "f".into(),
            model: "m".into(),
            sae: "s".into(),
            layer: 3,
            depth: Depth::Deep,
            starred: true,
            numbers: numbers(),
        };
        let text = table2_csv(&[row]);
        let mut lines = text.lines();
        assert_eq!(lines.next().unwrap(), TABLE2_COLUMNS.join(","));
        assert_eq!(
            lines.next().unwrap(),
            "f,m,s,3,deep,0.30000000000000004,-0.5,,true,0.0000001,,,20,19,19,3,refused=2 unparsed=1,lexical-1,false,ok"
        );
    }

    #[test]
    fn every_table_has_a_field_for_each_column() {
        let steering = SteeringRow {
            family: "f".into(),
            model: "m".into(),
            sae: "s".into(),
            sae_id: "i".into(),
            layer: 1,
            depth: Depth::Shallow,
            k: Some(8),
            numbers: numbers(),
        };
        let table4 = Table4Row {
            group: "g".into(),
            model: "m".into(),
            sae: "s".into(),
            sae_id: "i".into(),
            layer: 1,
            k: Some(8),
            amp_factor: 2.0,
            dlm_steps: None,
            token_scope: "all-tokens".into(),
            k_scope: None,
            n_prefix: 3,
            max_new_tokens: 30,
            time_per_sae_min: Some(0.25),
            numbers: numbers(),
        };
        for text in [steering_csv(&[steering]), table4_csv(&[table4])] {
            let counts: Vec<usize> = text.lines().map(|l| l.split(',').count()).collect();
            assert_eq!(counts[0], counts[1], "{text}");
        }
    }
}
