//! What a picture shows, as plain data.

use harness_core::stats::Estimate;

/// Panels in a grid, with one title, one legend and one caption.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// Printed above everything; may be empty.
    pub title: String,
    /// Printed below everything; may be empty.
    pub caption: String,
    /// Panels, row by row.
    pub panels: Vec<Panel>,
    /// Panels side by side, at least 1.
    pub columns: usize,
    /// Printed above each row of panels; rows beyond its end have nothing above them.
    pub row_titles: Vec<String>,
    /// Which panels have one y range.
    pub y_range: YRange,
    /// How large the coordinate system of every panel is.
    pub panel_size: PanelSize,
    /// What the colours of heat maps stand for, with its unit. All heat maps of a figure have one
    /// scale of colours, from their smallest value to their largest.
    pub colour_label: String,
}

/// Size of the coordinate system of a panel, without its titles and labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PanelSize {
    /// Pixels across.
    pub width: f64,
    /// Pixels upwards.
    pub height: f64,
}

impl Default for PanelSize {
    /// Three panels side by side fill half a page.
    fn default() -> Self {
        Self {
            width: 178.0,
            height: 144.0,
        }
    }
}

/// Which panels of a figure have the same y range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum YRange {
    /// Each its own.
    #[default]
    PerPanel,
    /// Those side by side. Ticks are then labelled in the first of them.
    PerRow,
    /// All of them. Ticks are labelled as for `PerRow`.
    Shared,
}

/// One coordinate system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// Printed above it; may be empty.
    pub title: String,
    /// Across.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Whether y = 0 is in the range and marked with a line.
    pub zero_line: bool,
    /// What is drawn in it.
    pub marks: Marks,
    /// A remark printed in the panel.
    pub note: Option<String>,
}

impl Panel {
    /// Its lines; none where it shows something else.
    pub fn series(&self) -> &[Series] {
        match &self.marks {
            Marks::Lines(series) => series,
            Marks::Cells(_) | Marks::Bars(_) | Marks::Nothing => &[],
        }
    }
}

/// What a panel shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Marks {
    /// Lines, drawn in this order.
    Lines(Vec<Series>),
    /// A heat map: columns are the whole numbers from 0 of the x axis, rows those of the y axis.
    Cells(HeatMap),
    /// Groups of bars from left to right; the y axis begins at 0.
    Bars(Vec<BarGroup>),
    /// Nothing at all, not even axes: the place is left free.
    Nothing,
}

impl Default for Marks {
    fn default() -> Self {
        Marks::Lines(Vec::new())
    }
}

/// Values as colours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeatMap {
    /// `[rows][columns]`, the lowest row first; `None` is hatched and takes no part in the range of
    /// the colours. Shorter rows end in missing values.
    pub rows: Vec<Vec<Option<f64>>>,
}

impl HeatMap {
    /// Columns of the longest row.
    pub fn columns(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(0)
    }

    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.rows.iter().flatten().copied().flatten()
    }

    /// Whether a cell has no value.
    pub fn has_gaps(&self) -> bool {
        self.values().count() < self.rows.len() * self.columns()
    }
}

/// Bars side by side, with a name under them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarGroup {
    pub name: String,
    /// Its place in the palette.
    pub colour: usize,
    /// From left to right.
    pub bars: Vec<Bar>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    /// Its name in the legend. Bars of one name are one entry, whatever group they are in.
    pub label: String,
    /// How its area is drawn.
    pub fill: Fill,
    /// Its height, not below 0; where it is missing, `no value` is printed.
    pub value: Option<f64>,
    /// Lower end of its whisker.
    pub lo: Option<f64>,
    /// Upper end of its whisker.
    pub hi: Option<f64>,
    /// Printed above it.
    pub text: String,
}

/// How the area of a bar is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fill {
    /// In the colour of its group.
    #[default]
    Full,
    /// In a pale tone of it, with an edge.
    Pale,
    /// As an edge alone.
    Outline,
}

/// One axis of a panel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What is on it, with its unit.
    pub label: String,
    /// Values with their labels; where there are none, round values are chosen.
    pub ticks: Vec<(f64, String)>,
    /// How values become positions.
    pub scale: Scale,
}

/// How values become positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences are equal distances.
    #[default]
    Linear,
    /// Equal ratios are equal distances; values must be above 0.
    Log,
    /// Values are places in a list, named by the ticks.
    Ordinal,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name in the legend. Lines of one name are one entry, whatever panel they are in.
    pub label: String,
    /// Heading under which the legend lists it; may be empty.
    pub group: String,
    /// Points from left to right.
    pub points: Vec<Point>,
    /// How it is drawn.
    pub dash: Dash,
    /// Its place in the palette, which decides colour and marker; places beyond the palette begin
    /// again.
    pub colour: usize,
}

/// One point of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Across.
    pub x: f64,
    /// Upwards; `None` leaves a gap.
    pub y: Option<f64>,
    /// Lower end of the error band.
    pub lo: Option<f64>,
    /// Upper end of the error band.
    pub hi: Option<f64>,
}

impl Point {
    /// A value with a band of one standard error on either side. What is not finite is missing.
    pub fn with_error(x: f64, estimate: Estimate) -> Self {
        let finite = |value: &f64| value.is_finite();
        let y = estimate.value.filter(finite);
        let error = estimate.std_err.filter(finite);
        let end = |sign: f64| Some(y? + sign * error?);
        Self {
            x,
            y,
            lo: end(-1.0),
            hi: end(1.0),
        }
    }
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dash {
    /// Without gaps.
    #[default]
    Solid,
    Dashed,
    /// Short dashes, far apart.
    Dotted,
}

impl Dash {
    /// Length of a dash and of a gap, pixels; `None` without gaps.
    pub(super) fn pattern(self) -> Option<(u32, u32)> {
        match self {
            Dash::Solid => None,
            Dash::Dashed => Some((7, 4)),
            Dash::Dotted => Some((2, 4)),
        }
    }
}

/// A figure that cannot be drawn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FigureError {
    /// Nothing to draw.
    #[error(
        "figure {title:?} has no panels (hint: no row has the metric and the variant asked for)"
    )]
    Empty { title: String },
    /// A value has no place on its axis.
    #[error("panel {panel:?}, {mark}: {value} has no place on a {axis} axis")]
    Value {
        /// Title of the panel.
        panel: String,
        /// The line, cell or bar.
        mark: String,
        value: f64,
        /// `linear`, `logarithmic`, `colour` or `zero-based`.
        axis: &'static str,
    },
    /// The drawing library refused.
    #[error("the figure cannot be drawn: {0}")]
    Drawing(String),
}
