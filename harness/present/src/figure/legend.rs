//! The legend: where its entries are, and how they look.

use plotters::style::{RGBColor, text_anchor::HPos};

use super::{
    canvas::{Canvas, Font, Place, colour},
    model::{Figure, FigureError, Fill, Marks, Series},
    pens::{LINE, bar, font},
    sizes::{Area, BOLD, EDGE, LEADING, SMALL},
    text::{shorten, text_width},
};

/// Length of a sample, pixels.
const SAMPLE: f64 = 30.0;
/// Space between a sample and its name, pixels.
const NAME_GAP: f64 = 6.0;
/// Space between entries, and between groups.
const ENTRY_GAP: f64 = 14.0;
const GROUP_GAP: f64 = 26.0;
/// Bars of every colour share an entry, which has none.
const NO_COLOUR: RGBColor = RGBColor(0x77, 0x77, 0x77);

/// An entry of the legend.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample<'a> {
    /// The heading of a group.
    Heading,
    Line(&'a Series),
    /// Bars of any colour.
    Bar(Fill),
}

/// An entry with its place.
#[derive(Debug)]
pub struct Entry<'a> {
    sample: Sample<'a>,
    /// Its name, cut where it is longer than the figure is wide.
    name: String,
    /// Left end and the height of its middle, pixels.
    at: Place,
}

/// The entries, each name once, group by group; `y` moves below them.
pub(super) fn place<'a>(figure: &'a Figure, width: f64, y: &mut f64) -> Vec<Entry<'a>> {
    let groups = groups(figure);
    let mut all = groups.iter().flat_map(|(_, group)| group);
    if all.all(|(_, name)| name.is_empty()) {
        return Vec::new();
    }
    let right = width - EDGE;
    let line = SMALL * LEADING + 3.0;
    let mut placed = Vec::new();
    let mut x = EDGE;
    for (heading, group) in groups {
        let heading = shorten(heading, BOLD * SMALL, right - EDGE);
        let beside = match heading.as_str() {
            "" => 0.0,
            heading => BOLD * text_width(heading, SMALL) + 12.0,
        };
        let group: Vec<(Sample<'_>, String)> = group
            .into_iter()
            .map(|(sample, name)| {
                (
                    sample,
                    shorten(name, SMALL, right - EDGE - SAMPLE - NAME_GAP),
                )
            })
            .collect();
        let entry = |name: &str| SAMPLE + NAME_GAP + text_width(name, SMALL) + ENTRY_GAP;
        let whole = beside + group.iter().map(|(_, name)| entry(name)).sum::<f64>() - ENTRY_GAP;
        if x > EDGE && x + whole > right {
            (x, *y) = (EDGE, *y + line);
        }
        if !heading.is_empty() {
            placed.push(Entry {
                sample: Sample::Heading,
                name: heading,
                at: (x, *y + 0.5 * line),
            });
            x += beside;
        }
        for (sample, name) in group {
            let wide = entry(&name);
            if x > EDGE && x + wide - ENTRY_GAP > right {
                (x, *y) = (EDGE, *y + line);
            }
            let at = (x, *y + 0.5 * line);
            placed.push(Entry { sample, name, at });
            x += wide;
        }
        x += GROUP_GAP - ENTRY_GAP;
    }
    *y += line + 2.0;
    placed
}

/// Headings with the samples under them and their names.
type Groups<'a> = Vec<(&'a str, Vec<(Sample<'a>, &'a str)>)>;

fn groups(figure: &Figure) -> Groups<'_> {
    let mut groups: Groups<'_> = Vec::new();
    let mut add = |heading, sample, name| {
        let entry = (sample, name);
        match groups.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, group)) if group.iter().any(|(_, known)| *known == name) => {}
            Some((_, group)) => group.push(entry),
            None => groups.push((heading, vec![entry])),
        }
    };
    for panel in &figure.panels {
        for series in panel.series() {
            add(&*series.group, Sample::Line(series), &*series.label);
        }
        if let Marks::Bars(groups) = &panel.marks {
            for bar in groups.iter().flat_map(|group| &group.bars) {
                add("", Sample::Bar(bar.fill), &bar.label);
            }
        }
    }
    groups
}

/// Draws the entries.
///
/// # Errors
/// [`FigureError::Drawing`].
pub(super) fn draw(canvas: &Canvas<'_>, entries: &[Entry<'_>]) -> Result<(), FigureError> {
    for Entry { sample, name, at } in entries {
        let (x, y) = *at;
        match sample {
            Sample::Heading => {
                let bold = Font {
                    bold: true,
                    ..font(SMALL, HPos::Left)
                };
                canvas.text(name, *at, bold)?;
                continue;
            }
            Sample::Line(series) => {
                let ends = [(x, y), (x + SAMPLE, y)];
                canvas.line(&ends, LINE, colour(series.colour), series.dash)?;
                canvas.marker((x + 0.5 * SAMPLE, y), series.colour)?;
            }
            Sample::Bar(fill) => {
                let area = Area {
                    left: x + 0.2 * SAMPLE,
                    top: y - 0.35 * SMALL,
                    right: x + 0.8 * SAMPLE,
                    bottom: y + 0.35 * SMALL,
                };
                bar(canvas, area, NO_COLOUR, *fill)?;
            }
        }
        let beside = (x + SAMPLE + NAME_GAP, y);
        canvas.text(name, beside, font(SMALL, HPos::Left))?;
    }
    Ok(())
}
