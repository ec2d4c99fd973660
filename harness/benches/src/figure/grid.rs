//! Figures of the grid benches: one metric of many SAEs over k.

use harness_core::{layer::Depth, record::GridRow, twins::Twins};
use harness_present::figure::{Axis, Dash, Figure, Marks, Panel, Point, Scale, Series, YRange};

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

/// The rows with a metric. Of the variants the first is taken that a model's SAE set has at all: the paper's scale is
/// weighted for diffusion models and plain for the others.
pub fn measured<'a>(rows: &[&'a GridRow], metric: &str, variants: &[&str]) -> Vec<&'a GridRow> {
    let of_metric = || rows.iter().filter(|row| row.metric == metric);
    let has = |row: &GridRow, variant: &str| {
        of_metric().any(|other| {
            (&other.model, &other.sae) == (&row.model, &row.sae) && other.variant == variant
        })
    };
    of_metric()
        .filter(|row| {
            let first = variants.iter().find(|variant| has(row, variant));
            first.is_some_and(|first| *first == row.variant)
        })
        .copied()
        .collect()
}

/// One line for each layer over k; panels by depth (across) and SAE set (down), with bands of one standard error.
///
/// `rows` hold one value for each SAE, as [`measured`] gives them. SAE sets keep the order of `rows`, layers are sorted. A row
/// without a number leaves a gap. Without rows the figure has no panels, and rendering it says so.
pub fn grid_figure(rows: &[&GridRow], options: &GridOptions) -> Figure {
    let (rows, without_k): (Vec<&GridRow>, Vec<_>) = rows.iter().partition(|row| row.k.is_some());
    let rows = rows.as_slice();
    let twins = Twins::among(rows.iter().map(|row| (place(row), &*row.sae_id)));
    let tag = |row: &GridRow| twins.name(&place(row), &row.sae_id);
    let name = |row: &GridRow| match options.split {
        Split::Sae => row.sae.clone(),
        Split::SourceAndTarget => format!("{} → {}", row.sae, row.model),
    };
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        let name = name(row);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let depths = depths(rows);
    let layers = styles(rows.iter().map(|row| (row.layer, row.depth, tag(row))));
    let x = budget_axis(rows.iter().filter_map(|row| row.k));
    let panel = |set: &str, depth: Depth| {
        let series = layers.iter().filter(|style| style.depth == depth);
        let series = series.map(|style| Series {
            points: rows
                .iter()
                .filter(|row| name(row) == set && style.is_of(row.layer, row.depth, tag(row)))
                .filter_map(|row| point(row.k, row.value, row.std_err))
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
    (row.model.clone(), row.sae.clone(), row.layer, row.k)
}

/// The point of an SAE over its active budget; `None` where it has none.
pub(super) fn point(k: Option<u32>, value: Option<f64>, std_err: Option<f64>) -> Option<Point> {
    Some(Point::with_error(f64::from(k?), value, std_err))
}

/// What a reader must know of SAEs that have no place on the axis.
pub(super) fn not_drawn(n: usize) -> String {
    match n {
        0 => String::new(),
        1 => " One SAE has no k and is not drawn.".to_owned(),
        n => format!(" {n} SAEs have no k and are not drawn."),
    }
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
    if rows.iter().any(|row| row.std_err.is_some()) {
        " Bands: one standard error over rows of text."
    } else {
        ""
    }
}

/// How a layer is drawn, the same in every panel; SAEs that share layer and k are lines of their
/// own.
pub(super) struct Style {
    pub layer: u32,
    /// Its third.
    pub depth: Depth,
    /// What tells an SAE from others of its layer and k, where there are others.
    pub twin: Option<String>,
    /// Its place in the palette.
    colour: usize,
}

impl Style {
    /// Whether an SAE is drawn so.
    pub fn is_of(&self, layer: u32, depth: Depth, twin: Option<&str>) -> bool {
        (self.layer, self.depth, self.twin.as_deref()) == (layer, depth, twin)
    }

    /// A line of this layer, without points. Layers differ in colour and marker, depths in dashes.
    pub fn series(&self) -> Series {
        Series {
            label: match &self.twin {
                Some(twin) => format!("L{} {twin}", self.layer),
                None => format!("L{}", self.layer),
            },
            group: self.depth.to_string(),
            points: Vec::new(),
            dash: match self.depth {
                Depth::Shallow => Dash::Solid,
                Depth::Middle => Dash::Dashed,
                Depth::Deep => Dash::Dotted,
            },
            colour: self.colour,
        }
    }
}

/// A style for each layer at each of its depths (a layer can be in another third in another model), from the first to the last.
pub(super) fn styles<'a>(
    layers: impl Iterator<Item = (u32, Depth, Option<&'a str>)>,
) -> Vec<Style> {
    let mut layers: Vec<(u32, Depth, Option<&str>)> = layers.collect();
    layers.sort_unstable();
    layers.dedup();
    let mut numbers: Vec<u32> = layers.iter().map(|(layer, ..)| *layer).collect();
    numbers.dedup();
    layers
        .into_iter()
        .map(|(layer, depth, twin)| Style {
            layer,
            depth,
            twin: twin.map(str::to_owned),
            colour: numbers.partition_point(|number| *number < layer),
        })
        .collect()
}

/// A logarithmic axis of active budgets, each of them a tick.
pub(super) fn budget_axis(budgets: impl Iterator<Item = u32>) -> Axis {
    let mut budgets: Vec<u32> = budgets.collect();
    budgets.sort_unstable();
    budgets.dedup();
    Axis {
        label: "k (latents a token)".into(),
        ticks: budgets
            .iter()
            .map(|k| (f64::from(*k), k.to_string()))
            .collect(),
        scale: Scale::Log,
    }
}
