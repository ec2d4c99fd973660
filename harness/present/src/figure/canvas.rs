//! The drawing library, behind the few shapes a figure needs.
//!
//! Its coordinates are whole numbers, so everything is drawn `UNIT` times as large and the file
//! says how large it is.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, DashedPathElement, PathElement, Polygon};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontFamily, FontStyle, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle, WHITE,
};

use super::{
    model::{Dash, FigureError},
    text::printable,
};

/// Drawing units a pixel.
const UNIT: f64 = 4.0;
/// The library writes font sizes divided by this.
const FONT_FACTOR: f64 = 1.24;
/// Fonts that most machines have one of.
const FAMILY: &str = "Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif";
/// Radius of a marker, pixels.
const MARKER: f64 = 3.6;

/// Okabe and Ito's colours that can be seen on white, told apart in the most common forms of colour
/// blindness.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];

/// Corners of the markers, as shares of the radius; none for the circle.
const MARKERS: [&[(f64, f64)]; 7] = [
    &[],
    &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    &[(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
    &[(0.0, -1.3), (1.1, 0.0), (0.0, 1.3), (-1.1, 0.0)],
    &[(0.0, 1.15), (1.1, -0.85), (-1.1, -0.85)],
    &[(-1.15, 0.0), (0.85, -1.1), (0.85, 1.1)],
    &[(1.15, 0.0), (-0.85, -1.1), (-0.85, 1.1)],
];

/// The colour at a place of the palette.
pub(super) fn colour(place: usize) -> RGBColor {
    PALETTE[place % PALETTE.len()]
}

/// A text's look and where its position is in it.
#[derive(Clone, Copy)]
pub(super) struct Font {
    /// Height, pixels.
    pub size: f64,
    pub bold: bool,
    /// Where across the text its position is.
    pub anchor: HPos,
    /// Where upwards in the text its position is.
    pub vertical: VPos,
    /// Whether it is turned to run upwards.
    pub upwards: bool,
    pub colour: RGBColor,
}

/// A place on the canvas, pixels from the upper left corner.
pub(super) type Place = (f64, f64);

/// An SVG drawing in the making.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// Drawing units of a length, which are whole.
pub(super) fn units(pixels: f64) -> i32 {
    (pixels * UNIT).round() as i32
}

fn place((x, y): Place) -> (i32, i32) {
    (units(x), units(y))
}

fn refused<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> FigureError {
    FigureError::Drawing(error.to_string())
}

impl<'a> Canvas<'a> {
    /// An empty white canvas that is written to `svg`.
    pub fn new(svg: &'a mut String, width: f64, height: f64) -> Result<Self, FigureError> {
        let (width, height) = (units(width).unsigned_abs(), units(height).unsigned_abs());
        let area = SVGBackend::with_string(svg, (width, height)).into_drawing_area();
        area.fill(&WHITE).map_err(refused)?;
        Ok(Self { area })
    }

    /// Finishes the drawing.
    pub fn finish(self) -> Result<(), FigureError> {
        self.area.present().map_err(refused)
    }

    /// A line through `points`.
    pub fn line(
        &self,
        points: &[Place],
        width: f64,
        colour: RGBColor,
        dash: Dash,
    ) -> Result<(), FigureError> {
        let points: Vec<_> = points.iter().copied().map(place).collect();
        let style = ShapeStyle::from(colour).stroke_width(units(width).unsigned_abs());
        match dash.pattern() {
            None => self.area.draw(&PathElement::new(points, style)),
            Some((on, off)) => {
                let unit = UNIT as u32;
                let dashes = DashedPathElement::new(points, on * unit, off * unit, style);
                self.area.draw(&dashes)
            }
        }
        .map_err(refused)
    }

    /// A translucent area inside `corners`.
    pub fn band(
        &self,
        corners: &[Place],
        colour: RGBColor,
        opacity: f64,
    ) -> Result<(), FigureError> {
        let corners: Vec<_> = corners.iter().copied().map(place).collect();
        let polygon = Polygon::new(corners, colour.mix(opacity).filled());
        self.area.draw(&polygon).map_err(refused)
    }

    /// The marker of a place of the palette.
    pub fn marker(&self, at: Place, palette: usize) -> Result<(), FigureError> {
        let style = colour(palette).filled();
        let corners = MARKERS[palette % MARKERS.len()];
        if corners.is_empty() {
            let circle = Circle::new(place(at), units(MARKER), style);
            return self.area.draw(&circle).map_err(refused);
        }
        let corners: Vec<_> = corners
            .iter()
            .map(|(x, y)| place((at.0 + x * MARKER, at.1 + y * MARKER)))
            .collect();
        self.area
            .draw(&Polygon::new(corners, style))
            .map_err(refused)
    }

    /// One line of text. Characters that an SVG file cannot hold become spaces.
    pub fn text(&self, text: &str, at: Place, font: Font) -> Result<(), FigureError> {
        let text = printable(text);
        let style = match font.bold {
            true => FontStyle::Bold,
            false => FontStyle::Normal,
        };
        let size = font.size * UNIT * FONT_FACTOR;
        let mut look = TextStyle::from((FontFamily::Name(FAMILY), size, style).into_font())
            .color(&font.colour)
            .pos(Pos::new(font.anchor, font.vertical));
        if font.upwards {
            look = look.transform(FontTransform::Rotate270);
        }
        self.area
            .draw_text(&text, &look, place(at))
            .map_err(refused)
    }
}
