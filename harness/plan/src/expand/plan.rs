use std::collections::BTreeMap;

use harness_core::layer::Depth;

use crate::{
    bench::{PaperName, Settings, TableKind},
    cell::Cell,
    protocol::Sources,
    stages::Stage,
};

/// The cells of a bench and the rows that are derived from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Name of the bench.
    pub bench: String,
    /// One line about it.
    pub title: String,
    /// How rows are derived.
    pub table: TableKind,
    /// Cells, each once, every one after those it reads; cells of one model stand together.
    pub cells: Vec<Cell>,
    /// One for each SAE and variant, in the order of the bench.
    pub rows: Vec<PlannedRow>,
    /// Where contents lie on this machine.
    pub sources: Sources,
    pub(super) costs: BTreeMap<String, super::Cost>,
    pub(super) memory_bytes: u64,
}

/// One SAE with the settings of one variant.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRow {
    /// Models compared with each other.
    pub family: String,
    /// Model, by name.
    pub model: String,
    /// SAE set, by name.
    pub sae: String,
    /// Layer, from 0.
    pub layer: u32,
    /// Third of the layers.
    pub depth: Depth,
    /// Active budget.
    pub k: u32,
    /// Whether the model is a masked-diffusion model.
    pub is_diffusion: bool,
    /// Group of the variant.
    pub group: Option<String>,
    /// What the paper calls model and SAE set.
    pub paper: Option<PaperName>,
    /// The paper's layer at this layer's place in the bench; `None` for a layer the bench does not name.
    pub paper_layer: Option<u32>,
    /// Settings.
    pub settings: Settings,
    /// Keys of the cells behind it.
    pub cells: RowCells,
}

/// Keys of the cells behind a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowCells {
    /// Features.
    pub features: String,
    /// Explanations.
    pub explain: String,
    /// Unsteered texts.
    pub baseline: String,
    /// Steered texts.
    pub steer: String,
    /// Perplexity of the unsteered texts.
    pub baseline_perplexity: String,
    /// Perplexity of the steered texts.
    pub steer_perplexity: String,
    /// Judged pairs.
    pub judge: String,
    /// Scores.
    pub score: String,
}

impl RowCells {
    /// All keys, in dependency order.
    pub fn all(&self) -> [&str; 8] {
        [
            &self.features,
            &self.explain,
            &self.baseline,
            &self.steer,
            &self.baseline_perplexity,
            &self.steer_perplexity,
            &self.judge,
            &self.score,
        ]
    }
}

impl Plan {
    /// A cell by key.
    pub fn cell(&self, key: &str) -> Option<&Cell> {
        self.cells.iter().find(|c| c.key == key)
    }

    /// Number of cells of each stage, in dependency order.
    pub fn stage_counts(&self) -> Vec<(Stage, usize)> {
        Stage::ALL
            .iter()
            .map(|s| {
                (
                    *s,
                    self.cells.iter().filter(|c| c.stage == s.name()).count(),
                )
            })
            .collect()
    }

    /// Cells that are not done and whose inputs are, in the order in which they are best run.
    pub fn ready<'p>(
        &'p self,
        is_done: impl Fn(&str) -> bool + 'p,
    ) -> impl Iterator<Item = &'p Cell> {
        self.cells
            .iter()
            .filter(move |c| !is_done(&c.key) && c.inputs.iter().all(|i| is_done(i)))
    }

    /// Cells that cannot be run because a cell they read, directly or not, has failed.
    pub fn blocked(&self, has_failed: impl Fn(&str) -> bool) -> Vec<&Cell> {
        let mut out: Vec<&Cell> = Vec::new();
        for cell in &self.cells {
            let is_blocked = |key: &String| has_failed(key) || out.iter().any(|b| b.key == *key);
            if cell.inputs.iter().any(is_blocked) {
                out.push(cell);
            }
        }
        out
    }
}
