use std::collections::BTreeMap;

use harness_core::layer::{Depth, depth_of};
use serde::Serialize;

use super::{
    Cost, Plan, PlanError, PlannedRow, ResolvedBench, ResolvedModel, ResolvedRow, RowCells,
    components::Components, cost::RowCosts, cost::memory_bytes,
};
use crate::{
    cell::Cell,
    hash::{HashCache, HashError},
    plugin::Discovery,
    protocol::Sources,
    sources::{SaeFolder, SourceError},
    stages::{
        BaselineParams, CorpusRef, DenoisingParams, ExplainParams, FeaturesParams,
        GenerationParams, JudgeParams, JudgeRef, ModelRef, PerplexityParams, PluginRef, SaeRef,
        ScoreParams, Stage, SteerParams, SteeringParams,
    },
};

/// Make the cells of a bench.
///
/// # Errors
/// Components that no plugin offers ([`PlanError::Config`], or [`PlanError::Plugins`] when plugins were refused), and contents
/// that cannot be read.
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
        cells: Vec::new(),
        costs: BTreeMap::new(),
        sources: Sources::default(),
    };
    let checkpoints = expander.checkpoints()?;
    let mut rows = Vec::new();
    for row in &bench.rows {
        for sae in &row.saes {
            rows.push(expander.sae(row, sae, &checkpoints)?);
        }
    }
    let mut cells = expander.cells;
    // Stable: within a place, cells keep the order of the bench.
    cells.sort_by_key(|(place, _)| *place);
    Ok(Plan {
        bench: bench.spec.name.clone(),
        title: bench.spec.title.clone(),
        table: bench.spec.table,
        cells: cells.into_iter().map(|(_, cell)| cell).collect(),
        rows,
        sources: expander.sources,
        costs: expander.costs,
        memory_bytes: memory_bytes(bench),
    })
}

/// Where a cell stands: models one after the other, with features, baseline and steered texts; then the scorers; then what
/// needs no model.
type Place = (u8, usize, u8);

struct Expander<'a> {
    bench: &'a ResolvedBench,
    components: Components,
    hashes: &'a mut HashCache,
    cells: Vec<(Place, Cell)>,
    costs: BTreeMap<String, Cost>,
    sources: Sources,
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

    fn sae(
        &mut self,
        row: &ResolvedRow,
        sae: &SaeFolder,
        models: &[ModelRef],
    ) -> Result<PlannedRow, PlanError> {
        let (bench, set) = (self.bench, &row.settings);
        let model = &bench.models[row.model];
        let seed = set.seed;
        let numerics = bench.numerics;
        let sae_ref = self.sae_ref(row, sae)?;
        let corpus = self.corpus(row)?;
        let costs = RowCosts::of(bench, row, sae);

        let features = FeaturesParams {
            model: models[row.model].clone(),
            sae: sae_ref.clone(),
            corpus,
            n_features: set.n_features,
            seed,
            numerics,
        };
        let features = self.add(
            Stage::Features,
            (0, row.model, 0),
            &features,
            vec![],
            costs.features,
        )?;
        let judge = JudgeRef {
            component: self.components.get("judge", &set.judge),
            model: set.judge_model.clone(),
        };
        let explain = ExplainParams {
            judge: judge.clone(),
        };
        let explain = self.add(
            Stage::Explain,
            (2, 0, 0),
            &explain,
            vec![features.clone()],
            costs.explain,
        )?;

        let generation = self.generation(model, row);
        let baseline = BaselineParams {
            model: models[row.model].clone(),
            prefixes: bench.prefixes.clone(),
            generation: generation.clone(),
            numerics,
        };
        let baseline = self.add(
            Stage::Baseline,
            (0, row.model, 1),
            &baseline,
            vec![],
            costs.baseline,
        )?;
        let steer = SteerParams {
            model: models[row.model].clone(),
            sae: sae_ref,
            prefixes: bench.prefixes.clone(),
            n_prefix: set.n_prefix,
            generation,
            steering: SteeringParams {
                amp_factor: set.amp_factor,
                token_scope: self.components.get("steering", &set.token_scope),
                k_scope: set.k_scope,
            },
            numerics,
        };
        let steer = self.add(
            Stage::Steer,
            (0, row.model, 2),
            &steer,
            vec![features.clone()],
            costs.steer,
        )?;

        let scorer = PerplexityParams {
            model: models[row.scorer].clone(),
            max_tokens: set.scorer_max_tokens,
            numerics,
        };
        let at = (1, row.scorer, 0);
        let baseline_perplexity = self.add(
            Stage::Perplexity,
            at,
            &scorer,
            vec![baseline.clone()],
            costs.baseline_perplexity,
        )?;
        let steer_perplexity = self.add(
            Stage::Perplexity,
            at,
            &scorer,
            vec![steer.clone()],
            costs.steer_perplexity,
        )?;

        let read = vec![explain.clone(), baseline.clone(), steer.clone()];
        let judged = self.add(
            Stage::Judge,
            (3, 0, 0),
            &JudgeParams { judge },
            read,
            costs.judge,
        )?;

        let mut metrics: Vec<PluginRef> = set
            .metrics
            .iter()
            .map(|name| self.components.get("metric", name))
            .collect();
        metrics.sort();
        let score = ScoreParams {
            lambda: set.lambda,
            resamples: set.resamples,
            seed,
            metrics,
        };
        let read = vec![
            features.clone(),
            judged.clone(),
            baseline_perplexity.clone(),
            steer_perplexity.clone(),
            explain.clone(),
        ];
        let score = self.add(
            Stage::Score,
            (4, 0, 0),
            &score,
            read,
            Cost {
                cells: 1,
                ..Cost::default()
            },
        )?;

        let depth =
            depth_of(sae.layer, &row.depth_layers).or_else(|| depth_of(sae.layer, &[sae.layer]));
        Ok(PlannedRow {
            family: row.row.family.clone(),
            model: row.row.model.clone(),
            sae: row.row.sae.clone(),
            layer: sae.layer,
            depth: depth.unwrap_or(Depth::Shallow),
            k: sae.k,
            is_diffusion: model.folder.is_diffusion,
            group: row.group.clone(),
            paper: row.row.paper.clone(),
            paper_layer: paper_layer(row, sae.layer),
            settings: row.settings.clone(),
            cells: RowCells {
                features,
                explain,
                baseline,
                steer,
                baseline_perplexity,
                steer_perplexity,
                judge: judged,
                score,
            },
        })
    }

    fn sae_ref(&mut self, row: &ResolvedRow, sae: &SaeFolder) -> Result<SaeRef, PlanError> {
        let hash = sae.hash(self.hashes)?;
        self.sources.saes.insert(hash.clone(), absolute(&sae.dir)?);
        Ok(SaeRef {
            set: row.row.sae.clone(),
            policy: row.row.policy.clone(),
            layer: sae.layer,
            k: sae.k,
            hash,
            architecture: self.components.get("sae", &row.settings.architecture),
        })
    }

    fn corpus(&mut self, row: &ResolvedRow) -> Result<CorpusRef, PlanError> {
        let mut files = Vec::new();
        for path in &row.data {
            let hash = self.hashes.file(path).map_err(SourceError::from)?;
            self.sources.files.insert(hash.clone(), absolute(path)?);
            files.push(hash);
        }
        Ok(CorpusRef {
            files,
            budget_tokens: row.settings.budget_tokens,
            context_length: row.settings.context_length,
        })
    }

    fn generation(&self, model: &ResolvedModel, row: &ResolvedRow) -> GenerationParams {
        let set = &row.settings;
        GenerationParams {
            max_new_tokens: set.max_new_tokens,
            temperature: set.temperature,
            top_p: set.top_p,
            denoising: model.folder.is_diffusion.then(|| DenoisingParams {
                dlm_steps: set.dlm_steps,
                order: self.components.get("remasker", &set.order),
            }),
            seed: set.seed,
        }
    }

    /// Add a cell unless it is there already, and return its key.
    fn add<P: Serialize>(
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

/// The layer of the paper's at the place of a layer of the bench.
fn paper_layer(row: &ResolvedRow, layer: u32) -> Option<u32> {
    let place = row
        .row
        .layers(row.profile)
        .iter()
        .position(|l| *l == layer)?;
    row.row.real_layers.get(place).copied()
}

fn absolute(path: &std::path::Path) -> Result<std::path::PathBuf, PlanError> {
    let hash_error = |source| {
        SourceError::from(HashError {
            path: path.to_owned(),
            source,
        })
    };
    Ok(std::fs::canonicalize(path).map_err(hash_error)?)
}
