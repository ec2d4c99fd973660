//! Scores of explanations over k.

use harness_core::{layer::Depth, twins::Twins};
use harness_present::figure::{Axis, Figure, Marks, Panel, Series, YRange};

use super::rows::AutointerpRow;
use crate::over_k::{budget_axis, not_drawn, point, styles};

/// One line for each layer over k, a panel for each SAE set in a model, with bands of one standard
/// error over latents.
///
/// `rows` come with the third of the layers they are in. A row without a score leaves a gap.
pub fn autointerp_figure(rows: &[(&AutointerpRow, Depth)], title: &str) -> Figure {
    let (rows, without_k): (Vec<&(&AutointerpRow, Depth)>, Vec<_>) =
        rows.iter().partition(|(row, _)| row.sae.k.is_some());
    let place = |row: &AutointerpRow| {
        (
            row.model.clone(),
            row.sae.set.clone(),
            row.sae.layer,
            row.sae.k,
        )
    };
    let twins = Twins::among(rows.iter().map(|(row, _)| (place(row), &*row.sae.id)));
    let tag = |row: &AutointerpRow| twins.name(&place(row), &row.sae.id);
    let mut sets: Vec<(&str, &str)> = Vec::new();
    for (row, _) in &rows {
        let id = (row.model.as_str(), row.sae.set.as_str());
        if !sets.contains(&id) {
            sets.push(id);
        }
    }
    let layers = styles(
        rows.iter()
            .map(|(row, depth)| (row.sae.layer, *depth, tag(row))),
    );
    let x = budget_axis(rows.iter().filter_map(|(row, _)| row.sae.k));
    let panel = |(model, sae): &(&str, &str)| {
        let series = layers.iter().map(|style| Series {
            points: rows
                .iter()
                .filter(|(row, depth)| {
                    (row.model.as_str(), row.sae.set.as_str()) == (*model, *sae)
                        && style.is_of(row.sae.layer, *depth, tag(row))
                })
                .filter_map(|(row, _)| point(row.sae.k, row.score))
                .collect(),
            ..style.series()
        });
        Panel {
            title: (*sae).to_owned(),
            x: x.clone(),
            y: Axis {
                label: "autointerp score".to_owned(),
                ..Axis::default()
            },
            zero_line: false,
            marks: Marks::Lines(series.filter(|series| !series.points.is_empty()).collect()),
            note: None,
        }
    };
    let judge = rows
        .iter()
        .map(|(row, _)| row.judge.as_str())
        .find(|judge| !judge.is_empty());
    Figure {
        title: title.to_owned(),
        caption: format!(
            "Share of windows predicted rightly from a latent's explanation, mean over latents, for each layer (L) over the active budget k \
             of the SAE; judge {}. Bands: one standard error over latents.{}",
            judge.unwrap_or("not known yet"),
            not_drawn(without_k.len())
        ),
        panels: sets.iter().map(panel).collect(),
        columns: sets.len().clamp(1, 3),
        row_titles: Vec::new(),
        y_range: YRange::Shared,
        ..Figure::default()
    }
}
