//! Figures of the grid benches: one metric of many SAEs over k.

use harness_core::{layer::Depth, measure::Measure, twins::Twins};
use harness_present::figure::{Axis, Figure, Marks, Panel, Series, YRange};

use super::super::rows::GridRow;
use crate::over_k::{budget_axis, not_drawn, point, styles};

/// How the rows of a grid become panels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GridOptions {
    /// Title of the figure.
    pub title: String,
    /// Caption of the figure; the meaning of the bands is added to it.
    pub caption: String,
    /// Name of the y axis, with its unit.
    pub y_label: String,
    /// What panels above each other differ in.
    pub split: Split,
    /// Whether y = 0 is marked, as it should be for differences.
    pub zero_line: bool,
    /// Which panels have one y range.
    pub y_range: YRange,
}

/// What panels above each other differ in; those side by side differ in depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// The SAE set.
    #[default]
    Sae,
    /// The SAE set and the model it is put into, as `source → target`.
    SourceAndTarget,
}

/// The rows of a measure. Of the variants the first is taken that a model's SAE set has at all:
/// the paper's scale is weighted for diffusion models and plain for the others.
pub fn measured<'a>(rows: &[&'a GridRow], measure: Measure, variants: &[&str]) -> Vec<&'a GridRow> {
    let of_measure = || rows.iter().filter(|row| row.measure == measure);
    let has = |row: &GridRow, variant: &str| {
        of_measure().any(|other| {
            (&other.model, &other.sae.set) == (&row.model, &row.sae.set) && other.variant == variant
        })
    };
    of_measure()
        .filter(|row| {
            let first = variants.iter().find(|variant| has(row, variant));
            first.is_some_and(|first| *first == row.variant)
        })
        .copied()
        .collect()
}

/// One line for each layer over k; panels by depth (across) and SAE set (down), with bands of one
/// standard error.
///
/// `rows` hold one value for each SAE, as [`measured`] gives them. SAE sets keep the order of
/// `rows`, layers are sorted. A row without a number leaves a gap. Without rows the figure has no
/// panels, and rendering it says so.
pub fn grid_figure(rows: &[&GridRow], options: &GridOptions) -> Figure {
    let (rows, without_k): (Vec<&GridRow>, Vec<_>) =
        rows.iter().partition(|row| row.sae.k.is_some());
    let rows = rows.as_slice();
    let twins = Twins::among(rows.iter().map(|row| (place(row), &*row.sae.id)));
    let tag = |row: &GridRow| twins.name(&place(row), &row.sae.id);
    let name = |row: &GridRow| match options.split {
        Split::Sae => row.sae.set.clone(),
        Split::SourceAndTarget => format!("{} → {}", row.sae.set, row.model),
    };
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        let name = name(row);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let depths = depths(rows);
    let layers = styles(rows.iter().map(|row| (row.sae.layer, row.depth, tag(row))));
    let x = budget_axis(rows.iter().filter_map(|row| row.sae.k));
    let panel = |set: &str, depth: Depth| {
        let series = layers.iter().filter(|style| style.depth == depth);
        let series = series.map(|style| Series {
            points: rows
                .iter()
                .filter(|row| name(row) == set && style.is_of(row.sae.layer, row.depth, tag(row)))
                .filter_map(|row| point(row.sae.k, row.estimate))
                .collect(),
            ..style.series()
        });
        Panel {
            title: if names.first().is_some_and(|first| first == set) {
                depth.to_string()
            } else {
                String::new()
            },
            x: x.clone(),
            y: Axis {
                label: options.y_label.clone(),
                ..Axis::default()
            },
            zero_line: options.zero_line,
            marks: Marks::Lines(series.filter(|series| !series.points.is_empty()).collect()),
            note: None,
        }
    };
    Figure {
        title: options.title.clone(),
        caption: format!(
            "{}{}{}",
            options.caption,
            bands(rows),
            not_drawn(without_k.len())
        ),
        panels: names
            .iter()
            .flat_map(|set| depths.iter().map(|depth| panel(set, *depth)))
            .collect(),
        columns: depths.len().max(1),
        row_titles: names,
        y_range: options.y_range,
        ..Figure::default()
    }
}

/// What tells an SAE from others, its own name aside.
pub(super) fn place(row: &GridRow) -> (String, String, u32, Option<u32>) {
    (
        row.model.clone(),
        row.sae.set.clone(),
        row.sae.layer,
        row.sae.k,
    )
}

/// Depths there are, from shallow to deep.
pub(super) fn depths(rows: &[&GridRow]) -> Vec<Depth> {
    [Depth::Shallow, Depth::Middle, Depth::Deep]
        .into_iter()
        .filter(|depth| rows.iter().any(|row| row.depth == *depth))
        .collect()
}

/// What bands mean, where there are any.
pub(super) fn bands(rows: &[&GridRow]) -> &'static str {
    if rows.iter().any(|row| row.estimate.std_err.is_some()) {
        " Bands: one standard error over rows of text."
    } else {
        ""
    }
}
