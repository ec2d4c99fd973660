//! Colours and fonts of what is drawn, and the area of a bar.

use plotters::style::{
    RGBColor,
    text_anchor::{HPos, VPos},
};

use super::{
    canvas::{Canvas, Font},
    model::{Dash, FigureError, Fill},
    sizes::Area,
};

pub(super) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(super) const GREY: RGBColor = RGBColor(0x66, 0x66, 0x66);
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

/// The area of a bar.
///
/// # Errors
/// [`FigureError::Drawing`].
pub(super) fn bar(
    canvas: &Canvas<'_>,
    area: Area,
    colour: RGBColor,
    fill: Fill,
) -> Result<(), FigureError> {
    let mut corners = vec![
        (area.left, area.bottom),
        (area.left, area.top),
        (area.right, area.top),
        (area.right, area.bottom),
    ];
    match fill {
        Fill::Full => canvas.band(&corners, colour, 1.0)?,
        Fill::Pale => canvas.band(&corners, colour, 0.3)?,
        Fill::Outline => {}
    }
    corners.push(corners[0]);
    canvas.line(&corners, 1.2, colour, Dash::Solid)
}
