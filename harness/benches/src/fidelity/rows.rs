//! Rows of the grid benches and the columns of their tidy files. What a field means is
//! said by its column.

use harness_core::{
    layer::Depth, measure::Measure, record::Status, sae_id::SaeId, stats::Estimate,
};
use harness_present::{Column, optional};

use crate::columns::{OfSae, of_sae};

/// One value of a grid bench: a row of fidelity.csv or transfer.csv.
#[derive(Clone, Debug, PartialEq)]
pub struct GridRow {
    pub family: String,
    pub model: String,
    pub sae: SaeId,
    pub depth: Depth,
    pub measure: Measure,
    pub variant: String,
    pub estimate: Estimate,
    pub status: Status,
}

impl OfSae for GridRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

/// Columns of fidelity.csv, transfer.csv and transfer-rollouts.csv.
pub fn grid_columns() -> Vec<Column<GridRow>> {
    let mut columns = of_sae().to_vec();
    columns.extend([
        Column::key("metric", "what is measured, see below", |r: &GridRow| {
            r.measure.name.to_owned()
        }),
        Column::key("variant", "how it is defined, see below", |r| r.variant.clone()),
        Column::value(
            "value",
            "of the metric",
            "empty where it is undefined or not there",
            |r| optional(r.estimate.value),
        ),
        Column::value(
            "std_err",
            "as the value",
            "by bootstrap over rows of text (documents, prompts), in at most 64 units a shard; clean \
             and spliced losses are drawn together, so that errors of differences are paired",
            |r| optional(r.estimate.std_err),
        ),
        Column::value(
            "n",
            "count",
            "counted tokens of a loss, tokens of the SAE's policy of an EV",
            |r| optional(r.estimate.n),
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
