//! Fig. 3 and Fig. 7: what splicing an SAE in costs.

use crate::fidelity::settings::{DELTA as NAME, ON_DOCUMENTS};
use harness_core::{record::Status, sae_id::SaeId};
use harness_plan::expand::PlannedRow;
use harness_present::{Column, csv_table, optional};

use super::view::{View, chosen, loss_and_ev, shown, value};
use crate::{
    columns::{OfSae, STATUS, of_sae, table},
    fidelity::{FidelityTables, values::SaeValues, work::GridWork},
};

pub const VIEW: View = View {
    table: NAME,
    columns: || {
        table(
            &["fig3.csv", "fig7.csv"],
            "One row for each SAE.",
            &columns(),
        )
    },
    csv: |view, plan, tables| {
        let rows = chosen(view, plan);
        let rows: Vec<DeltaRow> = rows.iter().map(|row| delta_row(row, tables)).collect();
        csv_table(&columns(), &rows)
    },
    figures: |view, tables| {
        loss_and_ev(&shown(view, ON_DOCUMENTS, tables), &view.name, &view.title)
    },
};

pub(super) const DELTA: &str =
    "loss difference with the splice at all positions, on the paper's scale";

struct DeltaRow {
    model: String,
    sae: SaeId,
    delta_lm: Option<f64>,
    clean: Option<f64>,
    spliced: Option<f64>,
    masked_tokens: Option<u64>,
    status: Status,
}

impl OfSae for DeltaRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

fn columns() -> Vec<Column<DeltaRow>> {
    let mut columns = of_sae().to_vec();
    columns.extend([
        Column::value("delta_lm", "nats", DELTA, |r: &DeltaRow| {
            optional(r.delta_lm)
        }),
        Column::value(
            "clean",
            "nats",
            "loss of the unmodified model, likewise",
            |r| optional(r.clean),
        ),
        Column::value("spliced", "nats", "loss with the splice, likewise", |r| {
            optional(r.spliced)
        }),
        Column::value(
            "masked_tokens",
            "count",
            "counted tokens; of autoregressive models the predicted ones",
            |r| optional(r.masked_tokens),
        ),
        Column::value("status", "", STATUS, |r| r.status.to_string()),
    ]);
    columns
}

fn delta_row((row, work): &(&PlannedRow, &GridWork), tables: &FidelityTables) -> DeltaRow {
    let values = SaeValues::of(row, work, tables);
    DeltaRow {
        model: row.model.clone(),
        sae: row.sae.clone(),
        delta_lm: value(values.delta()),
        clean: value(values.clean()),
        spliced: value(values.spliced()),
        masked_tokens: values.delta().and_then(|r| r.estimate.n),
        status: values.status(),
    }
}
