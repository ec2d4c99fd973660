use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness_contract::sources::SaeFolder;
use harness_core::{
    layer::{Depth, depth_of},
    sae_id::SaeId,
    twins::Twins,
};
use harness_weights::InputError;
use serde::Serialize;

use super::{
    Cost, Plan, PlanError, PlannedGroup, PlannedRow, ResolvedBench, ResolvedModel, ResolvedRow,
    RowWork,
    components::Components,
    forecast::{memory_by_model, share_of},
    made_for,
};
use crate::{
    bench::{DecodingSettings, RolloutSettings, Settings, SteeringSettings, ViewSpec},
    sources::{Explanations, sae_hash},
};
use harness_contract::{
    cell::Cell,
    hash::HashCache,
    plugin::Discovery,
    protocol::Sources,
    stages::{DenoisingParams, GenerationParams, ModelRef, SaeRef, Stage},
};

/// Make the cells of a bench.
///
/// # Errors
/// Components that no plugin offers ([`PlanError::Unknown`], or [`PlanError::Plugins`] when plugins
/// were refused), and contents that cannot be read.
pub fn expand(
    bench: &ResolvedBench,
    plugins: &Discovery,
    hashes: &mut HashCache,
) -> Result<Plan, PlanError> {
    let components = Components::find(bench, plugins)?;
    let mut expander = Expander {
        bench,
        components,
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
    let checkpoints = expander.checkpoints()?;
    let warnings = made_for::check(bench, &checkpoints)?;
    let mut rows = Vec::new();
    for row in &bench.rows {
        let places = row.saes.iter().map(|sae| ((sae.layer, sae.k), &*sae.id));
        let twins = Twins::among(places);
        for sae in &row.saes {
            let work = match &row.settings {
                Settings::Steering(set) => expander.steering(row, set, sae, &checkpoints)?,
                Settings::Documents { .. } | Settings::Rollouts { .. } => {
                    expander.grid(row, sae, &checkpoints)?
                }
                Settings::Decoding(set) => expander.decoding(row, set, &checkpoints)?,
                Settings::Autointerp(set) => expander.autointerp(row, set, sae, &checkpoints)?,
            };
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

fn planned(row: &ResolvedRow, sae: &SaeFolder, sae_hash: String, work: RowWork) -> PlannedRow {
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
pub(super) type Place = (u8, usize, u8);

pub(super) struct Expander<'a> {
    pub(super) bench: &'a ResolvedBench,
    pub(super) components: Components,
    hashes: &'a mut HashCache,
    /// Content hashes of SAEs by their folders.
    sae_hashes: BTreeMap<PathBuf, String>,
    cells: Vec<(Place, Cell)>,
    costs: BTreeMap<String, Cost>,
    sources: Sources,
    pub(super) groups: Vec<PlannedGroup>,
    pub(super) group_of: BTreeMap<String, usize>,
    /// Index of a group by [`Cell::group`].
    pub(super) group_names: BTreeMap<String, usize>,
    /// Numbers in the weights of models, by index.
    pub(super) numbers: BTreeMap<usize, u64>,
    /// Explanations of earlier runs by path.
    pub(super) explanations: BTreeMap<String, Explanations>,
}

impl Expander<'_> {
    fn checkpoints(&mut self) -> Result<Vec<ModelRef>, PlanError> {
        let bench = self.bench;
        let mut refs = Vec::new();
        for model in &bench.models {
            let checkpoint = model.folder.checkpoint_hash(self.hashes)?;
            self.sources
                .models
                .insert(checkpoint.clone(), absolute(&model.folder.dir)?);
            let adapter = self.components.get("model", &model.folder.model_type);
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

    pub(super) fn sae_ref(
        &mut self,
        row: &ResolvedRow,
        sae: &SaeFolder,
    ) -> Result<SaeRef, PlanError> {
        let hash = self.sae_hash(sae)?;
        self.sources.saes.insert(hash.clone(), absolute(&sae.dir)?);
        Ok(SaeRef {
            set: row.row.sae.clone(),
            policy: row.row.policy.clone(),
            layer: sae.layer,
            k: sae.k,
            hash,
            architecture: self.components.get("sae", row.settings.architecture()),
        })
    }

    /// Content hashes of the files a row reads.
    pub(super) fn files(&mut self, row: &ResolvedRow) -> Result<Vec<String>, PlanError> {
        let mut files = Vec::new();
        for path in &row.data {
            let hash = self.hashes.file(path)?;
            self.sources.files.insert(hash.clone(), absolute(path)?);
            files.push(hash);
        }
        Ok(files)
    }

    pub(super) fn generation(
        &self,
        model: &ResolvedModel,
        texts: TextsOf<'_>,
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

    /// Add a cell unless it is there already, and return its key.
    pub(super) fn add<P: Serialize>(
        &mut self,
        stage: Stage,
        place: Place,
        params: &P,
        inputs: Vec<String>,
        cost: Cost,
    ) -> Result<String, PlanError> {
        let cell = Cell::new(stage, params, inputs)?;
        let key = cell.key.clone();
        if self.costs.insert(key.clone(), cost).is_none() {
            self.cells.push((place, cell));
        }
        Ok(key)
    }
}

/// How a row generates texts.
pub(super) struct TextsOf<'a> {
    max_new_tokens: u32,
    temperature: f64,
    top_p: f64,
    dlm_steps: u32,
    order: &'a str,
}

impl<'a> TextsOf<'a> {
    /// Answers of the decoding-order bench in one of its orders.
    pub(super) fn in_order(set: &'a DecodingSettings, order: &'a str) -> TextsOf<'a> {
        TextsOf {
            max_new_tokens: set.max_new_tokens,
            temperature: set.temperature,
            top_p: set.top_p,
            dlm_steps: set.dlm_steps,
            order,
        }
    }
}

impl<'a> From<&'a SteeringSettings> for TextsOf<'a> {
    fn from(set: &'a SteeringSettings) -> TextsOf<'a> {
        TextsOf {
            max_new_tokens: set.max_new_tokens,
            temperature: set.temperature,
            top_p: set.top_p,
            dlm_steps: set.dlm_steps,
            order: &set.order,
        }
    }
}

impl<'a> From<&'a RolloutSettings> for TextsOf<'a> {
    fn from(set: &'a RolloutSettings) -> TextsOf<'a> {
        TextsOf {
            max_new_tokens: set.max_new_tokens,
            temperature: set.temperature,
            top_p: set.top_p,
            dlm_steps: set.dlm_steps,
            order: &set.order,
        }
    }
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
