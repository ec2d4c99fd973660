//! Figures of the decoding-order bench.

mod accuracy;
mod dynamics;
#[cfg(test)]
mod tests_accuracy;
#[cfg(test)]
mod tests_dynamics;

pub use accuracy::accuracy_bars;
pub use dynamics::{Across, DynamicsOptions, dynamics_curves, dynamics_heatmaps};

use harness_plan::{
    bench::{Profile, ViewSpec},
    expand::{Plan, PlannedRow},
};
use harness_present::figure::Figure;

use super::{DecodingTables, DecodingWork, rows::DynamicsRow, settings::ORDERS, views::VIEWS};

/// The figures of the bench, and the parts of them that its views show.
pub fn figures(plan: &Plan, tables: &DecodingTables) -> Vec<(String, Figure)> {
    let mut figures = match plan.table.name() {
        ORDERS => orders(plan, tables, &plan.bench),
        _ => Vec::new(),
    };
    let views = plan.views.iter();
    figures.extend(views.flat_map(|view| part_of_orders(view, plan, tables)));
    figures
}

/// Heat maps of every metric, curves, accuracies.
fn orders(plan: &Plan, tables: &DecodingTables, name: &str) -> Vec<(String, Figure)> {
    let options = |across| dynamics_options(plan, &plan.title, across);
    let maps = |rows: &[DynamicsRow], infix: &str, across| -> Vec<(String, Figure)> {
        dynamics_heatmaps(rows, &options(across))
            .into_iter()
            .map(|(metric, figure)| (format!("{name}{infix}_{metric}"), figure))
            .collect()
    };
    let mut figures = maps(&tables.steps, "", Across::Steps);
    figures.extend(maps(&tables.positions, "_by_position", Across::Positions));
    let curves = dynamics_curves(&tables.curves, &options(Across::Steps));
    figures.push((format!("{name}_curves"), curves));
    let bars = accuracy_bars(
        &tables.accuracy,
        "Right answers by decoding order",
        &caption(plan),
    );
    figures.push(("accuracy".to_owned(), bars));
    figures
}

/// The heat maps and curves that a figure shows: with one metric the figure's name is that of the
/// heat map.
fn part_of_orders(view: &ViewSpec, plan: &Plan, tables: &DecodingTables) -> Vec<(String, Figure)> {
    let shown = |rows: &[DynamicsRow]| -> Vec<DynamicsRow> {
        (rows.iter().filter(|row| is_shown(view, row)).cloned()).collect()
    };
    let options = dynamics_options(plan, &view.title, Across::Steps);
    let maps = dynamics_heatmaps(&shown(&tables.steps), &options);
    let is_one = maps.len() == 1;
    let mut figures: Vec<(String, Figure)> = maps
        .into_iter()
        .map(|(metric, figure)| match is_one {
            true => {
                // The figure's own title says which metric it is.
                let title = view.title.clone();
                (view.name.clone(), Figure { title, ..figure })
            }
            false => (format!("{}_{metric}", view.name), figure),
        })
        .collect();
    let curves = dynamics_curves(&shown(&tables.curves), &options);
    figures.push((format!("{}_curves", view.name), curves));
    figures
}

fn dynamics_options(plan: &Plan, title: &str, across: Across) -> DynamicsOptions {
    DynamicsOptions {
        title: title.to_owned(),
        caption: caption(plan),
        across,
    }
}

/// What a reader must know of the models and questions.
fn caption(plan: &Plan) -> String {
    let works = plan
        .rows
        .iter()
        .filter_map(PlannedRow::work::<DecodingWork>);
    let is_scaled = works.clone().any(|work| work.profile == Profile::Zoo);
    let set = works.map(|work| &work.settings).next();
    let how = set.map_or_else(String::new, |set| {
        format!(
            "Sets of the {} most active latents; {} steps for {} tokens.",
            set.k_set, set.dlm_steps, set.max_new_tokens
        )
    });
    match is_scaled {
        true => format!(
            "{how} A tiny model with questions of its own: no number here says anything about a public model."
        ),
        false => how,
    }
}

/// Whether a figure of the bench shows a row.
pub fn is_shown(view: &ViewSpec, row: &DynamicsRow) -> bool {
    let of = VIEWS.iter().filter(|of| of.table == view.table.name());
    let mut metrics = of.flat_map(|of| of.metrics);
    metrics.any(|metric| *metric == row.metric) && view.rows.iter().any(|id| id.model == row.model)
}
