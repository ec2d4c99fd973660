//! The job: model and text in, sets of SAEs in the released layout out.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use harness_plan::{
    exit,
    hash::HashCache,
    jobs::{Event, TrainJob},
    protocol::LogLevel,
    sources::ModelFolder,
    stages::Dtype,
};
use serde_json::{Map, Value, json};

use super::{
    checkpoint::Checkpoints,
    grid::{Grid, Tail},
    passes::{Rows, residuals},
    settings::{Policy, Settings, trainer_config},
};
use crate::{
    data::TokenBatch,
    device,
    plugin::{LoadOptions, Model, ModelInfo, Registry, SaeTrainer},
    run::CellError,
    text::{ExpectedIds, TextCodec},
};

/// Time between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Trains the grid of a job and tells one result for each SAE.
///
/// # Errors
/// Settings that do not fit the model, files that cannot be read or written, or a plugin's failure. Finished
/// work stays; the same job goes on from its last checkpoint.
pub fn run(job: &TrainJob, sink: &mut dyn FnMut(Event)) -> Result<u8, CellError> {
    let _no_grad = tch::no_grad_guard();
    tch::set_num_threads(i32::try_from(job.compute.threads).unwrap_or(1).max(1));
    let options = LoadOptions {
        device: device::parse(&job.compute.device)?,
        kind: device::kind(job.compute.dtype),
        allow_nan: false,
    };
    let registry = Registry::load(&job.plugins).map_err(|e| {
        CellError::Invalid(format!("the folders of plugins cannot be searched: {e}"))
    })?;
    let folder = ModelFolder::read(&job.model_name, &job.model).map_err(bad_input)?;
    let model = registry.model_for_type(&folder.model_type)?;
    let info = model.inspect(&job.model)?;
    let settings = Settings::new(job, &info)?;
    let hashes = Hashes::read(job, &folder, &registry)?;
    let checkpoints = Checkpoints::open(&job.out, fingerprint(job, &settings, &hashes))?;
    let mut run = Run {
        job,
        settings,
        info,
        hashes,
        registry,
        checkpoints,
        grids: Vec::new(),
        options,
    };
    run.open_grids(sink)?;
    run.train(model, sink)?;
    run.tell_results(sink);
    Ok(exit::OK)
}

fn bad_input(error: impl std::fmt::Display) -> CellError {
    CellError::BadInput(error.to_string())
}

/// Contents that decide the result.
struct Hashes {
    model: String,
    data: Vec<String>,
    architecture: String,
}

impl Hashes {
    fn read(job: &TrainJob, folder: &ModelFolder, registry: &Registry) -> Result<Self, CellError> {
        let mut cache = HashCache::in_memory();
        let data: Result<Vec<String>, _> = job.data.iter().map(|path| cache.file(path)).collect();
        let component = registry
            .components()
            .find(|c| c.kind == "sae" && c.name == job.architecture);
        Ok(Self {
            model: folder.checkpoint_hash(&mut cache).map_err(bad_input)?,
            data: data.map_err(bad_input)?,
            // An unknown name is reported where the architecture is made.
            architecture: component.map(|c| c.hash).unwrap_or_default(),
        })
    }
}

/// Everything that decides the weights; threads and places of files do not.
fn fingerprint(job: &TrainJob, settings: &Settings, hashes: &Hashes) -> Map<String, Value> {
    let value = json!({
        "model": hashes.model,
        "model_name": job.model_name,
        "data": hashes.data,
        "architecture": job.architecture,
        "architecture_hash": hashes.architecture,
        "layers": settings.layers,
        "k": settings.k,
        "policies": settings.policies.iter().map(|p| p.name()).collect::<Vec<_>>(),
        "d_sae": job.d_sae,
        "tokens": job.tokens,
        "context_length": job.context_length,
        "model_batch": job.model_batch,
        "batch": job.batch,
        "buffer": job.buffer,
        "lr": job.lr,
        "warmup_steps": job.warmup_steps,
        "decay_start": job.decay_start,
        "dead_after": job.dead_after,
        "auxk_alpha": job.auxk_alpha,
        "t_min": job.t_min,
        "t_max": job.t_max,
        "seed": job.seed,
        "format": job.format,
        "save_dtype": job.save_dtype,
        "dtype": job.compute.dtype,
        "device": job.compute.device,
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

struct Run<'a> {
    job: &'a TrainJob,
    settings: Settings,
    info: ModelInfo,
    hashes: Hashes,
    registry: Registry,
    checkpoints: Checkpoints,
    grids: Vec<Grid<SaeTrainer>>,
    options: LoadOptions,
}

impl Run<'_> {
    /// Grids that are not finished, new or from their checkpoints.
    fn open_grids(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), CellError> {
        for policy in self.settings.policies.clone() {
            let saved = self.checkpoints.saved(policy).cloned();
            match saved {
                Some(saved) if saved.finished.is_some() => {}
                Some(saved) => {
                    let message = format!("{policy}: going on from step {}", saved.progress.steps);
                    sink(Event::Log {
                        level: LogLevel::Info,
                        message,
                    });
                    let dir = self.checkpoints.folder(policy, &saved.progress);
                    let mut make = maker(
                        self.job,
                        &self.settings,
                        &self.info,
                        &self.registry,
                        self.options,
                        policy,
                    );
                    let grid =
                        Grid::resume(policy, &self.settings, saved.progress, &dir, &mut make)?;
                    self.grids.push(grid);
                }
                None => self.grids.push(Grid::new(policy, &self.settings)),
            }
        }
        Ok(())
    }

    fn train(&mut self, mut model: Model, sink: &mut dyn FnMut(Event)) -> Result<(), CellError> {
        if self.grids.is_empty() {
            return Ok(());
        }
        let job = self.job;
        let codec = TextCodec::load(&job.model)?;
        codec.check_model(&ExpectedIds {
            vocab_size: self.info.vocab_size,
            mask_token_id: self.info.mask_token_id,
            family: self.info.family.clone(),
        })?;
        model.load(&job.model, self.options)?;
        let mut rows = Rows::open(&codec, &job.data, job.context_length as usize)?;
        let pad = self.info.pad_token_id.unwrap_or(0);
        let mut meter = Meter::new(&self.settings, &self.grids, &self.checkpoints);
        let mut epochs = 0;
        for pass in 0.. {
            if self.grids.is_empty() {
                break;
            }
            let taken = rows.take(job.model_batch as usize)?;
            if rows.epochs > epochs {
                epochs = rows.epochs;
                let message = format!(
                    "the data ended; epoch {} begins, with other masks",
                    epochs + 1
                );
                sink(Event::Log {
                    level: LogLevel::Info,
                    message,
                });
            }
            let wanted: Vec<Policy> = self
                .grids
                .iter()
                .filter(|g| g.wants(pass))
                .map(|g| g.policy)
                .collect();
            if wanted.is_empty() {
                continue; // before the checkpoint
            }
            let batch = TokenBatch::collate(&taken, pad);
            meter.tokens += batch.n_valid() as u64;
            let found = residuals(&mut model, &batch, &self.settings, pass, &wanted)?;
            for (policy, rows) in &found {
                self.feed(*policy, pass, rows, &mut meter, sink)?;
            }
        }
        Ok(())
    }

    /// Hands a policy its rows; writes its SAEs when it is done.
    fn feed(
        &mut self,
        policy: Policy,
        pass: u64,
        rows: &[tch::Tensor],
        meter: &mut Meter,
        sink: &mut dyn FnMut(Event),
    ) -> Result<(), CellError> {
        let Some(at) = self.grids.iter().position(|g| g.policy == policy) else {
            return Ok(());
        };
        let mut grid = self.grids.swap_remove(at);
        let (settings, checkpoints) = (&self.settings, &mut self.checkpoints);
        let mut make = maker(
            self.job,
            settings,
            &self.info,
            &self.registry,
            self.options,
            policy,
        );
        grid.feed(pass, rows, &mut make, &mut |grid| {
            meter.step(grid, settings, sink);
            if grid
                .progress
                .steps
                .is_multiple_of(settings.checkpoint_every)
                && !grid.is_done()
            {
                checkpoints.save(grid)?;
            }
            Ok(())
        })?;
        if grid.is_done() {
            let reports = self.write(&mut grid)?;
            self.checkpoints.finish(&grid, reports)?;
        } else {
            self.grids.push(grid);
        }
        Ok(())
    }

    /// Writes a policy's SAEs: `out/<policy>/resid_post_layer_{L}/trainer_{i}`.
    fn write(&self, grid: &mut Grid<SaeTrainer>) -> Result<Vec<Value>, CellError> {
        let kind = device::kind(self.job.save_dtype);
        let mut reports = Vec::new();
        for (l, layer) in self.settings.layers.iter().enumerate() {
            for (i, k) in self.settings.k.iter().enumerate() {
                let relative = PathBuf::from(grid.policy.name())
                    .join(format!("resid_post_layer_{layer}"))
                    .join(format!("trainer_{i}"));
                let report = report(
                    grid.policy,
                    *layer,
                    *k,
                    &grid.progress.tails[l][i],
                    &self.settings,
                );
                let provenance = self.provenance(grid.policy, *layer, *k, &report);
                let dir = self.job.out.join(&relative);
                grid.trainers[l][i].save(&dir, &self.job.format, kind, &provenance)?;
                let mut report = report;
                report["path"] = json!(relative);
                reports.push(report);
            }
        }
        Ok(reports)
    }

    /// What an SAE's configuration says of its origin. Nothing in it depends on when or where it was trained.
    fn provenance(&self, policy: Policy, layer: usize, k: u32, report: &Value) -> Value {
        let job = self.job;
        json!({
            "harness_version": env!("CARGO_PKG_VERSION"),
            "model": job.model_name,
            "model_hash": self.hashes.model,
            "model_family": self.info.family,
            "model_dtype": dtype_name(job.compute.dtype),
            "layer": layer,
            "site": "resid_post",
            "policy": policy.name(),
            "k": k,
            "tokens": self.settings.steps * self.settings.batch as u64,
            "batch": self.settings.batch,
            "context_length": job.context_length,
            "buffer": job.buffer,
            "mask_rate": if policy == Policy::Clean { Value::Null } else { json!([job.t_min, job.t_max]) },
            "seed": job.seed,
            "data": self.hashes.data,
            "final": report,
        })
    }

    fn tell_results(&self, sink: &mut dyn FnMut(Event)) {
        for policy in &self.settings.policies {
            let reports = self
                .checkpoints
                .saved(*policy)
                .and_then(|s| s.finished.as_ref());
            for report in reports.into_iter().flatten() {
                sink(Event::Result {
                    value: report.clone(),
                });
            }
        }
    }
}

fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "f32",
        Dtype::Bf16 => "bf16",
    }
}

/// Makes the trainers of a policy.
fn maker<'a>(
    job: &'a TrainJob,
    settings: &'a Settings,
    info: &'a ModelInfo,
    registry: &'a Registry,
    options: LoadOptions,
    policy: Policy,
) -> impl FnMut(usize, usize, f64) -> Result<SaeTrainer, CellError> + 'a {
    move |layer, k, scale| {
        let place = (policy, settings.layers[layer], settings.k[k]);
        let config = trainer_config(job, settings, info.d_model, place, scale);
        let architecture = registry.sae(&job.architecture, &json!({}))?;
        Ok(architecture.trainer(&config, options.device)?)
    }
}

/// Means over the last steps.
fn report(policy: Policy, layer: usize, k: u32, tail: &Tail, settings: &Settings) -> Value {
    let mean = |sum: f64| {
        if tail.steps == 0 {
            Value::Null
        } else {
            json!(sum / tail.steps as f64)
        }
    };
    json!({
        "policy": policy.name(),
        "layer": layer,
        "k": k,
        "steps": settings.steps,
        "loss": mean(tail.loss),
        "ev": mean(tail.ev),
        "l0": mean(tail.l0),
        "n_dead": tail.n_dead,
        "over_steps": tail.steps,
    })
}

/// The progress line.
struct Meter {
    started: Instant,
    told: Option<Instant>,
    /// Tokens through the model.
    tokens: u64,
    done: u64,
    total: u64,
}

impl Meter {
    fn new(settings: &Settings, grids: &[Grid<SaeTrainer>], checkpoints: &Checkpoints) -> Self {
        let finished = settings
            .policies
            .iter()
            .filter(|p| checkpoints.saved(**p).is_some_and(|s| s.finished.is_some()));
        let done = finished.count() as u64 * settings.steps
            + grids.iter().map(|g| g.progress.steps).sum::<u64>();
        let total = settings.policies.len() as u64 * settings.steps;
        Self {
            started: Instant::now(),
            told: None,
            tokens: 0,
            done,
            total,
        }
    }

    fn step(&mut self, grid: &Grid<SaeTrainer>, settings: &Settings, sink: &mut dyn FnMut(Event)) {
        self.done += 1;
        let due = self.told.is_none_or(|t| t.elapsed() >= PROGRESS_EVERY);
        if !due && self.done != self.total {
            return;
        }
        self.told = Some(Instant::now());
        let tails: Vec<&Tail> = grid.progress.tails.iter().flatten().collect();
        let mean = |of: fn(&Tail) -> f64| {
            tails
                .iter()
                .map(|t| of(t) / t.steps.max(1) as f64)
                .sum::<f64>()
                / tails.len().max(1) as f64
        };
        let lowest = tails
            .iter()
            .map(|t| t.ev / t.steps.max(1) as f64)
            .fold(f64::INFINITY, f64::min);
        let dead: f64 = tails.iter().map(|t| t.n_dead).sum();
        let rate = self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let text = format!(
            "steps · {} {}/{} · loss {:.4} · EV {:.3} (lowest {:.3}) · {dead:.0} dead in {} SAEs · {rate:.0} tokens/s",
            grid.policy,
            grid.progress.steps,
            settings.steps,
            mean(|t| t.loss),
            mean(|t| t.ev),
            lowest,
            tails.len(),
        );
        sink(Event::Progress {
            done: self.done,
            total: self.total,
            text,
        });
    }
}
