//! The figures of the grid benches: a file each. A figure has a CSV file with one row for each SAE
//! (PROTOCOL §9), and pictures.

mod delta;
mod ev;
mod transfer;
mod view;

use harness_plan::{bench::ViewSpec, expand::Plan};
use harness_present::figure::Figure;

use self::view::{View, loss_and_ev, losses};
use super::{
    FidelityTables,
    rows::GridRow,
    settings::{GRID_TABLE, ROLLOUTS_TABLE},
};

/// All figures.
pub const VIEWS: [View; 3] = [delta::VIEW, ev::VIEW, transfer::VIEW];

/// The file of a figure of a plan.
pub fn csv(view: &ViewSpec, plan: &Plan, tables: &FidelityTables) -> Option<String> {
    let of = VIEWS.iter().find(|of| of.table == view.table.name())?;
    Some((of.csv)(view, plan, tables))
}

/// The pictures of a grid bench, and those of its figures.
pub fn figures(plan: &Plan, tables: &FidelityTables) -> Vec<(String, Figure)> {
    let (name, title) = (plan.bench.as_str(), plan.title.as_str());
    let documents: Vec<&GridRow> = tables.grid.iter().collect();
    let rollouts: Vec<&GridRow> = tables.rollouts.iter().collect();
    let mut figures = match plan.table.name() {
        GRID_TABLE => loss_and_ev(&documents, name, title),
        ROLLOUTS_TABLE => vec![(name.to_owned(), losses(&rollouts, title))],
        _ => Vec::new(),
    };
    for view in &plan.views {
        let of = VIEWS.iter().filter(|of| of.table == view.table.name());
        figures.extend(of.flat_map(|of| (of.figures)(view, tables)));
    }
    figures
}
