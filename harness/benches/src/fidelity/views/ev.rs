//! Fig. 8: how much of the residual SAEs explain.

use crate::fidelity::settings::{EV as NAME, ON_DOCUMENTS};
use harness_core::{record::Status, sae_id::SaeId};
use harness_plan::expand::PlannedRow;
use harness_present::{Column, csv_table, optional};

use super::view::{View, chosen, explained, shown, value};
use crate::{
    columns::{OfSae, STATUS, of_sae, table},
    fidelity::{FidelityTables, values::SaeValues, work::GridWork},
};

pub const VIEW: View = View {
    table: NAME,
    columns: || table(&["fig8.csv"], "One row for each SAE.", &columns()),
    csv: |view, plan, tables| {
        let rows = chosen(view, plan);
        let rows: Vec<EvRow> = rows.iter().map(|row| ev_row(row, tables)).collect();
        csv_table(&columns(), &rows)
    },
    figures: |view, tables| {
        let documents = shown(view, ON_DOCUMENTS, tables);
        vec![(view.name.clone(), explained(&documents, &view.title))]
    },
};

struct EvRow {
    model: String,
    sae: SaeId,
    ev: Option<f64>,
    status: Status,
}

impl OfSae for EvRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

fn columns() -> Vec<Column<EvRow>> {
    let mut columns = of_sae().to_vec();
    columns.extend([
        Column::value(
            "ev",
            "share",
            "explained variance (`ev_var`)",
            |r: &EvRow| optional(r.ev),
        ),
        Column::value("status", "", STATUS, |r| r.status.to_string()),
    ]);
    columns
}

fn ev_row((row, work): &(&PlannedRow, &GridWork), tables: &FidelityTables) -> EvRow {
    let values = SaeValues::of(row, work, tables);
    let ev = values.ev();
    EvRow {
        model: row.model.clone(),
        sae: row.sae.clone(),
        ev: value(ev),
        status: ev.map_or(Status::Missing, |r| r.status),
    }
}
