use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use harness_contract::sources::SaeFolder;
use harness_core::{
    layer::{Depth, depth_of},
    sae_id::SaeId,
    twins::Twins,
};
use harness_weights::InputError;

use super::{
    Cost, Member, Plan, PlanError, PlannedGroup, PlannedRow, ResolvedBench, ResolvedModel,
    ResolvedRow, RowWork,
    components::Components,
    forecast::{memory_by_model, share_of},
    made_for,
};
use crate::{
    bench::ViewSpec,
    inspect::InspectedModel,
    sources::{Explanations, sae_hash},
};
use harness_contract::{
    cell::Cell,
    hash::HashCache,
    plugin::Discovery,
    protocol::Sources,
    stages::{DenoisingParams, GenerationParams, ModelRef, Params, PluginRef, SaeRef},
};

/// Adds the cells behind one SAE of a row, as the row's kind has them.
///
/// # Errors
/// Contents that cannot be read, and what only they can tell to be wrong.
pub type ExpandRow =
    fn(&mut Expander<'_>, &ResolvedRow, &SaeFolder) -> Result<Arc<dyn RowWork>, PlanError>;

/// Makes the cells of a bench.
///
/// # Errors
/// Components that no plugin offers ([`PlanError::Unknown`], or [`PlanError::Plugins`] when plugins
/// were refused), and contents that cannot be read.
pub fn expand(
    bench: &ResolvedBench,
    plugins: &Discovery,
    hashes: &mut HashCache,
    expand_row: ExpandRow,
) -> Result<Plan, PlanError> {
    let components = Components::find(bench, plugins)?;
    let mut expander = Expander {
        bench,
        components,
        checkpoints: Vec::new(),
        hashes,
        sae_hashes: BTreeMap::new(),
        cells: Vec::new(),
        costs: BTreeMap::new(),
        sources: Sources::default(),
        groups: Vec::new(),
        group_of: BTreeMap::new(),
        group_names: BTreeMap::new(),
        numbers: BTreeMap::new(),
        explanations: BTreeMap::new(),
    };
    expander.checkpoints = expander.checkpoints()?;
    let warnings = made_for::check(bench, &expander.checkpoints)?;
    let mut rows = Vec::new();
    for row in &bench.rows {
        let places = row.saes.iter().map(|sae| ((sae.layer, sae.k), &*sae.id));
        let twins = Twins::among(places);
        for sae in &row.saes {
            let work = expand_row(&mut expander, row, sae)?;
            let hash = expander.sae_hash(sae)?;
            let mut planned = planned(row, sae, hash, work);
            let twin = twins.name(&(sae.layer, sae.k), &sae.id);
            planned.twin = twin.map(str::to_owned);
            rows.push(planned);
        }
    }
    let mut cells = expander.cells;
    // Stable: within a place, cells keep the order of the bench.
    cells.sort_by_key(|(place, _)| *place);
    Ok(Plan {
        bench: bench.spec.name.clone(),
        title: bench.spec.title.clone(),
        provenance: bench.provenance(),
        table: bench.spec.table,
        views: views(&bench.spec.views, &rows),
        cells: cells.into_iter().map(|(_, cell)| cell).collect(),
        rows,
        sources: expander.sources,
        shares: (expander.groups.iter())
            .map(|group| share_of(group, bench.limits.memory))
            .collect(),
        groups: expander.groups,
        group_of: expander.group_of,
        memory: bench.limits.memory,
        costs: expander.costs,
        row_memory: memory_by_model(bench),
        warnings: [
            bench.warnings.clone(),
            warnings,
            made_for::assumptions(bench),
        ]
        .concat(),
    })
}

/// The figures of which any row is left.
fn views(all: &[ViewSpec], rows: &[PlannedRow]) -> Vec<ViewSpec> {
    let is_left = |view: &&ViewSpec| {
        rows.iter().any(|row| {
            view.rows
                .iter()
                .any(|id| (&id.model, &id.sae) == (&row.model, &row.sae.set))
        })
    };
    all.iter().filter(is_left).cloned().collect()
}

fn planned(
    row: &ResolvedRow,
    sae: &SaeFolder,
    sae_hash: String,
    work: Arc<dyn RowWork>,
) -> PlannedRow {
    let depth =
        depth_of(sae.layer, &row.depth_layers).or_else(|| depth_of(sae.layer, &[sae.layer]));
    PlannedRow {
        family: row.row.family.clone(),
        model: row.row.model.clone(),
        sae: SaeId {
            set: row.row.sae.clone(),
            id: sae.id.clone(),
            layer: sae.layer,
            k: sae.k,
        },
        sae_hash,
        twin: None,
        depth: depth.unwrap_or(Depth::Shallow),
        paper: row.row.paper.clone(),
        paper_layer: paper_layer(row, sae.layer),
        work,
    }
}

/// Where a cell stands: models one after the other, with features, baseline and steered texts, or
/// rollouts and grids; then the scorers; then what needs no model.
pub type Place = (u8, usize, u8);

/// A cell that is yet to be added.
pub struct NewCell<P> {
    /// Where it stands among the others.
    pub place: Place,
    /// The parameters of its stage.
    pub params: P,
    /// Keys of the cells it reads, which are there already.
    pub inputs: Vec<String>,
    /// What it takes by itself.
    pub cost: Cost,
}

/// Makes the cells of a bench, kind by kind (see [`ExpandRow`]).
pub struct Expander<'a> {
    pub bench: &'a ResolvedBench,
    components: Components,
    /// The models of the bench, in its order.
    checkpoints: Vec<ModelRef>,
    hashes: &'a mut HashCache,
    /// Content hashes of SAEs by their folders.
    sae_hashes: BTreeMap<PathBuf, String>,
    cells: Vec<(Place, Cell)>,
    costs: BTreeMap<String, Cost>,
    sources: Sources,
    groups: Vec<PlannedGroup>,
    group_of: BTreeMap<String, usize>,
    /// Index of a group by [`Cell::group`].
    group_names: BTreeMap<String, usize>,
    /// Numbers in the weights of models, by index.
    numbers: BTreeMap<usize, u64>,
    /// Explanations of earlier runs by path.
    explanations: BTreeMap<String, Explanations>,
}

impl Expander<'_> {
    fn checkpoints(&mut self) -> Result<Vec<ModelRef>, PlanError> {
        let bench = self.bench;
        let mut refs = Vec::new();
        for model in &bench.models {
            let checkpoint = model.folder.checkpoint.hash(self.hashes)?;
            self.sources
                .models
                .insert(checkpoint.clone(), absolute(&model.folder.checkpoint.dir)?);
            let adapter = self
                .components
                .get("model", &model.folder.checkpoint.model_type);
            refs.push(ModelRef {
                name: model.name.clone(),
                checkpoint,
                adapter,
            });
        }
        Ok(refs)
    }

    /// Content hash of an SAE, asked for once.
    fn sae_hash(&mut self, sae: &SaeFolder) -> Result<String, PlanError> {
        if let Some(known) = self.sae_hashes.get(&sae.dir) {
            return Ok(known.clone());
        }
        let hash = sae_hash(sae, self.hashes)?;
        self.sae_hashes.insert(sae.dir.clone(), hash.clone());
        Ok(hash)
    }

    /// An SAE of a row, with the plugin that reads it.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn sae_ref(&mut self, row: &ResolvedRow, sae: &SaeFolder) -> Result<SaeRef, PlanError> {
        let policy = row.policy()?;
        let hash = self.sae_hash(sae)?;
        self.sources.saes.insert(hash.clone(), absolute(&sae.dir)?);
        Ok(SaeRef {
            set: row.row.sae.clone(),
            policy,
            layer: sae.layer,
            k: sae.k,
            hash,
            architecture: self.components.get("sae", row.settings.architecture()),
        })
    }

    /// Content hashes of the files a row reads.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn files(&mut self, row: &ResolvedRow) -> Result<Vec<String>, PlanError> {
        let mut files = Vec::new();
        for path in &row.data {
            let hash = self.hashes.file(path)?;
            self.sources.files.insert(hash.clone(), absolute(path)?);
            files.push(hash);
        }
        Ok(files)
    }

    /// A component that a setting of the bench names.
    pub fn component(&self, kind: &'static str, name: &str) -> PluginRef {
        self.components.get(kind, name)
    }

    /// A model of the bench by its index, with the plugin that runs it.
    pub fn model_ref(&self, index: usize) -> ModelRef {
        self.checkpoints[index].clone()
    }

    /// Explanations of an earlier run, read once.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn explanations(&mut self, path: &str) -> Result<&Explanations, PlanError> {
        if !self.explanations.contains_key(path) {
            let read = Explanations::read(Path::new(path))?;
            self.explanations.insert(path.to_owned(), read);
        }
        Ok(&self.explanations[path])
    }

    /// How a row's model generates texts.
    pub fn generation(
        &self,
        model: &ResolvedModel,
        texts: &Texts<'_>,
        seed: u64,
    ) -> GenerationParams {
        GenerationParams {
            max_new_tokens: texts.max_new_tokens,
            temperature: texts.temperature,
            top_p: texts.top_p,
            denoising: model.folder.is_diffusion.then(|| DenoisingParams {
                dlm_steps: texts.dlm_steps,
                order: self.components.get("remasker", texts.order),
            }),
            seed,
        }
    }

    /// Adds a cell unless it is there already, and returns its key.
    ///
    /// # Errors
    /// When its parameters have no JSON form.
    pub fn add<P: Into<Params>>(&mut self, cell: NewCell<P>) -> Result<String, PlanError> {
        Ok(self.add_new(cell)?.0)
    }

    /// Adds a cell to those it is run together with, unless it is there already, and returns its
    /// key. `group` makes the group for its first cell.
    ///
    /// # Errors
    /// When its parameters have no JSON form, and those of `group`.
    pub fn add_to_group<P: Into<Params>>(
        &mut self,
        cell: NewCell<P>,
        member: impl FnOnce(String) -> Member,
        group: impl FnOnce(&mut Self) -> Result<PlannedGroup, PlanError>,
    ) -> Result<String, PlanError> {
        let (key, name) = match self.add_new(cell)? {
            (key, Some(name)) => (key, name),
            (key, None) => return Ok(key),
        };
        let index = match self.group_names.get(&name) {
            Some(index) => *index,
            None => {
                let group = group(self)?;
                self.groups.push(group);
                self.group_names.insert(name, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        self.groups[index].members.push(member(key.clone()));
        self.group_of.insert(key.clone(), index);
        Ok(key)
    }

    /// The key of a cell, and of one that was not there the name of its group.
    fn add_new<P: Into<Params>>(
        &mut self,
        new: NewCell<P>,
    ) -> Result<(String, Option<String>), PlanError> {
        let cell = Cell::new(new.params, new.inputs)?;
        let key = cell.key.clone();
        if self.costs.insert(key.clone(), new.cost).is_some() {
            return Ok((key, None));
        }
        let group = cell.group().unwrap_or_else(|| key.clone());
        self.cells.push((new.place, cell));
        Ok((key, Some(group)))
    }

    /// Numbers in the weights of a model of the bench, counted once.
    ///
    /// # Errors
    /// When a file of the checkpoint cannot be read.
    pub fn numbers(&mut self, index: usize) -> Result<u64, PlanError> {
        if let Some(numbers) = self.numbers.get(&index) {
            return Ok(*numbers);
        }
        let numbers = InspectedModel::of(&self.bench.models[index].folder)?.parameters;
        self.numbers.insert(index, numbers);
        Ok(numbers)
    }
}

/// How a row generates texts.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    pub max_new_tokens: u32,
    pub temperature: f64,
    pub top_p: f64,
    /// Denoising steps of a masked-diffusion model.
    pub dlm_steps: u32,
    /// Its decoding order.
    pub order: &'a str,
}

/// The layer of the paper's at the place of a layer of the bench.
fn paper_layer(row: &ResolvedRow, layer: u32) -> Option<u32> {
    let place = row
        .row
        .layers(row.profile)
        .iter()
        .position(|l| *l == layer)?;
    row.row.real_layers.get(place).copied()
}

fn absolute(path: &Path) -> Result<PathBuf, PlanError> {
    Ok(std::fs::canonicalize(path).map_err(InputError::io(path))?)
}
