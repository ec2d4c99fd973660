//! Draws the coloured cells of heat maps.
//!
//! The drawing library knows neither whole numbers of cells nor edges without smoothing, which
//! would leave seams between neighbours; so cells are written here, in coordinates of their own:
//! column and row counted from the upper left corner. Neighbours of a row that have one colour are
//! one rectangle, and all rectangles of one colour are one element, which keeps the file small.

use std::fmt::Write as _;

use plotters::style::RGBColor;

use super::{
    canvas::units,
    colours::{ColourScale, LEVELS, sequential},
    layout::Layout,
    model::{HeatMap, Marks},
    sizes::Area,
};

/// Diagonal lines on white, for cells without a value. Every file has the same, so it does not
/// matter which of them is meant where several are shown on one page.
const HATCH: &str = "<pattern id=\"no-value\" width=\"24\" height=\"24\" patternUnits=\"userSpaceOnUse\" \
                     patternTransform=\"rotate(45)\"><rect width=\"24\" height=\"24\" fill=\"#FFFFFF\"/>\
                     <rect width=\"7\" height=\"24\" fill=\"#B4B4B4\"/></pattern>\n";

/// The colours of a layout: hatches, cells and the colour bar; empty where no panel has cells.
pub(super) fn svg(layout: &Layout<'_>) -> String {
    let Some(bar) = &layout.colours else {
        return String::new();
    };
    let colours = sequential();
    let mut out = format!("\n<defs>{}</defs>", HATCH.trim_end());
    if let Some(swatch) = &bar.swatch {
        hatch(&mut out, swatch);
    }
    out.push_str("\n<g shape-rendering=\"crispEdges\">");
    if let Some(range) = &bar.range {
        let all: Vec<Option<usize>> = match range.lo < range.hi {
            true => (0..LEVELS).map(Some).collect(),
            false => vec![Some(LEVELS / 2)],
        };
        cells(&mut out, &bar.area, &[all], &colours);
        for placed in &layout.panels {
            let Marks::Cells(map) = &placed.panel.marks else {
                continue;
            };
            if map.values().next().is_none() {
                continue;
            }
            if map.has_gaps() {
                hatch(&mut out, &placed.plot);
            }
            cells(&mut out, &placed.plot, &levels(map, range), &colours);
        }
    }
    out.push_str("\n</g>");
    out
}

/// Colours of the cells, the upper row first.
fn levels(map: &HeatMap, range: &ColourScale) -> Vec<Vec<Option<usize>>> {
    let columns = map.columns();
    let row = |values: &Vec<Option<f64>>| {
        let mut row: Vec<Option<usize>> = values
            .iter()
            .map(|value| Some(range.level((*value)?)))
            .collect();
        row.resize(columns, None);
        row
    };
    map.rows.iter().rev().map(row).collect()
}

fn hatch(out: &mut String, area: &Area) {
    let (x, y, width, height) = rectangle(area);
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "\n<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"url(#no-value)\"/>"
    );
}

/// Left and upper end, width and height in drawing units.
fn rectangle(area: &Area) -> (i32, i32, i32, i32) {
    let (x, y) = (units(area.left), units(area.top));
    (x, y, units(area.right) - x, units(area.bottom) - y)
}

/// `rows` of cells that fill `area`, an element for each colour.
fn cells(out: &mut String, area: &Area, rows: &[Vec<Option<usize>>], colours: &[RGBColor]) {
    let (x, y, width, height) = rectangle(area);
    let columns = rows.first().map_or(0, Vec::len).max(1);
    let (across, down) = (
        f64::from(width) / columns as f64,
        f64::from(height) / rows.len().max(1) as f64,
    );
    let mut paths = vec![String::new(); colours.len()];
    for (r, row) in rows.iter().enumerate() {
        let mut c = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if let Some(level) = run.first().copied().flatten() {
                let n = run.len();
                let _ = write!(paths[level], "M{c} {r}h{n}v1h-{n}z");
            }
            c += run.len();
        }
    }
    let _ = write!(
        out,
        "\n<g transform=\"translate({x} {y}) scale({across} {down})\">"
    );
    for (path, RGBColor(red, green, blue)) in paths.iter().zip(colours) {
        if !path.is_empty() {
            let _ = write!(
                out,
                "\n<path fill=\"#{red:02X}{green:02X}{blue:02X}\" d=\"{path}\"/>"
            );
        }
    }
    out.push_str("\n</g>");
}
