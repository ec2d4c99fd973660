use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

use harness_core::{grid::TooLarge, layer::Depth, sae_id::SaeId};

use super::group::PlannedGroup;
use crate::bench::{PaperName, TableKind, ViewSpec};
use harness_contract::{cell::Cell, protocol::Sources};

/// The cells of a bench and the rows that are derived from them.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
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
    pub work: Arc<dyn RowWork>,
}

/// What is done for a row: the cells behind it, and what its kind reads them with.
pub trait RowWork: Any + fmt::Debug + Send + Sync {
    /// Keys of the cells behind it, in the order they depend on each other.
    fn keys(&self) -> Vec<&str>;

    /// A cell behind it alone, in words.
    fn describe(&self, plan: &Plan, row: &PlannedRow, cell: &Cell) -> String;

    /// A cell behind it that serves other rows as well, where the kind has words of its own for it.
    fn describe_shared(&self, _: &Cell) -> Option<String> {
        None
    }
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
        self.work.keys()
    }

    /// What is done for it, where that is of the kind asked for.
    pub fn work<W: RowWork>(&self) -> Option<&W> {
        let work: &dyn Any = self.work.as_ref();
        work.downcast_ref()
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
