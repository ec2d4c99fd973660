//! Figures 6 and 12: SAEs of two models in one of them, measured in several ways.

use std::collections::BTreeSet;

use harness_core::twins::Twins;

use harness_present::figure::{Axis, Dash, Figure, Marks, Panel, Series, YRange};

use super::{
    super::rows::GridRow,
    grid::{bands, depths, place},
};
use crate::over_k::{budget_axis, not_drawn, point, styles};

/// A row of panels: one value for each SAE of every source.
#[derive(Clone, Debug, PartialEq)]
pub struct TransferPart<'a> {
    /// Printed above the row.
    pub title: String,
    /// Name of the y axis, with its unit.
    pub y_label: String,
    /// Whether y = 0 is marked, as it should be for differences.
    pub zero_line: bool,
    /// The values, as [`super::measured`] gives them.
    pub rows: Vec<&'a GridRow>,
}

/// One line for each layer and source over k; panels by depth (across) and part (down). Layers
/// differ in colour, sources in dashes, so that the SAEs of both sources can be compared within a
/// panel.
///
/// Sources keep the order of the rows. A row without a number leaves a gap.
pub fn transfer_figure(parts: &[TransferPart<'_>], title: &str, caption: &str) -> Figure {
    let all = parts.iter().flat_map(|part| part.rows.clone());
    let (all, without_k): (Vec<&GridRow>, Vec<_>) = all.partition(|row| row.sae.k.is_some());
    let twins = Twins::among(all.iter().map(|row| (place(row), &*row.sae.id)));
    let tag = |row: &GridRow| twins.name(&place(row), &row.sae.id);
    let mut sources: Vec<&str> = Vec::new();
    for row in &all {
        if !sources.contains(&row.sae.set.as_str()) {
            sources.push(&row.sae.set);
        }
    }
    let depths = depths(&all);
    let layers = styles(all.iter().map(|row| (row.sae.layer, row.depth, tag(row))));
    let x = budget_axis(all.iter().filter_map(|row| row.sae.k));
    let mut panels = Vec::with_capacity(parts.len() * depths.len());
    for (i, part) in parts.iter().enumerate() {
        for depth in &depths {
            let mut series = Vec::new();
            for (source, dash) in sources
                .iter()
                .zip([Dash::Solid, Dash::Dashed, Dash::Dotted].iter().cycle())
            {
                for style in layers.iter().filter(|style| style.depth == *depth) {
                    let rows = part.rows.iter().filter(|row| row.sae.set == *source);
                    series.push(Series {
                        points: rows
                            .filter(|row| style.is_of(row.sae.layer, row.depth, tag(row)))
                            .filter_map(|row| point(row.sae.k, row.estimate))
                            .collect(),
                        group: (*source).to_owned(),
                        dash: *dash,
                        ..style.series()
                    });
                }
            }
            series.retain(|series| !series.points.is_empty());
            panels.push(Panel {
                title: if i == 0 {
                    depth.to_string()
                } else {
                    String::new()
                },
                x: x.clone(),
                y: Axis {
                    label: part.y_label.clone(),
                    ..Axis::default()
                },
                zero_line: part.zero_line,
                marks: Marks::Lines(series),
                note: None,
            });
        }
    }
    Figure {
        title: title.to_owned(),
        caption: format!(
            "{caption}{}{}",
            bands(&all),
            not_drawn(
                without_k
                    .iter()
                    .map(|row| &row.sae.id)
                    .collect::<BTreeSet<_>>()
                    .len()
            )
        ),
        panels,
        columns: depths.len().max(1),
        row_titles: parts.iter().map(|part| part.title.clone()).collect(),
        y_range: YRange::PerRow,
        ..Figure::default()
    }
}
