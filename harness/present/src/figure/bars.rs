//! Draws groups of bars with whiskers and numbers.

use plotters::style::{WHITE, text_anchor::HPos};

use super::{
    canvas::{Canvas, Font, colour},
    layout::Placed,
    model::{Bar, BarGroup, Dash, FigureError},
    pens::{GREY, INK, bar, font},
    sizes::{Area, SMALL, TICK, TIGHT},
    text::text_width,
};

/// Share of a group's place that its bars fill.
const FILLED: f64 = 0.78;
/// Width of the widest bar, pixels.
const WIDEST: f64 = 44.0;
/// Size of the numbers above bars, pixels; smaller where bars are narrow.
const NUMBER: f64 = 14.0;
/// Width of the ends of whiskers, pixels.
const CAP: f64 = 8.0;

/// Draws the groups of `placed` with their names.
///
/// # Errors
/// [`FigureError::Drawing`].
pub(super) fn draw(
    canvas: &Canvas<'_>,
    placed: &Placed<'_>,
    groups: &[BarGroup],
) -> Result<(), FigureError> {
    let plot = &placed.plot;
    let most = groups.iter().map(|group| group.bars.len()).max();
    let place = (plot.right - plot.left) / groups.len().max(1) as f64;
    let wide = (FILLED * place / most.unwrap_or(1).max(1) as f64).min(WIDEST);
    for (i, (group, name)) in groups.iter().zip(&placed.names).enumerate() {
        let centre = placed.across(i as f64);
        let left = centre - 0.5 * wide * group.bars.len() as f64;
        for (j, bar) in group.bars.iter().enumerate() {
            let left = left + wide * j as f64;
            one(canvas, placed, bar, group.colour, (left, left + wide))?;
        }
        for (j, line) in name.iter().enumerate() {
            let y = plot.bottom + TICK + (0.7 + j as f64 * TIGHT) * SMALL;
            canvas.text(line, (centre, y), font(SMALL, HPos::Center))?;
        }
    }
    Ok(())
}

/// A bar between two places across, with its whisker and its number.
fn one(
    canvas: &Canvas<'_>,
    placed: &Placed<'_>,
    bar: &Bar,
    palette: usize,
    (left, right): (f64, f64),
) -> Result<(), FigureError> {
    let (centre, wide, plot) = (0.5 * (left + right), right - left, &placed.plot);
    let Some(value) = bar.value else {
        let note = Font {
            upwards: true,
            colour: GREY,
            ..font(NUMBER, HPos::Center)
        };
        let y = plot.bottom - 0.6 * text_width("no value", NUMBER);
        return canvas.text("no value", (centre, y), note);
    };
    let area = Area {
        left: left + 0.06 * wide,
        top: placed.upwards(value),
        right: right - 0.06 * wide,
        bottom: plot.bottom,
    };
    self::bar(canvas, area, colour(palette), bar.fill)?;
    let mut top = area.top;
    if let Some((lo, hi)) = bar.lo.zip(bar.hi) {
        let (low, high) = (placed.upwards(lo), placed.upwards(hi));
        let cap = 0.5 * CAP.min(0.5 * wide);
        let end = |y: f64| [(centre - cap, y), (centre + cap, y)];
        let parts = [[(centre, low), (centre, high)], end(low), end(high)];
        // The edge makes it seen on a dark bar.
        for (colour, width) in [(WHITE, 3.0), (INK, 1.2)] {
            for part in &parts {
                canvas.line(part, width, colour, Dash::Solid)?;
            }
        }
        top = top.min(high);
    }
    let size = NUMBER.min(wide / text_width(&bar.text, 1.0).max(1e-3));
    let y = top - 0.7 * size;
    canvas.text(&bar.text, (centre, y), font(size, HPos::Center))
}
