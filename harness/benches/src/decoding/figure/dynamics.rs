//! Figures 4, 5 and 11: the feature dynamics of decoding orders, as heat maps and as curves.

use harness_core::{dynamics::Metric, record::Status, twins::Twins};
use harness_present::figure::{
    Axis, Dash, Figure, HeatMap, Marks, Panel, PanelSize, Point, Series, YRange,
};

use super::super::rows::DynamicsRow;

/// Heat maps side by side.
const MAPS: usize = 3;
/// Width of a heat map, pixels: about the first, and a whole number of pixels a step up to the
/// second.
const MAP_WIDTH: (f64, f64) = (256.0, 320.0);
/// Height of a layer in a heat map, and of heat maps of few and of many layers, pixels.
const LAYER_HEIGHT: f64 = 20.0;
const MAP_HEIGHT: (f64, f64) = (60.0, 240.0);
/// Size of a panel of curves, pixels.
const CURVE_PANEL: PanelSize = PanelSize {
    width: 300.0,
    height: 170.0,
};
/// Colours that lines can have; further lines are dashed.
const PALETTE: usize = 7;

/// Texts of the figures of decoding orders, and what their rows run over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DynamicsOptions {
    /// Title; heat maps add their metric to it.
    pub title: String,
    /// Printed after what the figure says about itself; may be empty. Tiny models are to be named
    /// as such here.
    pub caption: String,
    /// What `at` and `progress` of the rows are.
    pub across: Across,
}

/// What rows run over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Across {
    /// Denoising steps.
    #[default]
    Steps,
    /// Places in the generated text.
    Positions,
}

/// How a metric is named.
struct Named {
    metric: Metric,
    /// Above its picture.
    title: &'static str,
    /// Beside the colours.
    full: &'static str,
    /// Beside an axis.
    unit: &'static str,
    /// In the caption.
    meaning: &'static str,
}

/// The metrics of `harness_core::dynamics` that are drawn, in this order.
const METRICS: [Named; 4] = [
    Named {
        metric: Metric::JaccardPre,
        title: "Stability of masked positions",
        full: "Jaccard index of feature sets, still-masked positions (0 to 1)",
        unit: "Jaccard index",
        meaning: "Jaccard index of a position's strongest features at a step and at the step before, over positions masked at both (Eq. 20)",
    },
    Named {
        metric: Metric::DriftPost,
        title: "Drift of decoded positions",
        full: "1 − Jaccard index of feature sets, decoded positions (0 to 1)",
        unit: "1 − Jaccard index",
        meaning: "1 − Jaccard index of a position's strongest features at a step and at the step before, over positions decoded earlier (Eq. 21)",
    },
    Named {
        metric: Metric::LockRate,
        title: "Lock rate",
        full: "Still-masked positions whose strongest feature stays (share)",
        unit: "share of positions",
        meaning: "share of positions, masked at a step and at the step before, whose strongest feature is the same at both (Eq. 23)",
    },
    Named {
        metric: Metric::FlipCount,
        title: "Flips",
        full: "Decoded positions whose strongest feature changes (positions per prompt)",
        unit: "positions per prompt",
        meaning: "decoded positions whose strongest feature is another one than at the step before, for each prompt (Eq. 24)",
    },
];

/// One figure of heat maps for each metric that rows have, with the metric as the suffix of its
/// name: layers upwards, the deepest on top, and steps (or positions) across from 0, a panel for
/// each order. Orders of several models stand below each other.
///
/// Rows with a layer and a place are shown. Orders and models keep the order of their first row,
/// layers are sorted. All panels of a figure have one scale of colours, from the smallest to the
/// largest value of that metric. What has no value, or no row, is hatched and takes no part in
/// that.
pub fn dynamics_heatmaps(rows: &[DynamicsRow], options: &DynamicsOptions) -> Vec<(String, Figure)> {
    METRICS
        .iter()
        .filter_map(|named| {
            let rows: Vec<&DynamicsRow> = rows
                .iter()
                .filter(|row| row.metric == named.metric && row.layer.is_some())
                .collect();
            (!rows.is_empty())
                .then(|| (named.metric.name().to_owned(), maps(&rows, named, options)))
        })
        .collect()
}

fn maps(rows: &[&DynamicsRow], named: &Named, options: &DynamicsOptions) -> Figure {
    let orders = names(rows.iter().map(|row| &*row.order));
    let models = names(rows.iter().map(|row| &*row.model));
    // As many as fit, spread evenly: four are two and two.
    let lines = orders.len().div_ceil(MAPS).max(1);
    let columns = orders.len().div_ceil(lines).max(1);
    let mut panels = Vec::new();
    let mut row_titles = Vec::new();
    for model in &models {
        let of_model: Vec<&DynamicsRow> = rows
            .iter()
            .filter(|row| row.model == *model)
            .copied()
            .collect();
        for order in &orders {
            panels.push(map(&of_model, order, options.across));
        }
        let mut nothing = || {
            panels.push(Panel {
                marks: Marks::Nothing,
                ..Panel::default()
            });
        };
        (orders.len()..lines * columns).for_each(|_| nothing());
        let title = match models.len() {
            1 => "",
            _ => model,
        };
        row_titles.push(title.to_owned());
        row_titles.resize(row_titles.len() + lines - 1, String::new());
    }
    let sizes = panels.iter().filter_map(|panel| match &panel.marks {
        Marks::Cells(map) => Some((map.columns(), map.rows.len())),
        _ => None,
    });
    let (steps, layers) = sizes.fold((0, 0), |(a, b), (c, d)| (a.max(c), b.max(d)));
    let (before, across) = match options.across {
        Across::Steps => (
            "a step without one before it or without such positions",
            "denoising step",
        ),
        Across::Positions => (
            "a place without such positions",
            "place in the generated text (over all steps)",
        ),
    };
    Figure {
        title: match options.title.as_str() {
            "" => named.title.to_owned(),
            title => format!("{title}: {}", named.title.to_lowercase()),
        },
        caption: caption(&[
            &format!(
                "{}; over all prompts, for each layer and {across}, both counted from 0.",
                sentence(named.meaning)
            ),
            "One scale of colours for all panels, from the smallest to the largest value.",
            &format!("Hatched: no value ({before}, or not measured)."),
            partial(rows.iter().map(|row| row.status)),
            &options.caption,
        ]),
        panels,
        columns,
        row_titles,
        y_range: YRange::PerRow,
        panel_size: PanelSize {
            width: map_width(steps),
            height: (LAYER_HEIGHT * layers as f64).clamp(MAP_HEIGHT.0, MAP_HEIGHT.1),
        },
        colour_label: named.full.to_owned(),
    }
}

/// Width of heat maps with this many columns: a whole number of pixels each, so that all look
/// equally wide.
fn map_width(columns: usize) -> f64 {
    let n = columns.max(1) as f64;
    if n > MAP_WIDTH.1 {
        return MAP_WIDTH.1;
    }
    n * (MAP_WIDTH.0 / n).floor().max(1.0)
}

/// The heat map of an order of one model.
fn map(rows: &[&DynamicsRow], order: &str, across: Across) -> Panel {
    let followed = |row: &DynamicsRow| Some((row.layer?, row.sae_id.clone().unwrap_or_default()));
    let mut saes: Vec<(u32, String)> = rows.iter().filter_map(|row| followed(row)).collect();
    saes.sort_unstable();
    saes.dedup();
    let twins = Twins::among(saes.iter().map(|(layer, id)| (*layer, id.as_str())));
    let columns = rows.iter().filter_map(|row| row.at).max();
    let columns = columns.map_or(0, |last| last as usize + 1);
    let mut cells = vec![vec![None; columns]; saes.len()];
    for row in rows.iter().filter(|row| row.order == order) {
        if let (Some(sae), Some(at)) = (followed(row), row.at) {
            let line = saes.partition_point(|other| *other < sae);
            cells[line][at as usize] = row.estimate.value.filter(|value| value.is_finite());
        }
    }
    Panel {
        title: order.to_owned(),
        x: Axis {
            label: match across {
                Across::Steps => "denoising step".into(),
                Across::Positions => "generated position".into(),
            },
            ..Axis::default()
        },
        y: Axis {
            label: "layer".into(),
            ticks: saes
                .iter()
                .enumerate()
                .map(|(i, (layer, id))| {
                    let twin = twins.name(layer, id);
                    let name = twin.map_or_else(String::new, |twin| format!(" {twin}"));
                    (i as f64, format!("{layer}{name}"))
                })
                .collect(),
            ..Axis::default()
        },
        marks: Marks::Cells(HeatMap { rows: cells }),
        ..Panel::default()
    }
}

/// Curves of means over the layers: a panel for each metric that rows have, a line for each order
/// with a band of one standard error.
///
/// Rows without a layer and with a progress are shown, which goes from 0 to 1. Models keep the
/// order of their first row. So do orders, among all of `rows`, and the place of an order is its
/// colour in every panel. A row without a number leaves a gap. Several models stand below each
/// other.
pub fn dynamics_curves(rows: &[DynamicsRow], options: &DynamicsOptions) -> Figure {
    // An order without curves keeps its place, so that the colours are those of the other pictures.
    let orders = names(rows.iter().map(|row| &*row.order));
    let rows: Vec<&DynamicsRow> = rows
        .iter()
        .filter(|row| row.layer.is_none() && row.progress.is_some_and(f64::is_finite))
        .collect();
    let models = names(rows.iter().map(|row| &*row.model));
    let has = |named: &&Named| rows.iter().any(|row| row.metric == named.metric);
    let metrics: Vec<&Named> = METRICS.iter().filter(has).collect();
    let columns = metrics.len().clamp(1, 2);
    let lines = metrics.len().div_ceil(columns);
    let mut panels = Vec::new();
    let mut row_titles = Vec::new();
    for model in &models {
        for named in &metrics {
            panels.push(curves(&rows, model, named, &orders, options.across));
        }
        let nothing = Panel {
            marks: Marks::Nothing,
            ..Panel::default()
        };
        panels.resize(panels.len().next_multiple_of(columns), nothing);
        let title = match models.len() {
            1 => "",
            _ => model,
        };
        row_titles.push(title.to_owned());
        row_titles.resize(row_titles.len() + lines.max(1) - 1, String::new());
    }
    let meanings = metrics
        .iter()
        .map(|named| format!("{}: {}.", named.title, named.meaning));
    let bands = match rows.iter().any(|row| row.estimate.std_err.is_some()) {
        true => "Bands: one standard error over prompts.",
        false => "",
    };
    let texts: Vec<String> =
        ["Over all prompts, mean over the layers, for each decoding order.".to_owned()]
            .into_iter()
            .chain(meanings)
            .chain([
                bands.to_owned(),
                partial(rows.iter().map(|row| row.status)).to_owned(),
                options.caption.clone(),
            ])
            .collect();
    Figure {
        title: options.title.clone(),
        caption: caption(&texts.iter().map(String::as_str).collect::<Vec<_>>()),
        panels,
        columns,
        row_titles,
        y_range: YRange::PerPanel,
        panel_size: CURVE_PANEL,
        colour_label: String::new(),
    }
}

/// The panel of one metric of one model.
fn curves(
    rows: &[&DynamicsRow],
    model: &str,
    named: &Named,
    orders: &[&str],
    across: Across,
) -> Panel {
    let series = orders.iter().enumerate().map(|(i, order)| {
        let mut points: Vec<Point> = rows
            .iter()
            .filter(|row| (&*row.model, row.metric, &*row.order) == (model, named.metric, *order))
            .filter_map(|row| Some(Point::with_error(row.progress?, row.estimate)))
            .collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        Series {
            label: (*order).to_owned(),
            group: String::new(),
            points,
            dash: match i / PALETTE % 3 {
                0 => Dash::Solid,
                1 => Dash::Dashed,
                _ => Dash::Dotted,
            },
            colour: i,
        }
    });
    let ticks = [0.0, 0.25, 0.5, 0.75, 1.0];
    Panel {
        title: named.title.to_owned(),
        x: Axis {
            label: match across {
                Across::Steps => "denoising progress (0 to 1)".into(),
                Across::Positions => "place in the text (0 to 1)".into(),
            },
            ticks: ticks.map(|value| (value, value.to_string())).to_vec(),
            ..Axis::default()
        },
        y: Axis {
            label: named.unit.to_owned(),
            ..Axis::default()
        },
        marks: Marks::Lines(series.filter(|line| !line.points.is_empty()).collect()),
        ..Panel::default()
    }
}

/// Names in the order of their first appearance.
pub(super) fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What is to be said where rows are not whole.
pub(super) fn partial(mut all: impl Iterator<Item = Status>) -> &'static str {
    match all.any(|status| status == Status::Partial) {
        true => "Some values are of fewer prompts, because others failed or were not run.",
        false => "",
    }
}

/// Sentences one after the other, empty ones left out.
pub(super) fn caption(sentences: &[&str]) -> String {
    let there: Vec<&str> = sentences
        .iter()
        .map(|text| text.trim())
        .filter(|text| !text.is_empty())
        .collect();
    there.join(" ")
}

/// `text` with a capital first letter.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(chars).collect()
}
