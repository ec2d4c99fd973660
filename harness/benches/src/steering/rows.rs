//! Rows of the steering benches and the columns of their files. What a field means is
//! said by its column.

use std::collections::BTreeMap;

use harness_contract::sanitize::one_line;
use harness_core::{layer::Depth, record::Status, sae_id::SaeId, stats::Estimate};
use harness_present::{Column, csv_table, optional};

use crate::columns::{OfSae, STATUS, of_sae};

/// C, P and S with what they rest on.
#[derive(Clone, Debug, PartialEq)]
pub struct SteeringNumbers {
    pub concept_improvement: Estimate,
    pub perplexity_reduction: Estimate,
    pub steering_score: Estimate,
    pub n_features: Option<u64>,
    pub n_valid: Option<u64>,
    pub n_judged: Option<u64>,
    /// Questions without a usable answer, by what became of them; `None` when none was asked.
    pub missing: Option<BTreeMap<String, u64>>,
    pub judge: String,
    /// Whether the judge may be compared with the paper's; `None` when nothing was judged.
    pub comparable_with_paper: Option<bool>,
    pub status: Status,
}

/// One SAE: a row of fig9.csv or fig10.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct SteeringRow {
    pub family: String,
    pub model: String,
    pub sae: SaeId,
    pub depth: Depth,
    pub numbers: SteeringNumbers,
}

/// One layer of an SAE set, mean over its k sweep: a row of table2.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct Table2Row {
    pub family: String,
    pub model: String,
    pub sae: String,
    pub layer: u32,
    pub depth: Depth,
    pub starred: bool,
    pub numbers: SteeringNumbers,
}

/// One configuration of Table 4, with the time and the scores of one SAE.
#[derive(Clone, Debug, PartialEq)]
pub struct Table4Row {
    pub group: String,
    pub model: String,
    pub sae: SaeId,
    pub amp_factor: f64,
    pub dlm_steps: Option<u32>,
    pub token_scope: String,
    pub k_scope: Option<u32>,
    pub n_prefix: u32,
    pub max_new_tokens: u32,
    pub time_per_sae_min: Option<f64>,
    pub numbers: SteeringNumbers,
}

/// A value of a metric plugin besides C, P and S, of one SAE: a row of metrics.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricRow {
    pub model: String,
    pub sae: SaeId,
    pub variant: String,
    pub component: String,
    pub metric: String,
    pub unit: String,
    pub direction: Option<i32>,
    pub estimate: Estimate,
    pub status: Status,
    pub error: Option<String>,
}

impl OfSae for SteeringRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

impl OfSae for Table4Row {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

impl OfSae for MetricRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

/// A row with C, P and S.
pub trait Scored {
    fn numbers(&self) -> &SteeringNumbers;
}

impl Scored for SteeringRow {
    fn numbers(&self) -> &SteeringNumbers {
        &self.numbers
    }
}

impl Scored for Table2Row {
    fn numbers(&self) -> &SteeringNumbers {
        &self.numbers
    }
}

impl Scored for Table4Row {
    fn numbers(&self) -> &SteeringNumbers {
        &self.numbers
    }
}

const FAMILY: &str = "models compared with each other: `qwen-dream`, `llama-llada`";
const DEPTH: &str = "`shallow`, `middle` or `deep`: third of the layers of the bench";

/// C, P and S.
fn scores<R: Scored>() -> [Column<R>; 3] {
    [
        Column::value(
            "concept_improvement",
            "judge points / 100",
            "C, Eq. 17; higher is better",
            |r| optional(r.numbers().concept_improvement.value),
        ),
        Column::value(
            "perplexity_reduction",
            "share of the unsteered perplexity",
            "P, Eq. 18; higher is better, at most 1",
            |r| optional(r.numbers().perplexity_reduction.value),
        ),
        Column::value("steering_score", "", "S = C + 0.3 P, Eq. 19", |r| {
            optional(r.numbers().steering_score.value)
        }),
    ]
}

/// What C, P and S rest on.
fn basis<R: Scored>() -> [Column<R>; 10] {
    [
        Column::value(
            "concept_improvement_std_err",
            "judge points / 100",
            "standard error of C",
            |r| optional(r.numbers().concept_improvement.std_err),
        ),
        Column::value(
            "perplexity_reduction_std_err",
            "share of the unsteered perplexity",
            "standard error of P",
            |r| optional(r.numbers().perplexity_reduction.std_err),
        ),
        Column::value("steering_score_std_err", "", "standard error of S", |r| {
            optional(r.numbers().steering_score.std_err)
        }),
        Column::value("n_features", "count", "selected features", |r| {
            optional(r.numbers().n_features)
        }),
        Column::value("n_valid", "count", "features with both C and P", |r| {
            optional(r.numbers().n_valid)
        }),
        Column::value(
            "n_judged",
            "count",
            "features with C: at least one pair of texts was judged",
            |r| optional(r.numbers().n_judged),
        ),
        Column::value(
            "n_missing",
            "count",
            "questions to the judge without a usable answer",
            |r| {
                optional(
                    r.numbers()
                        .missing
                        .as_ref()
                        .map(|m| m.values().sum::<u64>()),
                )
            },
        ),
        Column::value(
            "missing",
            "",
            "why they have none, by the kinds of \"Questions without an answer\": `content_filter=2 \
             refused=1`",
            |r| {
                r.numbers()
                    .missing
                    .as_ref()
                    .map(counted)
                    .unwrap_or_default()
            },
        ),
        Column::value("judge", "", "identity of the judge", |r| {
            r.numbers().judge.clone()
        }),
        Column::value(
            "comparable_with_paper",
            "",
            "`false` for every judge that is not the paper's",
            |r| optional(r.numbers().comparable_with_paper),
        ),
    ]
}

fn status<R: Scored>() -> Column<R> {
    Column::value("status", "", STATUS, |r| r.numbers().status.to_string())
}

/// Columns of fig9.csv, fig10.csv and table2_by_k.csv.
pub fn steering_columns() -> Vec<Column<SteeringRow>> {
    let [model, set, id, layer, k] = of_sae();
    let mut columns = vec![
        Column::key("family", FAMILY, |r: &SteeringRow| r.family.clone()),
        model,
        set,
        id,
        layer,
        Column::key("depth", DEPTH, |r| r.depth.to_string()),
        k,
    ];
    columns.extend(scores());
    columns.extend(basis());
    columns.push(status());
    columns
}

/// Columns of table2.csv.
pub fn table2_columns() -> Vec<Column<Table2Row>> {
    let mut columns = vec![
        Column::key("family", FAMILY, |r: &Table2Row| r.family.clone()),
        Column::key("model", "`qwen`, `dream`, `llama`, `llada`", |r| {
            r.model.clone()
        }),
        Column::key(
            "sae",
            "SAE set: `qwen`, `dream-unmask`, `dream-mask`, `llama`, `llada-unmask`, `llada-mask`",
            |r| r.sae.clone(),
        ),
        Column::key("layer", "block whose output is steered, from 0", |r| {
            r.layer.to_string()
        }),
        Column::key("depth", DEPTH, |r| r.depth.to_string()),
    ];
    columns.extend(scores());
    columns.push(Column::value(
        "starred",
        "",
        "`true` for the largest S, printed with two decimals, of a family and layer; ties are all \
         starred",
        |r| r.starred.to_string(),
    ));
    columns.extend(basis());
    columns.push(status());
    columns
}

/// Columns of table4.csv.
pub fn table4_columns() -> Vec<Column<Table4Row>> {
    let [model, set, id, layer, k] = of_sae();
    let mut columns = vec![
        Column::key("group", "group of the paper's table", |r: &Table4Row| {
            r.group.clone()
        }),
        model,
        set,
        id,
        layer,
        k,
        Column::key("amp_factor", "strength α of Eq. 4", |r| {
            r.amp_factor.to_string()
        }),
        Column::key(
            "dlm_steps",
            "denoising steps; empty for autoregressive models",
            |r| optional(r.dlm_steps),
        ),
        Column::key("token_scope", "steering policy", |r| r.token_scope.clone()),
        Column::key(
            "k_scope",
            "number of steered positions of a policy that picks some",
            |r| optional(r.k_scope),
        ),
        Column::key("n_prefix", "prefixes for each feature", |r| {
            r.n_prefix.to_string()
        }),
        Column::key("max_new_tokens", "tokens after the prefix", |r| {
            r.max_new_tokens.to_string()
        }),
    ];
    columns.extend(scores());
    columns.extend(basis());
    columns.push(Column::value(
        "time_per_sae_min",
        "minutes",
        "steered texts, their perplexities, judgements and scores of one SAE, as first measured: it \
         depends on the machine, leave it out of comparisons \
         (`harness compare --ignore time_per_sae_min`)",
        |r| optional(r.time_per_sae_min),
    ));
    columns.push(status());
    columns
}

/// Columns of metrics.csv. Tables of variants have `variant` after `k`.
pub fn metric_columns(has_variants: bool) -> Vec<Column<MetricRow>> {
    let mut columns = of_sae().to_vec();
    if has_variants {
        columns.push(Column::key(
            "variant",
            "settings that tell the configurations of a table of variants apart",
            |r: &MetricRow| r.variant.clone(),
        ));
    }
    columns.extend([
        Column::key("component", "the metric plugin's component", |r: &MetricRow| {
            r.component.clone()
        }),
        Column::key(
            "metric",
            "name of the value; that of the component where nothing has been computed yet",
            |r| r.metric.clone(),
        ),
        Column::value("unit", "", "as the metric says", |r| r.unit.clone()),
        Column::value(
            "direction",
            "",
            "1 higher is better, -1 lower is better, 0 neither",
            |r| optional(r.direction),
        ),
        Column::value(
            "value",
            "`unit`",
            "mean over the features that have a value",
            |r| optional(r.estimate.value),
        ),
        Column::value(
            "std_err",
            "`unit`",
            "its standard error, by bootstrap over these features",
            |r| optional(r.estimate.std_err),
        ),
        Column::value("n", "count", "these features", |r| {
            optional(r.estimate.n)
        }),
        Column::value(
            "status",
            "",
            "`ok`, `missing`, `failed`; `failed: …` says why the metric itself failed, which touches \
             neither C, P and S nor other metrics; the command then ends with 5",
            |r| match &r.error {
                Some(error) => format!("{}: {}", r.status, one_line(error)),
                None => r.status.to_string(),
            },
        ),
    ]);
    columns
}

/// metrics.csv.
pub fn metrics_csv(rows: &[MetricRow]) -> String {
    let has_variants = rows.iter().any(|row| !row.variant.is_empty());
    csv_table(&metric_columns(has_variants), rows)
}

/// Counts by kind: `content_filter=2 refused=1`.
fn counted(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> = (counts.iter())
        .map(|(kind, n)| format!("{kind}={n}"))
        .collect();
    counts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::{layer::Depth, record::Status, stats::Estimate};

    fn numbers() -> SteeringNumbers {
        SteeringNumbers {
            concept_improvement: Estimate {
                value: Some(0.1 + 0.2),
                std_err: Some(1e-7),
                n: Some(19),
            },
            perplexity_reduction: Estimate {
                value: Some(-0.5),
                ..Estimate::default()
            },
            steering_score: Estimate::default(),
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
        let text = csv_table(&table2_columns(), &[row]);
        let mut lines = text.lines();
        assert_eq!(
            lines.next().unwrap(),
            table2_columns()
                .iter()
                .map(|c| c.name)
                .collect::<Vec<_>>()
                .join(",")
        );
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
            sae: SaeId {
                set: "s".into(),
                id: "i".into(),
                layer: 1,
                k: Some(8),
            },
            depth: Depth::Shallow,
            numbers: numbers(),
        };
        let table4 = Table4Row {
            group: "g".into(),
            model: "m".into(),
            sae: SaeId {
                set: "s".into(),
                id: "i".into(),
                layer: 1,
                k: Some(8),
            },
            amp_factor: 2.0,
            dlm_steps: None,
            token_scope: "all-tokens".into(),
            k_scope: None,
            n_prefix: 3,
            max_new_tokens: 30,
            time_per_sae_min: Some(0.25),
            numbers: numbers(),
        };
        for text in [
            csv_table(&steering_columns(), &[steering]),
            csv_table(&table4_columns(), &[table4]),
        ] {
            let counts: Vec<usize> = text.lines().map(|l| l.split(',').count()).collect();
            assert_eq!(counts[0], counts[1], "{text}");
        }
    }
}
