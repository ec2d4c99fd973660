//! Draws one panel: axes, bands, lines, markers.

use plotters::style::{
    RGBColor,
    text_anchor::{HPos, VPos},
};

use super::{
    canvas::{Canvas, Font, Place, colour},
    layout::{LABEL, Placed, SMALL, TICK, TIGHT, text_width},
    model::{Dash, FigureError, Point, Series},
};

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GREY: RGBColor = RGBColor(0x66, 0x66, 0x66);
const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);
/// Lines whose bands can be told apart; those of more are fainter.
const FEW: usize = 3;
/// Space between labels of ticks, pixels.
const LABEL_GAP: f64 = 4.0;
/// Width of a line of data, pixels.
pub(super) const LINE: f64 = 1.8;

/// Text in `INK`, not bold, with its position in its middle from top to bottom.
pub(super) fn font(size: f64, anchor: HPos) -> Font {
    Font {
        size,
        bold: false,
        anchor,
        vertical: VPos::Center,
        upwards: false,
        colour: INK,
    }
}

/// Draws `placed` on `canvas`.
///
/// # Errors
/// [`FigureError::Drawing`].
pub(super) fn draw(canvas: &Canvas<'_>, placed: &Placed<'_>) -> Result<(), FigureError> {
    axes(canvas, placed)?;
    let panel = placed.panel;
    let opacity = if panel.series.len() > FEW { 0.10 } else { 0.18 };
    for series in &panel.series {
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
    for series in &panel.series {
        for run in runs(&series.points, |p| p.y.is_some()) {
            let line: Vec<Place> = run
                .iter()
                .filter_map(|p| Some(at(placed, p.x, p.y?)))
                .collect();
            if line.len() > 1 {
                canvas.line(&line, LINE, colour(series.colour), series.dash)?;
            }
            for place in line {
                canvas.marker(place, series.colour)?;
            }
        }
    }
    let empty = panel
        .series
        .iter()
        .all(|s: &Series| s.points.iter().all(|p| p.y.is_none()));
    let note = match (&panel.note, empty) {
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

/// Parts of a line without gaps.
fn runs(points: &[Point], there: fn(&Point) -> bool) -> impl Iterator<Item = &[Point]> {
    points
        .split(move |point| !there(point))
        .filter(|run| !run.is_empty())
}

fn at(placed: &Placed<'_>, x: f64, y: f64) -> Place {
    (across(placed, x), upwards(placed, y))
}

fn across(placed: &Placed<'_>, x: f64) -> f64 {
    let plot = &placed.plot;
    plot.left + placed.x.place(x) * (plot.right - plot.left)
}

fn upwards(placed: &Placed<'_>, y: f64) -> f64 {
    let plot = &placed.plot;
    plot.bottom - placed.y.place(y) * (plot.bottom - plot.top)
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

/// Labels of the x ticks with their places: the last, the first, and of the others those that touch none.
fn labels<'a>(placed: &'a Placed<'_>) -> Vec<(f64, &'a str)> {
    let ticks = &placed.x.ticks;
    let mut shown: Vec<(f64, &str)> = Vec::new();
    for (value, label) in ticks.last().into_iter().chain(ticks) {
        let x = across(placed, *value);
        let width = |label: &str| 0.5 * text_width(label, SMALL);
        let is_free = |(other, text): &(f64, &str)| {
            (x - other).abs() > width(label) + width(text) + LABEL_GAP
        };
        if shown.iter().all(is_free) {
            shown.push((x, label));
        }
    }
    shown
}

fn axes(canvas: &Canvas<'_>, placed: &Placed<'_>) -> Result<(), FigureError> {
    let (panel, plot) = (placed.panel, &placed.plot);
    for (value, label) in &placed.y.ticks {
        let y = upwards(placed, *value);
        canvas.line(&[(plot.left, y), (plot.right, y)], 0.75, GRID, Dash::Solid)?;
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
    for (value, _) in &placed.x.ticks {
        let x = across(placed, *value);
        let ends = [(x, plot.bottom), (x, plot.bottom + TICK)];
        canvas.line(&ends, 1.0, INK, Dash::Solid)?;
    }
    for (x, label) in labels(placed) {
        let y = plot.bottom + TICK + 0.7 * SMALL;
        canvas.text(label, (x, y), font(SMALL, HPos::Center))?;
    }
    if panel.zero_line {
        let y = upwards(placed, 0.0);
        canvas.line(&[(plot.left, y), (plot.right, y)], 1.2, GREY, Dash::Solid)?;
    }
    let frame = [
        (plot.left, plot.top),
        (plot.left, plot.bottom),
        (plot.right, plot.bottom),
    ];
    canvas.line(&frame, 1.0, INK, Dash::Solid)?;
    for (i, line) in placed.title.iter().rev().enumerate() {
        let font = Font {
            bold: true,
            ..font(LABEL, HPos::Center)
        };
        let y = plot.top - (0.75 + i as f64 * TIGHT) * LABEL;
        canvas.text(line, (plot.centre(), y), font)?;
    }
    if placed.names_x {
        let y = plot.bottom + TICK + 1.35 * SMALL + 0.55 * LABEL;
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
