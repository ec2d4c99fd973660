use std::collections::BTreeMap;

use harness_core::{layer::depth_of, suggest};
use serde::Serialize;

use super::{
    Cost, Plan, PlanError, PlannedRow, ResolvedBench, ResolvedModel, ResolvedRow, RowCells,
    cost::memory_bytes,
};
use crate::{
    cell::Cell,
    config::Problem,
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
            depth: depth.unwrap_or(harness_core::layer::Depth::Shallow),
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

/// Costs of the cells of one SAE.
struct RowCosts {
    features: Cost,
    explain: Cost,
    baseline: Cost,
    steer: Cost,
    baseline_perplexity: Cost,
    steer_perplexity: Cost,
    judge: Cost,
}

impl RowCosts {
    fn of(bench: &ResolvedBench, row: &ResolvedRow, sae: &SaeFolder) -> RowCosts {
        let set = &row.settings;
        let model = &bench.models[row.model].folder;
        let scorer_layers = u64::from(bench.models[row.scorer].folder.n_layers);
        let new_tokens = u64::from(set.max_new_tokens);
        let contexts = set.budget_tokens.div_ceil(u64::from(set.context_length));
        let pool = bench.prefixes.len() as u64;
        let texts = u64::from(set.n_features) * u64::from(set.n_prefix);
        let one = Cost {
            cells: 1,
            ..Cost::default()
        };
        let steps = if model.is_diffusion {
            u64::from(set.dlm_steps)
        } else {
            new_tokens
        };
        let generate = |texts: u64| Cost {
            block_passes: texts * steps * u64::from(model.n_layers),
            // A denoising run scores what is still masked, half of it on average.
            head_rows: if model.is_diffusion {
                texts * new_tokens * (steps + 1) / 2
            } else {
                texts * new_tokens
            },
            generations: texts,
            ..one
        };
        let score = |texts: u64| Cost {
            block_passes: texts * scorer_layers,
            head_rows: texts * new_tokens,
            ..one
        };
        // The pass is shared by the SAEs of a model that read the same text: each is charged its share of the blocks below.
        let sharing = bench
            .rows
            .iter()
            .filter(|r| {
                r.model == row.model
                    && r.data == row.data
                    && r.settings.budget_tokens == set.budget_tokens
            })
            .flat_map(|r| &r.saes)
            .filter(|s| s.layer == sae.layer)
            .count()
            .max(1) as u64;
        RowCosts {
            features: Cost {
                block_passes: contexts.div_ceil(sharing),
                ..one
            },
            explain: Cost {
                judge_calls: u64::from(set.n_features),
                ..one
            },
            baseline: generate(pool),
            steer: generate(texts),
            baseline_perplexity: score(pool),
            steer_perplexity: score(texts),
            judge: Cost {
                judge_calls: texts,
                ..one
            },
        }
    }
}

/// Components the bench needs, found among the plugins.
struct Components {
    found: BTreeMap<(&'static str, String), PluginRef>,
}

impl Components {
    fn find(bench: &ResolvedBench, plugins: &Discovery) -> Result<Components, PlanError> {
        let mut found = BTreeMap::new();
        let mut problems: Vec<Problem> = Vec::new();
        let mut need = |kind: &'static str, name: &str, is_model_type: bool| {
            let key = (kind, name.to_owned());
            if found.contains_key(&key) {
                return;
            }
            let hit = if is_model_type {
                plugins
                    .model_for_type(name)
                    .map(|(plugin, component)| (plugin, component.to_owned()))
            } else {
                plugins
                    .component(kind, name)
                    .map(|plugin| (plugin, name.to_owned()))
            };
            if let Some((plugin, component)) = hit {
                let (plugin, hash) = (plugin.manifest.id.clone(), plugin.hash.clone());
                found.insert(
                    key,
                    PluginRef {
                        kind: kind.to_owned(),
                        name: component,
                        plugin,
                        hash,
                    },
                );
                return;
            }
            let problem = missing(bench, plugins, kind, name, is_model_type);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        };
        for row in &bench.rows {
            let set = &row.settings;
            for model in [row.model, row.scorer] {
                need("model", &bench.models[model].folder.model_type, true);
            }
            need("sae", &set.architecture, false);
            need("steering", &set.token_scope, false);
            need("judge", &set.judge, false);
            if bench.models[row.model].folder.is_diffusion {
                need("remasker", &set.order, false);
            }
            for metric in &set.metrics {
                need("metric", metric, false);
            }
        }
        match problems.is_empty() {
            true => Ok(Components { found }),
            false if plugins.refused.is_empty() => {
                Err(PlanError::Config(crate::config::ConfigError { problems }))
            }
            false => Err(PlanError::Plugins(problems)),
        }
    }

    /// A component that [`Components::find`] has found.
    fn get(&self, kind: &'static str, name: &str) -> PluginRef {
        self.found
            .get(&(kind, name.to_owned()))
            .cloned()
            .unwrap_or_else(|| PluginRef {
                kind: kind.to_owned(),
                name: name.to_owned(),
                plugin: String::new(),
                hash: String::new(),
            })
    }
}

fn missing(
    bench: &ResolvedBench,
    plugins: &Discovery,
    kind: &str,
    name: &str,
    is_model_type: bool,
) -> Problem {
    let message = if is_model_type {
        let folder = bench
            .models
            .iter()
            .find(|m| m.folder.model_type == name)
            .map(|m| m.folder.dir.display().to_string());
        format!(
            "no model adapter reads model_type `{name}` ({}); remote code is never run",
            folder.unwrap_or_default()
        )
    } else {
        format!("no plugin offers {kind} `{name}`")
    };
    let types: Vec<&str> = plugins
        .found
        .iter()
        .flat_map(|p| &p.manifest.components)
        .flat_map(|c| c.model_types.iter().map(String::as_str))
        .collect();
    let known = if is_model_type {
        types
    } else {
        plugins.names(kind)
    };
    let mut hint = suggest::hint(name, known);
    for refused in &plugins.refused {
        hint.push_str(&format!(
            "\n  refused: {}: {}",
            refused.path.display(),
            refused.reason
        ));
    }
    Problem::new(&bench.spec.origin, message, hint)
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
