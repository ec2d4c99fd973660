use std::collections::BTreeMap;

use harness_core::{grid::TooLarge, layer::Depth, policy::Policy, sae_id::SaeId};

use super::PlannedGroup;
use crate::bench::{
    AutointerpSettings, DecodingSettings, GridSettings, PaperName, Profile, RowKind,
    SteeringSettings, TableKind, ViewSpec,
};
use harness_contract::{cell::Cell, protocol::Sources, stages::Dtype};

/// The cells of a bench and the rows that are derived from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Name of the bench.
    pub bench: String,
    /// One line about it.
    pub title: String,
    /// Whose models, text and scorer it runs on, in sentences.
    pub provenance: Vec<String>,
    /// How rows are derived.
    pub table: TableKind,
    /// Figures derived besides.
    pub views: Vec<ViewSpec>,
    /// Cells, each once, every one after those it reads; cells of one model stand together.
    pub cells: Vec<Cell>,
    /// One for each SAE and variant, in the order of the bench.
    pub rows: Vec<PlannedRow>,
    /// What a person should know of the SAEs: those passed over, and those made for another model.
    pub warnings: Vec<String>,
    /// Where contents lie on this machine.
    pub sources: Sources,
    /// Cells that are run together.
    pub groups: Vec<PlannedGroup>,
    pub(super) group_of: BTreeMap<String, usize>,
    /// Bytes a worker may use; 0 when nothing is known about it.
    pub(super) memory: u64,
    pub(super) costs: BTreeMap<String, super::Cost>,
    /// Floating-point operations of each cell of a group, by its index.
    pub(super) shares: Vec<f64>,
    /// Memory of the most demanding row that generates texts, by model.
    pub(super) row_memory: BTreeMap<String, u64>,
}

/// One SAE with the settings of one variant.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRow {
    /// Models compared with each other.
    pub family: String,
    /// Model, by name.
    pub model: String,
    pub sae: SaeId,
    /// Content hash of the SAE.
    pub sae_hash: String,
    /// What tells it from the others of its set, layer and k, where there are others.
    pub twin: Option<String>,
    /// Third of the layers.
    pub depth: Depth,
    /// What the paper calls model and SAE set.
    pub paper: Option<PaperName>,
    /// The paper's layer at this layer's place in the bench; `None` for a layer the bench does not
    /// name.
    pub paper_layer: Option<u32>,
    /// What is done for it.
    pub work: RowWork,
}

/// What is done for a row.
#[derive(Clone, Debug, PartialEq)]
pub enum RowWork {
    /// Texts are steered and scored.
    Steering(Box<SteeringWork>),
    /// It is spliced into passes.
    Grid(Box<GridWork>),
    /// Its latents are followed while questions are answered.
    Decoding(Box<DecodingWork>),
    /// Its latents are explained, and windows predicted.
    Autointerp(Box<AutointerpWork>),
}

/// What is done for a row of a steering bench.
#[derive(Clone, Debug, PartialEq)]
pub struct SteeringWork {
    /// Whether the model is a masked-diffusion model.
    pub is_diffusion: bool,
    /// Group of the variant.
    pub group: Option<String>,
    pub settings: SteeringSettings,
    /// Keys of the cells behind it.
    pub cells: RowCells,
}

/// What is done for a row of a grid bench.
#[derive(Clone, Debug, PartialEq)]
pub struct GridWork {
    /// What it is measured on: [`RowKind::Documents`] or [`RowKind::Rollouts`].
    pub kind: RowKind,
    /// What its SAEs were trained on.
    pub policy: Policy,
    /// Whether the model is a masked-diffusion model.
    pub is_diffusion: bool,
    /// Whether the model's logits are also read unshifted (`paper_code`).
    pub has_paper_code: bool,
    /// Number format of the residuals.
    pub dtype: Dtype,
    pub settings: GridSettings,
    /// Key of its cell on each shard.
    pub shards: Vec<String>,
    /// Key of the cell with the continuations it is measured on.
    pub rollout: Option<String>,
}

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The SAE within its set.
    pub id: String,
    /// Layer, from 0.
    pub layer: u32,
}

/// What is done for a row of the autointerp bench.
#[derive(Clone, Debug, PartialEq)]
pub struct AutointerpWork {
    pub settings: AutointerpSettings,
    /// Key of the cell with its windows.
    pub windows: String,
    /// Key of the cell with its explanations.
    pub explain: String,
    /// Key of the cell with its predictions.
    pub predict: String,
}

/// One decoding order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderWork {
    pub order: String,
    /// Key of its cell on each part of the questions.
    pub parts: Vec<String>,
}

impl PlannedRow {
    /// Name for messages: `dream-mask layer 2 k 8`, with the SAE's own where its set has several of
    /// that layer and k.
    pub fn name(&self) -> String {
        let name = &self.sae;
        match &self.twin {
            Some(twin) => format!("{name} ({twin})"),
            None => name.to_string(),
        }
    }

    /// Keys of the cells behind it.
    pub fn keys(&self) -> Vec<&str> {
        match &self.work {
            RowWork::Steering(work) => work.cells.all(),
            RowWork::Grid(work) => {
                let keys = work.rollout.iter().chain(&work.shards);
                keys.map(String::as_str).collect()
            }
            RowWork::Decoding(work) => {
                let keys = work.orders.iter().flat_map(|order| &order.parts);
                keys.map(String::as_str).collect()
            }
            RowWork::Autointerp(work) => vec![&work.windows, &work.explain, &work.predict],
        }
    }

    /// What is done for it in a steering bench.
    pub fn steering(&self) -> Option<&SteeringWork> {
        match &self.work {
            RowWork::Steering(work) => Some(work),
            _ => None,
        }
    }

    /// What is done for it in a grid bench.
    pub fn grid(&self) -> Option<&GridWork> {
        match &self.work {
            RowWork::Grid(work) => Some(work),
            _ => None,
        }
    }

    /// What is done for it in the decoding-order bench.
    pub fn decoding(&self) -> Option<&DecodingWork> {
        match &self.work {
            RowWork::Decoding(work) => Some(work),
            _ => None,
        }
    }

    /// What is done for it in the autointerp bench.
    pub fn autointerp(&self) -> Option<&AutointerpWork> {
        match &self.work {
            RowWork::Autointerp(work) => Some(work),
            _ => None,
        }
    }
}

/// Keys of the cells behind a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowCells {
    pub features: String,
    /// Explanations.
    pub explain: String,
    /// Unsteered texts.
    pub baseline: String,
    /// Steered texts.
    pub steer: String,
    /// Perplexities of the unsteered texts and of the steered ones; none without a scorer.
    pub perplexities: Vec<String>,
    /// Judged pairs.
    pub judge: String,
    /// Scores.
    pub score: String,
}

impl RowCells {
    /// All keys, in dependency order.
    pub fn all(&self) -> Vec<&str> {
        let texts = [&self.features, &self.explain, &self.baseline, &self.steer];
        let scores = [&self.judge, &self.score];
        let all = texts.into_iter().chain(&self.perplexities).chain(scores);
        all.map(String::as_str).collect()
    }
}

impl Plan {
    pub fn cell(&self, key: &str) -> Option<&Cell> {
        self.cells.iter().find(|c| c.key == key)
    }

    /// Group of a cell that is run together with others: an index into [`Plan::groups`].
    pub fn group_of(&self, key: &str) -> Option<usize> {
        self.group_of.get(key).copied()
    }

    /// Groups for which a worker of so much memory has not enough, even one row and one splice at a
    /// time.
    pub fn too_large(
        &self,
        memory: u64,
        counts: impl Fn(&str) -> bool,
    ) -> Vec<(&PlannedGroup, TooLarge)> {
        let with = |group: &PlannedGroup| group.work(&counts, memory)?.too_large;
        let groups = self.groups.iter();
        groups
            .filter_map(|group| Some((group, with(group)?)))
            .collect()
    }

    /// Bytes a worker may use; 0 when nothing is known about it.
    pub fn memory_budget(&self) -> u64 {
        self.memory
    }

    /// Rows of a batch of grid passes, unless the command line says otherwise.
    pub fn batch(&self) -> Option<u32> {
        self.groups.iter().map(|group| group.batch).min()
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
