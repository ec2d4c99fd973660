//! How a judge that costs money is asked: its price, what a run may spend, and whether at once or
//! in batches.

mod budget;
mod prices;

pub use budget::{Budget, Spent};
pub use prices::{PRICES_DATED, Price};

use serde::{Deserialize, Serialize};

/// Name of the judge that answers from kept replies alone.
pub const REPLAY: &str = "replay";

/// How an online judge is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgeMode {
    /// Question by question, at once.
    #[default]
    Live,
    /// As batches that are answered later, at half the price.
    Batch,
}
