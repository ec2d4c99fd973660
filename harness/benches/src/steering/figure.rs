//! Figures 9 and 10: the three steering scores over k.

use harness_core::{stats::Estimate, twins::Twins};

use harness_present::figure::{Axis, Figure, Marks, Panel, Series, YRange};

use super::rows::SteeringRow;
use crate::over_k::{budget_axis, not_drawn, point, styles};

/// The label of a score, and where a row has it.
type Score = (&'static str, fn(&SteeringRow) -> Estimate);

/// Rows of panels: the scores.
const SCORES: [Score; 3] = [
    ("C (points / 100)", |row| row.numbers.concept_improvement),
    ("P (share)", |row| row.numbers.perplexity_reduction),
    ("S (C + 0.3 P)", |row| row.numbers.steering_score),
];

/// One line for each layer over k; panels by score (down) and SAE set (across), with bands of one
/// standard error.
///
/// SAE sets and layers keep the order of `rows`. A row without a number leaves a gap.
pub fn steering_figure(rows: &[SteeringRow], title: &str) -> Figure {
    let (rows, without_k): (Vec<&SteeringRow>, Vec<_>) =
        rows.iter().partition(|row| row.sae.k.is_some());
    let place = |row: &&SteeringRow| (row.sae.set.clone(), row.sae.layer, row.sae.k);
    let twins = Twins::among(rows.iter().map(|row| (place(row), &*row.sae.id)));
    let tag = |row: &&SteeringRow| twins.name(&place(row), &row.sae.id);
    let mut sets: Vec<&str> = Vec::new();
    for row in &rows {
        if !sets.contains(&row.sae.set.as_str()) {
            sets.push(&row.sae.set);
        }
    }
    let layers = styles(rows.iter().map(|row| (row.sae.layer, row.depth, tag(row))));
    let x = budget_axis(rows.iter().filter_map(|row| row.sae.k));
    let panel = |(i, (label, of)): (usize, &Score), set: &&str| {
        let series = layers.iter().map(|style| Series {
            points: rows
                .iter()
                .filter(|row| {
                    row.sae.set == *set && style.is_of(row.sae.layer, row.depth, tag(row))
                })
                .filter_map(|row| point(row.sae.k, of(row)))
                .collect(),
            ..style.series()
        });
        Panel {
            title: if i == 0 {
                (*set).to_owned()
            } else {
                String::new()
            },
            x: x.clone(),
            y: Axis {
                label: (*label).to_owned(),
                ..Axis::default()
            },
            zero_line: true,
            marks: Marks::Lines(series.filter(|series| !series.points.is_empty()).collect()),
            note: None,
        }
    };
    let scores = SCORES.iter().enumerate();
    Figure {
        title: title.to_owned(),
        caption: format!(
            "Concept improvement C (judge points / 100), perplexity reduction P (share of the unsteered perplexity) and their sum S, \
                  for each layer (L) over the active budget k of the SAE. Bands: one standard error over features.{}",
            not_drawn(without_k.len())
        ),
        panels: scores
            .flat_map(|score| sets.iter().map(move |set| (score, set)))
            .map(|(score, set)| panel(score, set))
            .collect(),
        columns: sets.len().max(1),
        row_titles: Vec::new(),
        y_range: YRange::PerRow,
        ..Figure::default()
    }
}
