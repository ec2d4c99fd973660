//! Fig. 6 and Fig. 12: SAEs of two models in one of them.

use crate::fidelity::settings::{ON_DOCUMENTS, ON_ROLLOUTS, TRANSFER as NAME};
use harness_core::{
    fidelity::{DELTA_LM_LOSS, EV_VAR},
    record::Status,
    sae_id::SaeId,
};
use harness_plan::{bench::ViewSpec, expand::PlannedRow};
use harness_present::{Column, csv_table, figure::Figure, optional};

use super::delta::DELTA;
use super::view::{LOSS, View, chosen, shown, value};
use crate::{
    columns::{OfSae, STATUS, of_sae, table},
    fidelity::{
        FidelityTables,
        figure::{TransferPart, measured, transfer_figure},
        values::SaeValues,
        work::GridWork,
    },
};

pub const VIEW: View = View {
    table: NAME,
    columns: || {
        table(
            &["fig6.csv", "fig12.csv"],
            "One row for each SAE.",
            &columns(),
        )
    },
    csv: |view, plan, tables| csv_table(&columns(), &transfer_rows(&chosen(view, plan), tables)),
    figures: |view, tables| vec![(view.name.clone(), figure(view, tables))],
};

const TRANSFER_CAPTION: &str = "SAEs of both models in one of them, for each layer (L) over the active budget k of the SAE: explained variance (Eq. 15) and \
                                loss difference (Eq. 16), masked tokens weighted by 1/t.";

struct TransferRow {
    /// The model that the SAE is put into.
    target: String,
    sae: SaeId,
    delta_lm: Option<f64>,
    ev: Option<f64>,
    rollout_delta_lm: Option<f64>,
    status: Status,
}

impl OfSae for TransferRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.target, &self.sae)
    }
}

fn columns() -> Vec<Column<TransferRow>> {
    let [target, source, id, layer, k] = of_sae();
    vec![
        Column {
            name: "target",
            meaning: "the model that the SAE is put into",
            ..target
        },
        Column {
            name: "sae_source",
            ..source
        },
        id,
        layer,
        k,
        Column::value("delta_lm", "nats", DELTA, |r: &TransferRow| {
            optional(r.delta_lm)
        }),
        Column::value("ev", "share", "explained variance (`ev_var`)", |r| {
            optional(r.ev)
        }),
        Column::value(
            "rollout_delta_lm",
            "nats",
            "the loss difference on continuations of prompts, where the figure has them",
            |r| optional(r.rollout_delta_lm),
        ),
        Column::value("status", "", STATUS, |r| r.status.to_string()),
    ]
}

fn figure(view: &ViewSpec, tables: &FidelityTables) -> Figure {
    let documents = shown(view, ON_DOCUMENTS, tables);
    let rollouts = shown(view, ON_ROLLOUTS, tables);
    let part = |title: &str, y_label: &str, zero_line, rows| TransferPart {
        title: title.into(),
        y_label: y_label.into(),
        zero_line,
        rows,
    };
    let mut parts = vec![
        part(
            "Explained variance on text",
            "EV (share)",
            false,
            measured(&documents, EV_VAR, &[EV_VAR.variant]),
        ),
        part(
            "Loss difference on text",
            "ΔL (nats)",
            true,
            measured(&documents, DELTA_LM_LOSS, &LOSS),
        ),
        part(
            "Loss difference on rollouts",
            "ΔL (nats)",
            true,
            measured(&rollouts, DELTA_LM_LOSS, &LOSS),
        ),
    ];
    parts.retain(|part| !part.rows.is_empty());
    transfer_figure(&parts, &view.title, TRANSFER_CAPTION)
}

/// One row for each SAE in a target, with its delta on rollouts where the figure has them.
fn transfer_rows(rows: &[(&PlannedRow, &GridWork)], tables: &FidelityTables) -> Vec<TransferRow> {
    let on = |kind| rows.iter().filter(move |(_, work)| work.kind == kind);
    let transfer_row = |(row, work): &(&PlannedRow, &GridWork)| {
        let values = SaeValues::of(row, work, tables);
        let rollouts = on(ON_ROLLOUTS)
            .find(|(r, _)| is_same(r, row))
            .map(|(r, w)| SaeValues::of(r, w, tables));
        let status = match &rollouts {
            Some(other) if other.status() != values.status() => match values.status() {
                Status::Ok | Status::Partial => Status::Partial,
                _ if matches!(other.status(), Status::Ok | Status::Partial) => Status::Partial,
                _ => Status::Failed,
            },
            _ => values.status(),
        };
        TransferRow {
            target: row.model.clone(),
            sae: row.sae.clone(),
            delta_lm: value(values.delta()),
            ev: value(values.ev()),
            rollout_delta_lm: value(rollouts.as_ref().and_then(SaeValues::delta)),
            status,
        }
    };
    on(ON_DOCUMENTS).map(transfer_row).collect()
}

/// Whether two rows are of one SAE in one model.
fn is_same(a: &PlannedRow, b: &PlannedRow) -> bool {
    (&a.model, &a.sae.set, &a.sae.id) == (&b.model, &b.sae.set, &b.sae.id)
}
