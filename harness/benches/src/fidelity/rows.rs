//! Rows of the grid benches and the columns of their tidy files.

use harness_core::{layer::Depth, record::Status, sae_id::SaeId};
use harness_present::{Column, optional};

use crate::columns::{OfSae, of_sae};

/// One value of a grid bench: a row of fidelity.csv or transfer.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct GridRow {
    /// Family of models compared with each other, e.g. `qwen-dream`.
    pub family: String,
    /// The model whose residual is replaced.
    pub model: String,
    pub sae: SaeId,
    /// Third of the layers.
    pub depth: Depth,
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

impl OfSae for GridRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

/// Columns of fidelity.csv, transfer.csv and transfer-rollouts.csv: one row for each value of an
/// SAE.
pub fn grid_columns() -> Vec<Column<GridRow>> {
    let mut columns = of_sae().to_vec();
    columns.extend([
        Column::key("metric", "what is measured, see below", |r: &GridRow| {
            r.metric.clone()
        }),
        Column::key("variant", "how it is defined, see below", |r| r.variant.clone()),
        Column::value(
            "value",
            "of the metric",
            "empty where it is undefined or not there",
            |r| optional(r.value),
        ),
        Column::value(
            "std_err",
            "as the value",
            "by bootstrap over rows of text (documents, prompts), in at most 64 units a shard; clean \
             and spliced losses are drawn together, so that errors of differences are paired",
            |r| optional(r.std_err),
        ),
        Column::value(
            "n",
            "count",
            "counted tokens of a loss, tokens of the SAE's policy of an EV",
            |r| optional(r.n),
        ),
        Column::value(
            "status",
            "",
            "`partial`: some shards of the text failed or are missing, the value is of the others",
            |r| r.status.to_string(),
        ),
    ]);
    columns
}
