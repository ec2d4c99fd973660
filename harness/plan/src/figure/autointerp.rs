//! Scores of explanations over k.

use harness_core::{layer::Depth, record::AutointerpRow};

use super::{
    grid::{budget_axis, styles},
    model::{Axis, Figure, Marks, Panel, Point, Series, YRange},
};

/// One line for each layer over k, a panel for each SAE set in a model, with bands of one standard error over latents.
///
/// `rows` come with the third of the layers they are in. A row without a score leaves a gap.
pub fn autointerp_figure(rows: &[(&AutointerpRow, Depth)], title: &str) -> Figure {
    let mut sets: Vec<(&str, &str)> = Vec::new();
    for (row, _) in rows {
        let id = (row.model.as_str(), row.sae.as_str());
        if !sets.contains(&id) {
            sets.push(id);
        }
    }
    let layers = styles(rows.iter().map(|(row, depth)| (row.layer, *depth)));
    let x = budget_axis(rows.iter().map(|(row, _)| row.k));
    let panel = |(model, sae): &(&str, &str)| {
        let series = layers.iter().map(|style| Series {
            points: rows
                .iter()
                .filter(|(row, depth)| {
                    (row.model.as_str(), row.sae.as_str()) == (*model, *sae)
                        && (row.layer, *depth) == (style.layer, style.depth)
                })
                .map(|(row, _)| {
                    Point::with_error(f64::from(row.k), row.autointerp_score, row.std_err)
                })
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
             of the SAE; judge {}. Bands: one standard error over latents.",
            judge.unwrap_or("not known yet")
        ),
        panels: sets.iter().map(panel).collect(),
        columns: sets.len().clamp(1, 3),
        row_titles: Vec::new(),
        y_range: YRange::Shared,
        ..Figure::default()
    }
}
