use harness_contract::{cell::Cell, stages::DecodingParams};
use harness_plan::{
    bench::Profile,
    expand::{Plan, PlannedRow, RowWork},
};

use super::settings::DecodingSettings;

/// What is done for the SAEs of a row of the decoding-order bench, all of them together.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodingWork {
    pub settings: DecodingSettings,
    /// The profile they come from.
    pub profile: Profile,
    /// SAEs that are followed, by layer.
    pub saes: Vec<Followed>,
    /// Orders that are compared.
    pub orders: Vec<OrderWork>,
}

/// An SAE whose features are followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// The SAE within its set.
    pub id: String,
    /// Layer, from 0.
    pub layer: u32,
}

/// One decoding order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderWork {
    pub order: String,
    /// Key of its cell on each part of the questions.
    pub parts: Vec<String>,
}

impl RowWork for DecodingWork {
    fn keys(&self) -> Vec<&str> {
        let keys = self.orders.iter().flat_map(|order| &order.parts);
        keys.map(String::as_str).collect()
    }

    fn describe(&self, _: &Plan, row: &PlannedRow, cell: &Cell) -> String {
        (self.describe_shared(cell)).unwrap_or_else(|| format!("{} {}", cell.stage(), row.name()))
    }

    fn describe_shared(&self, cell: &Cell) -> Option<String> {
        let params = cell.params_of::<DecodingParams>()?;
        let order = (params.generation.denoising.as_ref())
            .map_or("", |denoising| denoising.order.name.as_str());
        let questions = &params.questions;
        Some(format!(
            "{} {} {order}, questions {} to {}",
            cell.stage(),
            params.model.name,
            questions.first,
            questions.first + questions.count
        ))
    }
}
