//! Sizes of text and space, and rectangles.

/// Font sizes, pixels. Three panels side by side are some 650 pixels wide: on half a page (83 mm)
/// the smallest text is then 5.5 points high.
pub(super) const TITLE: f64 = 18.0;
/// Titles of panels and labels of axes.
pub(super) const LABEL: f64 = 16.0;
/// Ticks, legend and caption.
pub const SMALL: f64 = 15.0;

/// Height of a line of text as a share of its font size.
pub(super) const LEADING: f64 = 1.35;
/// The same within the title of a panel.
pub(super) const TIGHT: f64 = 1.15;
/// Free space around the figure, pixels.
pub(super) const EDGE: f64 = 10.0;
/// Length of a tick and space after it, pixels.
pub(super) const TICK: f64 = 5.0;
/// How much wider bold text is.
pub(super) const BOLD: f64 = 1.12;

/// A rectangle, pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
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
