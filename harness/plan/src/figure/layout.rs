//! Where everything goes. Nothing here draws.

use super::{
    model::{Axis, Figure, Panel, Series, YRange},
    scale::Ruler,
};

/// Font sizes, pixels. Three panels side by side are some 650 pixels wide: on half a page (83 mm) the smallest text is then
/// 5.5 points high.
pub(super) const TITLE: f64 = 18.0;
/// Titles of panels and labels of axes.
pub(super) const LABEL: f64 = 16.0;
/// Ticks, legend and caption.
pub(super) const SMALL: f64 = 15.0;

/// Height of a line of text as a share of its font size.
const LEADING: f64 = 1.35;
/// The same within the title of a panel.
pub(super) const TIGHT: f64 = 1.15;
/// Free space around the figure, pixels.
pub(super) const EDGE: f64 = 10.0;
/// The coordinate system of a panel, pixels.
const PLOT: (f64, f64) = (178.0, 144.0);
/// Space between panels, pixels.
const GAP: f64 = 16.0;
/// Length of a tick and space after it, pixels.
pub(super) const TICK: f64 = 5.0;
/// Ticks asked for where none are named.
const N_TICKS: usize = 4;
/// Length of a legend entry's sample line, pixels.
pub(super) const SAMPLE: f64 = 30.0;
/// How much wider bold text is.
pub(super) const BOLD: f64 = 1.12;
/// Space between entries of the legend, and between groups.
const ENTRY_GAP: f64 = 14.0;
const GROUP_GAP: f64 = 26.0;

/// A rectangle, pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Area {
    /// Middle from left to right.
    pub fn centre(&self) -> f64 {
        0.5 * (self.left + self.right)
    }

    /// Middle from top to bottom.
    pub fn middle(&self) -> f64 {
        0.5 * (self.top + self.bottom)
    }
}

/// A panel with its place and its axes.
pub(super) struct Placed<'a> {
    pub panel: &'a Panel,
    /// Lines of its title, the last of them next to the plot.
    pub title: Vec<String>,
    pub plot: Area,
    pub x: Ruler,
    pub y: Ruler,
    /// Whether the x axis is named; one panel of a column does it where all have the same name.
    pub names_x: bool,
    /// Left end of the y axis's name, where it is shown.
    pub y_name_at: Option<f64>,
    /// Whether the y ticks are labelled.
    pub labels_y: bool,
}

/// An entry of the legend.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    /// The heading of a group.
    Heading(&'a str),
    /// A line and its name.
    Line(&'a Series),
}

/// A figure with everything in its place.
pub(super) struct Layout<'a> {
    pub width: f64,
    pub height: f64,
    /// Lines of the title with the heights of their middles.
    pub title: Vec<(String, f64)>,
    /// Entries of the legend with their left ends and the heights of their middles.
    pub legend: Vec<(Entry<'a>, f64, f64)>,
    /// Titles of rows with the heights of their middles.
    pub row_titles: Vec<(&'a str, f64)>,
    pub panels: Vec<Placed<'a>>,
    /// Lines of the caption with the heights of their middles.
    pub caption: Vec<(String, f64)>,
}

/// Width of `text` at `size`, pixels. It is an estimate on the wide side: the font is the viewer's choice.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let em: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '!' | '\'' => 0.32,
            'f' | 't' | 'r' | ' ' | '(' | ')' | '[' | ']' | '/' | '-' => 0.38,
            'm' | 'w' | 'M' | 'W' | '@' | '%' | '→' | '−' => 0.95,
            c if c.is_uppercase() => 0.72,
            _ => 0.6,
        })
        .sum();
    em * size
}

/// Lines of at most `width` pixels; a longer word has a line of its own. Line breaks of the text are kept.
fn wrap(text: &str, size: f64, width: f64) -> Vec<String> {
    text.lines()
        .flat_map(|line| wrap_line(line, size, width))
        .collect()
}

fn wrap_line(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(word, size) + 0.4 * size <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn values(panel: &Panel) -> impl Iterator<Item = f64> {
    let points = panel.series.iter().flat_map(|series| &series.points);
    let values = points.flat_map(|point| [point.y, point.lo, point.hi]);
    values.flatten().chain(panel.zero_line.then_some(0.0))
}

impl<'a> Layout<'a> {
    /// Places the parts of `figure`, whose values all have a place on their axes.
    pub fn of(figure: &'a Figure) -> Self {
        let n = figure.panels.len();
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
            .map(|c| EDGE + margins[..=c].iter().sum::<f64>() + c as f64 * (PLOT.0 + GAP))
            .collect();
        let width = lefts[columns - 1] + PLOT.0 + GAP + EDGE;

        let mut y = EDGE;
        let lines = |text: &str, size: f64, y: &mut f64| -> Vec<(String, f64)> {
            wrap(text, size, width - 2.0 * EDGE)
                .into_iter()
                .map(|line| {
                    let middle = *y + 0.5 * size * LEADING;
                    *y += size * LEADING;
                    (line, middle)
                })
                .collect()
        };
        let title = lines(&figure.title, TITLE, &mut y);
        y += if title.is_empty() { 0.0 } else { 4.0 };
        let legend = legend(figure, width, &mut y);

        let mut panels = Vec::with_capacity(n);
        let mut row_titles = Vec::new();
        let mut rulers = rulers.into_iter();
        for row in 0..rows {
            let here = row * columns..n.min((row + 1) * columns);
            if let Some(title) = figure.row_titles.get(row).filter(|title| !title.is_empty()) {
                y += 4.0 + LABEL * LEADING;
                row_titles.push((title.as_str(), y - 0.5 * LABEL * LEADING));
            }
            let titles: Vec<Vec<String>> = here
                .clone()
                .map(|i| wrap(&figure.panels[i].title, BOLD * LABEL, PLOT.0 + GAP))
                .collect();
            let lines = titles.iter().map(Vec::len).max().unwrap_or(0);
            let top = y + 8.0 + lines as f64 * LABEL * TIGHT;
            let bottom = top + PLOT.1;
            let mut named = false;
            for (i, title) in here.zip(titles) {
                let Some((x, y_ruler)) = rulers.next() else {
                    continue;
                };
                let below = i + columns;
                let names_x = !figure.panels[i].x.label.is_empty()
                    && (below >= n || !same(i, below, |panel| &panel.x));
                named |= names_x;
                let left = lefts[i % columns];
                panels.push(Placed {
                    panel: &figure.panels[i],
                    title,
                    plot: Area {
                        left,
                        top,
                        right: left + PLOT.0,
                        bottom,
                    },
                    x,
                    y: y_ruler,
                    names_x,
                    y_name_at: names_y(i).then(|| left - margins[i % columns]),
                    labels_y: labels_y(i),
                });
            }
            y = bottom + TICK + SMALL * LEADING + if named { LABEL * LEADING } else { 0.0 };
        }
        y += if figure.caption.is_empty() { 0.0 } else { 8.0 };
        let caption = lines(&figure.caption, SMALL, &mut y);
        Self {
            width,
            height: y + EDGE,
            title,
            legend,
            row_titles,
            panels,
            caption,
        }
    }
}

/// The axes of every panel, with common y ranges where the figure wants them.
fn rulers(figure: &Figure, columns: usize) -> Vec<(Ruler, Ruler)> {
    let together = |i: usize, j: usize| match figure.y_range {
        YRange::PerPanel => i == j,
        YRange::PerRow => i / columns == j / columns,
        YRange::Shared => true,
    };
    let one = |(i, panel): (usize, &Panel)| {
        let points = panel.series.iter().flat_map(|series| &series.points);
        let x = Ruler::new(&panel.x, points.map(|point| point.x), N_TICKS);
        let others = figure.panels.iter().enumerate();
        let shared = others.filter(|(j, _)| together(i, *j));
        let all = shared.flat_map(|(_, panel)| values(panel));
        (x, Ruler::new(&panel.y, all, N_TICKS))
    };
    figure.panels.iter().enumerate().map(one).collect()
}

/// The legend's entries, each name once, group by group; `y` moves below them.
fn legend<'a>(figure: &'a Figure, width: f64, y: &mut f64) -> Vec<(Entry<'a>, f64, f64)> {
    let mut groups: Vec<(&str, Vec<&Series>)> = Vec::new();
    for series in figure.panels.iter().flat_map(|panel| &panel.series) {
        let group = match groups.iter_mut().find(|(name, _)| *name == series.group) {
            Some((_, group)) => group,
            None => {
                groups.push((&series.group, Vec::new()));
                let Some((_, group)) = groups.last_mut() else {
                    continue;
                };
                group
            }
        };
        if !group.iter().any(|known| known.label == series.label) {
            group.push(series);
        }
    }
    if groups
        .iter()
        .all(|(_, group)| group.iter().all(|s| s.label.is_empty()))
    {
        return Vec::new();
    }
    let line = SMALL * LEADING + 3.0;
    let mut placed = Vec::new();
    let mut x = EDGE;
    for (name, group) in groups {
        let heading = match name {
            "" => 0.0,
            name => BOLD * text_width(name, SMALL) + 12.0,
        };
        let entry = |series: &Series| SAMPLE + 6.0 + text_width(&series.label, SMALL) + ENTRY_GAP;
        let whole = heading + group.iter().map(|s| entry(s)).sum::<f64>() - ENTRY_GAP;
        if x > EDGE && x + whole > width - EDGE {
            (x, *y) = (EDGE, *y + line);
        }
        if !name.is_empty() {
            placed.push((Entry::Heading(name), x, *y + 0.5 * line));
            x += heading;
        }
        for series in group {
            if x > EDGE && x + entry(series) - ENTRY_GAP > width - EDGE {
                (x, *y) = (EDGE, *y + line);
            }
            placed.push((Entry::Line(series), x, *y + 0.5 * line));
            x += entry(series);
        }
        x += GROUP_GAP - ENTRY_GAP;
    }
    *y += line + 2.0;
    placed
}
