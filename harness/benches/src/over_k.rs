//! What figures over the active budget k share: one line for each layer.

use harness_core::{layer::Depth, stats::Estimate};
use harness_present::figure::{Axis, Dash, Point, Scale, Series};

/// The point of an SAE over its active budget; `None` where it has none.
pub fn point(k: Option<u32>, estimate: Estimate) -> Option<Point> {
    Some(Point::with_error(f64::from(k?), estimate))
}

/// What a reader must know of SAEs that have no place on the axis.
pub fn not_drawn(n: usize) -> String {
    match n {
        0 => String::new(),
        1 => " One SAE has no k and is not drawn.".to_owned(),
        n => format!(" {n} SAEs have no k and are not drawn."),
    }
}

/// How a layer is drawn, the same in every panel; SAEs that share layer and k are lines of their
/// own.
pub struct Style {
    pub layer: u32,
    /// Its third.
    pub depth: Depth,
    /// What tells an SAE from others of its layer and k, where there are others.
    pub twin: Option<String>,
    /// Its place in the palette.
    colour: usize,
}

impl Style {
    /// Whether an SAE is drawn so.
    pub fn is_of(&self, layer: u32, depth: Depth, twin: Option<&str>) -> bool {
        (self.layer, self.depth, self.twin.as_deref()) == (layer, depth, twin)
    }

    /// A line of this layer, without points. Layers differ in colour and marker, depths in dashes.
    pub fn series(&self) -> Series {
        Series {
            label: match &self.twin {
                Some(twin) => format!("L{} {twin}", self.layer),
                None => format!("L{}", self.layer),
            },
            group: self.depth.to_string(),
            points: Vec::new(),
            dash: match self.depth {
                Depth::Shallow => Dash::Solid,
                Depth::Middle => Dash::Dashed,
                Depth::Deep => Dash::Dotted,
            },
            colour: self.colour,
        }
    }
}

/// A style for each layer at each of its depths (a layer can be in another third in another model),
/// from the first to the last.
pub fn styles<'a>(layers: impl Iterator<Item = (u32, Depth, Option<&'a str>)>) -> Vec<Style> {
    let mut layers: Vec<(u32, Depth, Option<&str>)> = layers.collect();
    layers.sort_unstable();
    layers.dedup();
    let mut numbers: Vec<u32> = layers.iter().map(|(layer, ..)| *layer).collect();
    numbers.dedup();
    layers
        .into_iter()
        .map(|(layer, depth, twin)| Style {
            layer,
            depth,
            twin: twin.map(str::to_owned),
            colour: numbers.partition_point(|number| *number < layer),
        })
        .collect()
}

/// A logarithmic axis of active budgets, each of them a tick.
pub fn budget_axis(budgets: impl Iterator<Item = u32>) -> Axis {
    let mut budgets: Vec<u32> = budgets.collect();
    budgets.sort_unstable();
    budgets.dedup();
    Axis {
        label: "k (latents a token)".into(),
        ticks: budgets
            .iter()
            .map(|k| (f64::from(*k), k.to_string()))
            .collect(),
        scale: Scale::Log,
    }
}
