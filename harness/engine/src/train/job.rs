//! The job: model and text in, sets of SAEs in the released layout out.

use std::{fs, path::PathBuf, time::Instant};

use harness_plan::{
    exit,
    inspect::{RUNTIME_FILE, Runtime, SaeSeconds},
    jobs::{Event, TrainJob},
    protocol::LogLevel,
    sources::ModelFolder,
    stages::MAX_BAD_ROWS,
};
use serde_json::{Value, json};

use super::{
    checkpoint::Checkpoints,
    grid::{Grid, Learner, Measured},
    history::{At, History},
    meter::Meter,
    origin::{Hashes, Origin, bad_input, dtype_name, fingerprint, provenance, report},
    passes::{Rows, residuals},
    pool::Keep,
    settings::{Policy, Settings, trainer_config},
};
use crate::{
    data::{DataOptions, TokenBatch},
    device,
    plugin::{LoadOptions, Model, ModelInfo, Registry, SaeTrainer},
    run::CellError,
    text::{ExpectedIds, TextCodec},
};

/// Trains the grid of a job and tells one result for each SAE.
///
/// # Errors
/// Settings that do not fit the model, files that cannot be read or written, or a plugin's failure. Finished
/// work stays; the same job goes on from its last checkpoint.
pub fn run(job: &TrainJob, sink: &mut dyn FnMut(Event)) -> Result<u8, CellError> {
    let registry = Registry::open(&job.plugins).map_err(|e| {
        CellError::Invalid(format!("the folders of plugins cannot be searched: {e}"))
    })?;
    let device = device::parse(&job.compute.device)?;
    let mut make = |config: &Value| -> Result<SaeTrainer, CellError> {
        let architecture = registry.sae(&job.architecture, &json!({}))?;
        Ok(architecture.trainer(config, device)?)
    };
    run_with(job, &registry, &mut make, sink)
}

/// Makes a trainer from its configuration, in the names that architectures share.
pub type MakeLearner<'a, L> = &'a mut dyn FnMut(&Value) -> Result<L, CellError>;

/// The same with trainers made by `make`: they see the rows that the job's own would see, in the same order.
///
/// # Errors
/// As [`run`].
pub fn run_with<L: Learner>(
    job: &TrainJob,
    registry: &Registry,
    make: MakeLearner<'_, L>,
    sink: &mut dyn FnMut(Event),
) -> Result<u8, CellError> {
    let _no_grad = tch::no_grad_guard();
    tch::set_num_threads(i32::try_from(job.compute.threads).unwrap_or(1).max(1));
    let options = LoadOptions {
        device: device::parse(&job.compute.device)?,
        kind: device::kind(job.compute.dtype),
        allow_nan: false,
    };
    let folder = ModelFolder::read(&job.model_name, &job.model).map_err(bad_input)?;
    let model = registry.model_for_type(&folder.model_type)?;
    let info = model.inspect(&job.model)?;
    let settings = Settings::new(job, &info)?;
    let hashes = Hashes::read(job, &folder, registry)?;
    let checkpoints = Checkpoints::open(&job.out, fingerprint(job, &settings, &hashes))?;
    let history = History::open(&job.out, |policy, step| {
        let saved = policy.parse().ok().and_then(|p| checkpoints.saved(p));
        saved.is_some_and(|s| s.finished.is_some() || step <= s.progress.steps)
    })?;
    let mut run = Run {
        job,
        settings,
        info,
        hashes,
        make,
        checkpoints,
        history,
        grids: Vec::new(),
        options,
    };
    run.open_grids(sink)?;
    run.train(model, sink)?;
    run.tell_results(sink);
    run.history.finish()?;
    Ok(exit::OK)
}

struct Run<'a, L> {
    job: &'a TrainJob,
    settings: Settings,
    info: ModelInfo,
    hashes: Hashes,
    make: MakeLearner<'a, L>,
    checkpoints: Checkpoints,
    history: History,
    grids: Vec<Grid<L>>,
    options: LoadOptions,
}

impl<L: Learner> Run<'_, L> {
    /// Grids that are not finished, new or from their checkpoints.
    fn open_grids(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), CellError> {
        let keep = self.keep(sink);
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
                    let d_model = self.info.d_model;
                    let mut make = maker(self.job, &self.settings, d_model, policy, self.make);
                    let (settings, keep) = (&self.settings, keep.clone());
                    let mut grid =
                        Grid::resume(policy, settings, keep, saved.progress, &dir, &mut make)?;
                    grid.spent = saved.spent;
                    grid.spent.resumed += 1;
                    self.grids.push(grid);
                }
                None => self
                    .grids
                    .push(Grid::new(policy, &self.settings, keep.clone())),
            }
        }
        Ok(())
    }

    /// Where the pools' rows are kept: in memory where all of them fit.
    fn keep(&self, sink: &mut dyn FnMut(Event)) -> Keep {
        let row = self.info.d_model * self.options.kind.elt_size_in_bytes();
        let rows = self.settings.pool_rows() * self.settings.layers.len();
        let bytes = (row * rows * self.settings.policies.len()) as u64;
        let limit = self.job.buffer_memory.or_else(|| Some(free_memory()? / 2));
        match limit {
            Some(limit) if bytes > limit => {
                sink(Event::Log {
                    level: LogLevel::Info,
                    message: format!(
                        "activations are kept in files: they take {bytes} bytes, {limit} of memory are for them"
                    ),
                });
                Keep::Files(self.job.out.clone())
            }
            _ => Keep::Memory,
        }
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
        let mut rows = Rows::open(
            &codec,
            &job.data,
            job.context_length as usize,
            DataOptions {
                field: job.text_field.clone(),
                naming: "--text-field ",
                max_bad_rows: job.max_bad_rows.unwrap_or(MAX_BAD_ROWS),
                ..DataOptions::default()
            },
        )?;
        let pad = self.info.pad_token_id.unwrap_or(0);
        let mut meter = Meter::new(&self.settings, &self.grids, &self.checkpoints);
        for pass in 0.. {
            if self.grids.is_empty() {
                break;
            }
            let mut taken = rows.take(job.model_batch as usize)?;
            if taken.is_empty() {
                self.data_ended(&mut rows, sink)?;
                taken = rows.take(job.model_batch as usize)?;
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
            let started = Instant::now();
            let found = residuals(&mut model, &batch, &self.settings, pass, &wanted)?;
            let share = started.elapsed().as_secs_f64() / wanted.len() as f64;
            for (policy, found) in &found {
                for grid in self.grids.iter_mut().filter(|g| g.policy == *policy) {
                    grid.spent.model += share;
                }
                self.feed(*policy, pass, found, rows.epochs, &mut meter, sink)?;
            }
        }
        if let Some(message) = rows.bad_rows_note()? {
            sink(Event::Log {
                level: LogLevel::Warn,
                message,
            });
        }
        Ok(())
    }

    /// Begins the text again where that is allowed.
    fn data_ended(
        &self,
        rows: &mut Rows<'_>,
        sink: &mut dyn FnMut(Event),
    ) -> Result<(), CellError> {
        if !self.job.allow_short {
            let wanted = self.settings.steps * self.settings.batch as u64;
            let each: Vec<String> = self
                .grids
                .iter()
                .map(|g| {
                    format!(
                        "{} of the {wanted} activations of {}",
                        g.gathered(),
                        g.policy
                    )
                })
                .collect();
            return Err(CellError::BadInput(format!(
                "the text ends after {} tokens in {} rows: they gave {} (hint: more --data, fewer --tokens, or --allow-short to read it again with other masks)",
                rows.tokens,
                rows.next,
                each.join(" and ")
            )));
        }
        rows.restart()?;
        sink(Event::Log {
            level: LogLevel::Info,
            message: format!(
                "the text ended; it is read for the {} time, with other masks",
                ordinal(rows.epochs)
            ),
        });
        Ok(())
    }

    /// Hands a policy its rows; writes its SAEs when it is done.
    fn feed(
        &mut self,
        policy: Policy,
        pass: u64,
        rows: &[tch::Tensor],
        epochs: u64,
        meter: &mut Meter,
        sink: &mut dyn FnMut(Event),
    ) -> Result<(), CellError> {
        let Some(at) = self.grids.iter().position(|g| g.policy == policy) else {
            return Ok(());
        };
        let mut grid = self.grids.swap_remove(at);
        {
            let (settings, checkpoints, history) =
                (&self.settings, &mut self.checkpoints, &mut self.history);
            let mut make = maker(self.job, settings, self.info.d_model, policy, self.make);
            grid.feed(pass, rows, &mut make, &mut |grid| {
                meter.step(grid, settings, sink);
                let steps = grid.progress.steps;
                if steps.is_multiple_of(settings.log_every) || grid.is_done() {
                    history.add(&measured(grid, settings))?;
                }
                if steps.is_multiple_of(settings.checkpoint_every) && !grid.is_done() {
                    history.sync()?;
                    checkpoints.save(grid)?;
                }
                Ok(())
            })?;
        }
        if grid.is_done() {
            self.history.sync()?;
            let reports = self.write(&mut grid, epochs)?;
            self.write_runtime(&grid)?;
            self.checkpoints.finish(&grid, reports)?;
        } else {
            self.grids.push(grid);
        }
        Ok(())
    }

    /// Writes a policy's SAEs: `out/<policy>/resid_post_layer_{L}/trainer_{i}`.
    fn write(&self, grid: &mut Grid<L>, epochs: u64) -> Result<Vec<Value>, CellError> {
        let kind = device::kind(self.job.save_dtype);
        let origin = Origin {
            job: self.job,
            settings: &self.settings,
            info: &self.info,
            hashes: &self.hashes,
            epochs,
        };
        let mut reports = Vec::new();
        for (l, layer) in self.settings.layers.iter().enumerate() {
            for (i, k) in self.settings.k.iter().enumerate() {
                let relative = PathBuf::from(grid.policy.name())
                    .join(format!("resid_post_layer_{layer}"))
                    .join(format!("trainer_{i}"));
                let place = (grid.policy, *layer, *k);
                let mut report = report(place, &grid.progress.tails[l][i], &self.settings);
                let provenance = provenance(&origin, place, &report);
                let dir = self.job.out.join(&relative);
                grid.trainers[l][i].save(&dir, &self.job.format, kind, &provenance)?;
                report["path"] = json!(relative);
                reports.push(report);
            }
        }
        Ok(reports)
    }

    /// Writes the time a policy took beside its layers' folders.
    fn write_runtime(&self, grid: &Grid<L>) -> Result<(), CellError> {
        let compute = &self.job.compute;
        let mut saes = Vec::new();
        for (layer, seconds) in self.settings.layers.iter().zip(&grid.spent.steps) {
            for (k, seconds) in self.settings.k.iter().zip(seconds) {
                saes.push(SaeSeconds {
                    layer: *layer as u32,
                    k: *k,
                    seconds: *seconds,
                });
            }
        }
        let runtime = Runtime {
            schema: 1,
            policy: grid.policy.name().to_owned(),
            device: compute.device.clone(),
            threads: compute.threads,
            model_dtype: dtype_name(compute.dtype).to_owned(),
            product_dtype: dtype_name(self.job.product_dtype).to_owned(),
            resumed: grid.spent.resumed,
            model_seconds: grid.spent.model,
            buffer_seconds: grid.spent.buffer,
            saes,
        };
        let path = self.job.out.join(grid.policy.name()).join(RUNTIME_FILE);
        let fail = |error: &dyn std::fmt::Display| {
            CellError::Store(format!("{}: cannot write it: {error}", path.display()))
        };
        let text = serde_json::to_string_pretty(&runtime).map_err(|e| fail(&e))?;
        fs::write(&path, text + "\n").map_err(|e| fail(&e))
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

/// Makes the trainers of a policy.
fn maker<'a, L>(
    job: &'a TrainJob,
    settings: &'a Settings,
    d_model: usize,
    policy: Policy,
    make: MakeLearner<'a, L>,
) -> impl FnMut(usize, usize, f64) -> Result<L, CellError> + 'a {
    move |layer, k, scale| {
        let place = (policy, settings.layers[layer], settings.k[k]);
        make(&trainer_config(job, settings, d_model, place, scale))
    }
}

/// The last step of a policy's SAEs, as rows of training.csv.
fn measured<L: Learner>(grid: &Grid<L>, settings: &Settings) -> Vec<(At, Measured)> {
    let step = grid.progress.steps;
    let mut rows = Vec::new();
    for (layer, last) in settings.layers.iter().zip(&grid.last) {
        for (k, last) in settings.k.iter().zip(last) {
            let at = At {
                policy: grid.policy,
                layer: *layer,
                k: *k,
                step,
                tokens: step * settings.batch as u64,
            };
            rows.push((at, *last));
        }
    }
    rows
}

/// Bytes that programs may still take, where the system says it.
fn free_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// `2nd`, `3rd`, `4th`.
fn ordinal(n: u64) -> String {
    let end = match (n % 10, n % 100) {
        (1, teen) if teen != 11 => "st",
        (2, teen) if teen != 12 => "nd",
        (3, teen) if teen != 13 => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}
