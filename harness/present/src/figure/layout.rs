//! Where everything goes. Nothing here draws.

use super::{
    colour_bar::{self, ColourBar},
    legend::{self, Entry},
    model::{Axis, Figure, Marks, Panel, YRange},
    scale::Ruler,
    sizes::{Area, BOLD, EDGE, LABEL, LEADING, SMALL, TICK, TIGHT, TITLE},
    text::{fit, shorten, text_width, wrap},
};

/// Space between panels, pixels.
const GAP: f64 = 16.0;
/// Lines that the title of a panel may have.
const TITLE_LINES: usize = 3;
/// Lines that the name of a group of bars may have.
const NAME_LINES: usize = 3;
/// Ticks asked for where none are named.
const N_TICKS: usize = 4;
/// The same for columns of cells.
const STEP_TICKS: usize = 5;
/// A panel with its place and its axes.
pub struct Placed<'a> {
    pub panel: &'a Panel,
    /// Lines of its title, the last of them next to the plot.
    pub title: Vec<String>,
    pub plot: Area,
    pub x: Ruler,
    pub y: Ruler,
    /// Names of groups of bars, in lines.
    pub names: Vec<Vec<String>>,
    /// Height of what stands between the x axis and its name, pixels.
    pub below: f64,
    /// Whether the x axis is named; one panel of a column does it where all have the same name.
    pub names_x: bool,
    /// Left end of the y axis's name, where it is shown.
    pub y_name_at: Option<f64>,
    /// Whether the y ticks are labelled.
    pub labels_y: bool,
}

impl Placed<'_> {
    /// Where a value of the x axis is, pixels from the left.
    pub fn across(&self, x: f64) -> f64 {
        self.plot.left + self.x.place(x) * (self.plot.right - self.plot.left)
    }

    /// Where a value of the y axis is, pixels from the top.
    pub fn upwards(&self, y: f64) -> f64 {
        self.plot.bottom - self.y.place(y) * (self.plot.bottom - self.plot.top)
    }
}

/// A figure with everything in its place.
pub struct Layout<'a> {
    pub width: f64,
    pub height: f64,
    /// Lines of the title with the heights of their middles.
    pub title: Vec<(String, f64)>,
    /// Entries of the legend.
    pub legend: Vec<Entry<'a>>,
    /// The scale of colours, where a panel needs it.
    pub colours: Option<ColourBar>,
    /// Titles of rows with the heights of their middles.
    pub row_titles: Vec<(String, f64)>,
    pub panels: Vec<Placed<'a>>,
    /// Lines of the caption with the heights of their middles.
    pub caption: Vec<(String, f64)>,
}

fn values(panel: &Panel) -> impl Iterator<Item = f64> {
    let points = panel.series().iter().flat_map(|series| &series.points);
    let values = points.flat_map(|point| [point.y, point.lo, point.hi]);
    values.flatten().chain(panel.zero_line.then_some(0.0))
}

impl<'a> Layout<'a> {
    /// Places the parts of `figure`, whose values all have a place on their axes.
    pub fn of(figure: &'a Figure) -> Self {
        let n = figure.panels.len();
        let plot = figure.panel_size;
        let columns = figure.columns.clamp(1, n.max(1));
        let rows = n.div_ceil(columns);
        let rulers = rulers(figure, columns);
        let labels_y = |i: usize| figure.y_range == YRange::PerPanel || i.is_multiple_of(columns);
        let same = |i: usize, j: usize, of: fn(&Panel) -> &Axis| {
            let label = |i: usize| figure.panels.get(i).map(|panel| &of(panel).label);
            label(i) == label(j)
        };
        let names_y = |i: usize| {
            !figure.panels[i].y.label.is_empty()
                && (i.is_multiple_of(columns) || !same(i, i - 1, |panel| &panel.y))
        };

        // Left margins of the columns: the widest tick label, and the name of the axis.
        let margins: Vec<f64> = (0..columns)
            .map(|column| {
                let panels = (column..n).step_by(columns);
                let ticks = panels.clone().filter(|i| labels_y(*i)).map(|i| {
                    let widths = rulers[i].1.ticks.iter();
                    widths
                        .map(|(_, text)| text_width(text, SMALL))
                        .fold(0.0, f64::max)
                        + TICK
                        + 3.0
                });
                let ticks = ticks.fold(TICK, f64::max);
                let name = if panels.clone().any(names_y) {
                    LABEL * LEADING + 2.0
                } else {
                    0.0
                };
                ticks + name
            })
            .collect();
        let lefts: Vec<f64> = (0..columns)
            .map(|c| EDGE + margins[..=c].iter().sum::<f64>() + c as f64 * (plot.width + GAP))
            .collect();
        let width = lefts[columns - 1] + plot.width + GAP + EDGE;

        let mut y = EDGE;
        let lines = |text: &str, size: f64, wider: f64, y: &mut f64| -> Vec<(String, f64)> {
            wrap(text, wider * size, width - 2.0 * EDGE)
                .into_iter()
                .map(|line| {
                    let middle = *y + 0.5 * size * LEADING;
                    *y += size * LEADING;
                    (line, middle)
                })
                .collect()
        };
        let title = lines(&figure.title, TITLE, BOLD, &mut y);
        y += if title.is_empty() { 0.0 } else { 4.0 };
        let legend = legend::place(figure, width, &mut y);
        let colours = colour_bar::place(figure, width, &mut y);

        let mut panels = Vec::with_capacity(n);
        let mut row_titles = Vec::new();
        let mut rulers = rulers.into_iter();
        for row in 0..rows {
            let here = row * columns..n.min((row + 1) * columns);
            if let Some(title) = figure.row_titles.get(row).filter(|title| !title.is_empty()) {
                y += 4.0 + LABEL * LEADING;
                let title = shorten(title, BOLD * LABEL, width - 2.0 * EDGE);
                row_titles.push((title, y - 0.5 * LABEL * LEADING));
            }
            let titles: Vec<Vec<String>> = here
                .clone()
                .map(|i| {
                    let title = &figure.panels[i].title;
                    fit(title, BOLD * LABEL, plot.width + GAP, TITLE_LINES)
                })
                .collect();
            let lines = titles.iter().map(Vec::len).max().unwrap_or(0);
            let top = y + 8.0 + lines as f64 * LABEL * TIGHT;
            let bottom = top + plot.height;
            let names: Vec<Vec<Vec<String>>> = here
                .clone()
                .map(|i| names(&figure.panels[i], plot.width))
                .collect();
            let most = names.iter().flatten().map(Vec::len).max().unwrap_or(1);
            let below = SMALL * LEADING + (most.max(1) - 1) as f64 * SMALL * TIGHT;
            let mut named = false;
            for (i, (title, names)) in here.zip(titles.into_iter().zip(names)) {
                let Some((x, y_ruler)) = rulers.next() else {
                    continue;
                };
                let next = i + columns;
                let names_x = !figure.panels[i].x.label.is_empty()
                    && (next >= n || !same(i, next, |panel| &panel.x));
                named |= names_x;
                let left = lefts[i % columns];
                panels.push(Placed {
                    panel: &figure.panels[i],
                    title,
                    plot: Area {
                        left,
                        top,
                        right: left + plot.width,
                        bottom,
                    },
                    x,
                    y: y_ruler,
                    names,
                    below,
                    names_x,
                    y_name_at: names_y(i).then(|| left - margins[i % columns]),
                    labels_y: labels_y(i),
                });
            }
            y = bottom + TICK + below + if named { LABEL * LEADING } else { 0.0 };
        }
        y += if figure.caption.is_empty() { 0.0 } else { 8.0 };
        let caption = lines(&figure.caption, SMALL, 1.0, &mut y);
        Self {
            width,
            height: y + EDGE,
            title,
            legend,
            colours,
            row_titles,
            panels,
            caption,
        }
    }
}

/// What bars and their whiskers reach.
fn heights(panel: &Panel) -> impl Iterator<Item = f64> {
    let groups: &[_] = match &panel.marks {
        Marks::Bars(groups) => groups,
        _ => &[],
    };
    let bars = groups.iter().flat_map(|group| &group.bars);
    bars.flat_map(|bar| [bar.value, bar.hi]).flatten()
}

/// Names of the groups of bars of a panel that is `width` pixels wide, in lines.
fn names(panel: &Panel, width: f64) -> Vec<Vec<String>> {
    let Marks::Bars(groups) = &panel.marks else {
        return Vec::new();
    };
    let wide = width / groups.len().max(1) as f64 - 4.0;
    let lines = |name: &str| fit(name, SMALL, wide, NAME_LINES);
    groups.iter().map(|group| lines(&group.name)).collect()
}

/// The axes of every panel, with common y ranges where the figure wants them.
fn rulers(figure: &Figure, columns: usize) -> Vec<(Ruler, Ruler)> {
    let together = |i: usize, j: usize| match figure.y_range {
        YRange::PerPanel => i == j,
        YRange::PerRow => i / columns == j / columns,
        YRange::Shared => true,
    };
    let one = |(i, panel): (usize, &Panel)| {
        let others = figure.panels.iter().enumerate();
        let shared = others.filter(|(j, _)| together(i, *j));
        let shared = shared.map(|(_, panel)| panel);
        match &panel.marks {
            Marks::Lines(_) | Marks::Nothing => {
                let points = panel.series().iter().flat_map(|series| &series.points);
                let x = Ruler::new(&panel.x, points.map(|point| point.x), N_TICKS);
                (x, Ruler::new(&panel.y, shared.flat_map(values), N_TICKS))
            }
            Marks::Cells(map) => (
                Ruler::places(&panel.x, map.columns(), STEP_TICKS),
                Ruler::places(&panel.y, map.rows.len(), map.rows.len()),
            ),
            Marks::Bars(groups) => (
                Ruler::places(&Axis::default(), groups.len(), 0),
                Ruler::from_zero(shared.flat_map(heights), N_TICKS),
            ),
        }
    };
    figure.panels.iter().enumerate().map(one).collect()
}
