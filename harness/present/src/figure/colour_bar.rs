//! The bar that says which colour stands for which value.

use plotters::style::text_anchor::HPos;

use super::{
    canvas::{Canvas, Place},
    colours::ColourScale,
    model::{Dash, Figure, FigureError, HeatMap, Marks},
    pens::{INK, font},
    scale::Ruler,
    sizes::{Area, EDGE, LEADING, SMALL, TICK},
    text::{text_width, wrap},
};

/// Size of the bar, pixels.
const BAR: (f64, f64) = (256.0, 14.0);
/// The narrowest bar, pixels.
const NARROWEST: f64 = 96.0;
/// Free space beside the bar, for half a label.
const BESIDE: f64 = 14.0;
/// Labels asked for on the bar.
const N_TICKS: usize = 6;
/// Name of the hatch.
const NO_VALUE: &str = "no value";

/// The bar with its place.
pub struct ColourBar {
    /// The values of its ends; `None` where there is no value at all.
    pub range: Option<ColourScale>,
    pub area: Area,
    /// A hatched example, where a cell has no value.
    pub swatch: Option<Area>,
    /// Lines of its name with their places.
    name: Vec<(String, Place)>,
    ruler: Ruler,
}

/// The bar of a figure with heat maps; `y` moves below it.
pub(super) fn place(figure: &Figure, width: f64, y: &mut f64) -> Option<ColourBar> {
    let maps: Vec<&HeatMap> = figure
        .panels
        .iter()
        .filter_map(|panel| match &panel.marks {
            Marks::Cells(map) => Some(map),
            _ => None,
        })
        .collect();
    if maps.is_empty() {
        return None;
    }
    let range = ColourScale::of(maps.iter().flat_map(|map| map.values()));
    let mut name = Vec::new();
    for line in wrap(&figure.colour_label, SMALL, width - 2.0 * EDGE) {
        name.push((line, (EDGE, *y + 0.5 * SMALL * LEADING)));
        *y += SMALL * LEADING;
    }
    let example = 1.6 * BAR.1 + 6.0 + text_width(NO_VALUE, SMALL);
    let free = width - 2.0 * (EDGE + BESIDE) - 16.0 - example;
    let left = EDGE + BESIDE;
    let area = Area {
        left,
        top: *y + 2.0,
        right: left + BAR.0.min(free).max(NARROWEST),
        bottom: *y + 2.0 + BAR.1,
    };
    // Maps without any value say so themselves and are not hatched.
    let hatched = |map: &&HeatMap| map.has_gaps() && map.values().next().is_some();
    let swatch = maps.iter().any(hatched).then_some(Area {
        left: area.right + BESIDE + 16.0,
        right: area.right + BESIDE + 16.0 + 1.6 * BAR.1,
        ..area
    });
    let ruler = range.map_or_else(
        || Ruler::exact(0.0, 1.0, 0),
        |range| Ruler::exact(range.lo, range.hi, N_TICKS),
    );
    if range.is_some() {
        *y = area.bottom + TICK + SMALL * LEADING + 2.0;
    }
    Some(ColourBar {
        range,
        area,
        swatch,
        name,
        ruler,
    })
}

/// Draws everything but the colours.
///
/// # Errors
/// [`FigureError::Drawing`].
pub(super) fn draw(canvas: &Canvas<'_>, bar: &ColourBar) -> Result<(), FigureError> {
    for (line, at) in &bar.name {
        canvas.text(line, *at, font(SMALL, HPos::Left))?;
    }
    if bar.range.is_none() {
        return Ok(());
    }
    let area = &bar.area;
    edge(canvas, area)?;
    for (value, label) in &bar.ruler.ticks {
        let x = area.left + bar.ruler.place(*value) * (area.right - area.left);
        let ends = [(x, area.bottom), (x, area.bottom + TICK)];
        canvas.line(&ends, 1.0, INK, Dash::Solid)?;
        let below = (x, area.bottom + TICK + 0.7 * SMALL);
        canvas.text(label, below, font(SMALL, HPos::Center))?;
    }
    if let Some(swatch) = &bar.swatch {
        edge(canvas, swatch)?;
        let beside = (swatch.right + 6.0, swatch.middle());
        canvas.text(NO_VALUE, beside, font(SMALL, HPos::Left))?;
    }
    Ok(())
}

/// A line around `area`.
///
/// # Errors
/// [`FigureError::Drawing`].
pub(super) fn edge(canvas: &Canvas<'_>, area: &Area) -> Result<(), FigureError> {
    let corners = [
        (area.left, area.top),
        (area.left, area.bottom),
        (area.right, area.bottom),
        (area.right, area.top),
        (area.left, area.top),
    ];
    canvas.line(&corners, 1.0, INK, Dash::Solid)
}
