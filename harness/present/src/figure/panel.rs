//! Draws one panel: axes, bands, lines, markers.

use plotters::style::{RGBColor, text_anchor::HPos};

use super::{
    bars,
    canvas::{Canvas, Font, Place, colour},
    colour_bar::edge,
    layout::Placed,
    model::{Dash, FigureError, Marks, Point, Series},
    pens::{GREY, INK, LINE, font},
    sizes::{LABEL, SMALL, TICK, TIGHT},
    text::text_width,
};

const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);
/// Lines whose bands can be told apart; those of more are fainter.
const FEW: usize = 3;
/// Markers of a line with many points, and the number of points from which on not every one has its
/// own.
const MARKED: usize = 8;
const MANY: usize = 24;
/// Space between labels of ticks, pixels.
const LABEL_GAP: f64 = 4.0;
/// Draws `placed` on `canvas`.
///
/// # Errors
/// [`FigureError::Drawing`].
pub(super) fn draw(canvas: &Canvas<'_>, placed: &Placed<'_>) -> Result<(), FigureError> {
    let empty = match &placed.panel.marks {
        Marks::Nothing => return Ok(()),
        Marks::Lines(series) => {
            axes(canvas, placed)?;
            lines(canvas, placed, series)?;
            let missing = |s: &Series| s.points.iter().all(|p| p.y.is_none());
            series.iter().all(missing)
        }
        // The cells themselves lie under everything, see `cells`.
        Marks::Cells(map) => {
            axes(canvas, placed)?;
            map.values().next().is_none()
        }
        Marks::Bars(groups) => {
            axes(canvas, placed)?;
            bars::draw(canvas, placed, groups)?;
            groups.iter().all(|group| group.bars.is_empty())
        }
    };
    let note = match (&placed.panel.note, empty) {
        (Some(note), _) => Some((note.as_str(), placed.plot.top + 0.8 * SMALL)),
        (None, true) => Some(("no values", placed.plot.middle())),
        (None, false) => None,
    };
    if let Some((note, y)) = note {
        let font = Font {
            colour: GREY,
            ..font(SMALL, HPos::Center)
        };
        canvas.text(note, (placed.plot.centre(), y), font)?;
    }
    Ok(())
}

fn lines(canvas: &Canvas<'_>, placed: &Placed<'_>, all: &[Series]) -> Result<(), FigureError> {
    let opacity = if all.len() > FEW { 0.10 } else { 0.18 };
    for series in all {
        for run in runs(&series.points, |p| {
            p.y.is_some() && p.lo.zip(p.hi).is_some()
        }) {
            let lower = run.iter().filter_map(|p| Some(at(placed, p.x, p.lo?)));
            let upper = run.iter().filter_map(|p| Some(at(placed, p.x, p.hi?)));
            let corners: Vec<Place> = upper.chain(lower.rev()).collect();
            match run {
                [point] => whisker(canvas, placed, point, series.colour)?,
                _ => canvas.band(&corners, colour(series.colour), opacity)?,
            }
        }
    }
    for series in all {
        let every = match series.points.len() {
            n if n > MANY => n.div_ceil(MARKED),
            _ => 1,
        };
        // Lines of different colours are marked at different places, so that markers do not hide
        // each other.
        let mut place = 3 * series.colour;
        for run in runs(&series.points, |p| p.y.is_some()) {
            let line: Vec<Place> = run
                .iter()
                .filter_map(|p| Some(at(placed, p.x, p.y?)))
                .collect();
            if line.len() > 1 {
                canvas.line(&line, LINE, colour(series.colour), series.dash)?;
            }
            for at in &line {
                if line.len() == 1 || place.is_multiple_of(every) {
                    canvas.marker(*at, series.colour)?;
                }
                place += 1;
            }
        }
    }
    Ok(())
}

/// Parts of a line without gaps.
fn runs(points: &[Point], there: fn(&Point) -> bool) -> impl Iterator<Item = &[Point]> {
    points
        .split(move |point| !there(point))
        .filter(|run| !run.is_empty())
}

fn at(placed: &Placed<'_>, x: f64, y: f64) -> Place {
    (placed.across(x), placed.upwards(y))
}

/// The error of a point without neighbours, which has no area.
fn whisker(
    canvas: &Canvas<'_>,
    placed: &Placed<'_>,
    point: &Point,
    palette: usize,
) -> Result<(), FigureError> {
    let Some((lo, hi)) = point.lo.zip(point.hi) else {
        return Ok(());
    };
    let ends = [at(placed, point.x, lo), at(placed, point.x, hi)];
    canvas.line(&ends, 1.0, colour(palette), Dash::Solid)
}

/// Labels of the x ticks with their places: the last, the first, and of the others those that touch
/// none. Those of cells stay within the plot, because the last column of a panel is close to the
/// first of the next.
fn labels<'a>(placed: &'a Placed<'_>) -> Vec<(f64, &'a str)> {
    let ticks = &placed.x.ticks;
    let has_cells = matches!(placed.panel.marks, Marks::Cells(_));
    let width = |label: &str| 0.5 * text_width(label, SMALL);
    let mut shown: Vec<(f64, &str)> = Vec::new();
    for (value, label) in ticks.last().into_iter().chain(ticks) {
        let mut x = placed.across(*value);
        if has_cells {
            x = x.min(placed.plot.right + LABEL_GAP - width(label));
        }
        let is_free = |(other, text): &(f64, &str)| {
            (x - other).abs() > width(label) + width(text) + LABEL_GAP
        };
        if shown.iter().all(is_free) {
            shown.push((x, label));
        }
    }
    shown
}

/// The ticks upwards. Rows of cells can be many; of those that are too close the upper one is
/// shown.
fn y_ticks<'a>(placed: &'a Placed<'_>) -> Vec<&'a (f64, String)> {
    let ticks = placed.y.ticks.iter();
    if !matches!(placed.panel.marks, Marks::Cells(_)) {
        return ticks.collect();
    }
    let mut free_from = f64::NEG_INFINITY;
    let is_free = |tick: &&(f64, String)| {
        let y = placed.upwards(tick.0);
        let is_free = y >= free_from;
        free_from = if is_free { y + 1.1 * SMALL } else { free_from };
        is_free
    };
    ticks.rev().filter(is_free).collect()
}

fn axes(canvas: &Canvas<'_>, placed: &Placed<'_>) -> Result<(), FigureError> {
    let (panel, plot) = (placed.panel, &placed.plot);
    let has_cells = matches!(panel.marks, Marks::Cells(_));
    for (value, label) in y_ticks(placed) {
        let y = placed.upwards(*value);
        if !has_cells {
            canvas.line(&[(plot.left, y), (plot.right, y)], 0.75, GRID, Dash::Solid)?;
        }
        canvas.line(
            &[(plot.left - TICK, y), (plot.left, y)],
            1.0,
            INK,
            Dash::Solid,
        )?;
        if placed.labels_y {
            let font = font(SMALL, HPos::Right);
            canvas.text(label, (plot.left - TICK - 3.0, y), font)?;
        }
    }
    let is_axis = !matches!(panel.marks, Marks::Bars(_));
    for (value, _) in placed.x.ticks.iter().filter(|_| is_axis) {
        let x = placed.across(*value);
        let ends = [(x, plot.bottom), (x, plot.bottom + TICK)];
        canvas.line(&ends, 1.0, INK, Dash::Solid)?;
    }
    for (x, label) in labels(placed).into_iter().filter(|_| is_axis) {
        let y = plot.bottom + TICK + 0.7 * SMALL;
        canvas.text(label, (x, y), font(SMALL, HPos::Center))?;
    }
    if panel.zero_line {
        let y = placed.upwards(0.0);
        canvas.line(&[(plot.left, y), (plot.right, y)], 1.2, GREY, Dash::Solid)?;
    }
    let frame = [
        (plot.left, plot.top),
        (plot.left, plot.bottom),
        (plot.right, plot.bottom),
    ];
    match has_cells {
        true => edge(canvas, plot)?,
        false => canvas.line(&frame, 1.0, INK, Dash::Solid)?,
    }
    for (i, line) in placed.title.iter().rev().enumerate() {
        let font = Font {
            bold: true,
            ..font(LABEL, HPos::Center)
        };
        let y = plot.top - (0.75 + i as f64 * TIGHT) * LABEL;
        canvas.text(line, (plot.centre(), y), font)?;
    }
    if placed.names_x {
        let y = plot.bottom + TICK + placed.below + 0.55 * LABEL;
        canvas.text(
            &panel.x.label,
            (plot.centre(), y),
            font(LABEL, HPos::Center),
        )?;
    }
    if let Some(left) = placed.y_name_at {
        let font = Font {
            upwards: true,
            ..font(LABEL, HPos::Center)
        };
        canvas.text(&panel.y.label, (left + 0.6 * LABEL, plot.middle()), font)?;
    }
    Ok(())
}
