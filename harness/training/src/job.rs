//! The job: model and text in, sets of SAEs in the released layout out.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use harness_contract::{
    exit,
    jobs::{Event, TrainJob},
    protocol::LogLevel,
    sources::Checkpoint,
};
use harness_core::policy::Policy;
use harness_engine::{
    data::TokenBatch,
    device,
    error::CellError,
    jobs::{Sink, StopRequested, open_plugins, options, tokenizer},
    plugin::{LoadOptions, Model, ModelInfo, Registry, SaeTrainer},
    text::TextCodec,
};
use serde_json::{Value, json};

use crate::{
    checkpoint::{Checkpoints, Timer},
    counting::Counting,
    grid::{Grid, Learner, Measured},
    history::{At, History},
    meter::{Meter, stage},
    origin::{Hashes, Origin, bad_input, fingerprint, provenance, report},
    pace::step_in_tokens,
    passes::{Rows, open_rows, residuals},
    pool::Keep,
    runtime::write_runtime,
    settings::{Settings, trainer_config},
};

/// Trains the grid of a job and sends one result for each SAE. Once `stop_requested` says so
/// it writes checkpoints and stops.
///
/// # Errors
/// Settings that do not fit the model, text that is too short, files that cannot be read or
/// written, a plugin's failure, or the request to stop. Finished work stays; the same job goes on
/// from its last checkpoint.
pub fn run(
    job: &TrainJob,
    stop_requested: StopRequested<'_>,
    sink: Sink<'_>,
) -> Result<u8, CellError> {
    let registry = open_plugins(&job.plugins)?;
    let device = device::parse(&job.compute.device)?;
    let mut make = |config: &Value| -> Result<SaeTrainer, CellError> {
        let architecture = registry.sae(&job.architecture, &json!({}))?;
        Ok(architecture.trainer(config, device)?)
    };
    run_with(job, &registry, &mut make, stop_requested, sink)
}

/// Makes a trainer from its configuration, in the names that architectures share.
pub type MakeLearner<'a, L> = &'a mut dyn FnMut(&Value) -> Result<L, CellError>;

/// The same with trainers made by `make`: they see the rows that the job's own would see, in the
/// same order.
///
/// # Errors
/// As [`run`].
pub fn run_with<L: Learner>(
    job: &TrainJob,
    registry: &Registry,
    make: MakeLearner<'_, L>,
    stop_requested: StopRequested<'_>,
    sink: Sink<'_>,
) -> Result<u8, CellError> {
    let _no_grad = tch::no_grad_guard();
    let options = options(&job.compute)?;
    let checkpoint = Checkpoint::read(&job.model_name, &job.model).map_err(bad_input)?;
    let model = registry.model_for_type(&checkpoint.model_type)?;
    let info = model.inspect(&job.model)?;
    let settings = Settings::new(job, &info)?;
    let codec = tokenizer(&job.model, &info, sink)?;
    thread::scope(|scope| {
        let count = || Counting::start(scope, job, &settings, &codec);
        // Before anything that takes longer; a run that goes on says itself whether its text was
        // counted.
        let is_new = !Checkpoints::are_in(&job.out);
        let mut counting = match is_new && !job.allow_short {
            true => count().wait(&settings, is_new, stop_requested, sink)?,
            false => None,
        };
        sink(stage(&settings, "reading model and text"));
        let hashes = Hashes::read(job, &checkpoint, registry)?;
        let mut checkpoints = Checkpoints::open(&job.out, fingerprint(job, &settings, &hashes))?;
        // A run that has ended needs no text any more.
        let is_counted =
            checkpoints.is_text_enough() || checkpoints.are_finished(&settings.policies);
        if !is_new && !job.allow_short && !is_counted {
            counting = count().wait(&settings, is_new, stop_requested, sink)?;
        }
        if counting.is_none() && !job.allow_short {
            checkpoints.text_is_enough();
        }
        let history = History::open(&job.out, |policy, step| {
            let saved = policy.parse().ok().and_then(|p| checkpoints.saved(p));
            saved.is_some_and(|s| s.finished.is_some() || step <= s.progress.steps)
        })?;
        let mut run = Run {
            job,
            settings: settings.clone(),
            info,
            hashes,
            make,
            checkpoints,
            counting,
            history,
            timer: Timer::default(),
            grids: Vec::new(),
            options,
            stop_requested,
        };
        run.open_grids(sink)?;
        run.train(model, &codec, sink)?;
        run.send_results(sink);
        run.history.finish()?;
        Ok(exit::OK)
    })
}

struct Run<'a, L> {
    job: &'a TrainJob,
    settings: Settings,
    info: ModelInfo,
    hashes: Hashes,
    make: MakeLearner<'a, L>,
    checkpoints: Checkpoints,
    /// The count of the text, while it is under way.
    counting: Option<Counting>,
    history: History,
    timer: Timer,
    grids: Vec<Grid<L>>,
    options: LoadOptions,
    stop_requested: StopRequested<'a>,
}

impl<L: Learner> Run<'_, L> {
    /// Grids that are not finished, new or from their checkpoints.
    fn open_grids(&mut self, sink: Sink<'_>) -> Result<(), CellError> {
        let keep = self.place_of_rows(sink);
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
    fn place_of_rows(&self, sink: Sink<'_>) -> Keep {
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

    fn train(
        &mut self,
        mut model: Model,
        codec: &TextCodec,
        sink: Sink<'_>,
    ) -> Result<(), CellError> {
        if self.grids.is_empty() {
            return Ok(());
        }
        sink(stage(&self.settings, "loading the model"));
        model.load(&self.job.model, self.options)?;
        let mut rows = open_rows(self.job, codec)?;
        let step = self.step_in_tokens();
        let mut meter = Meter::new(&self.settings, &self.grids, &self.checkpoints, step);
        let clock = Instant::now();
        match self.passes(&mut model, &mut rows, &mut meter, &clock, sink) {
            Err(CellError::Stopped) => {
                self.keep()?;
                return Err(self.stopped());
            }
            // The trainers have all made the same steps when a text fails.
            Err(error @ (CellError::Data(_) | CellError::BadInput(_))) => {
                self.keep()?;
                return Err(error);
            }
            done => done?,
        }
        if let Some(message) = rows.bad_rows_note()? {
            sink(Event::Log {
                level: LogLevel::Warn,
                message,
            });
        }
        let seconds = clock.elapsed().as_secs_f64();
        sink(Event::Log {
            level: LogLevel::Info,
            message: format!(
                "{} tokens through the model and into the trainers in {seconds:.1} s: {:.0} tokens/s",
                meter.tokens(),
                meter.tokens() as f64 / seconds
            ),
        });
        Ok(())
    }

    /// Takes rows through the model and hands them on until all policies are done.
    fn passes(
        &mut self,
        model: &mut Model,
        rows: &mut Rows<'_>,
        meter: &mut Meter,
        clock: &Instant,
        sink: Sink<'_>,
    ) -> Result<(), CellError> {
        let pad = self.info.pad_token_id.unwrap_or(0);
        let mut began = clock.elapsed();
        for pass in 0.. {
            if self.grids.is_empty() {
                break;
            }
            if (self.stop_requested)() {
                return Err(CellError::Stopped);
            }
            self.look_at_count()?;
            let n = self.job.model_batch as usize;
            let mut taken = rows.take(n)?;
            if taken.is_empty() {
                self.data_ended(rows, sink)?;
                taken = rows.take(n)?;
            }
            let wanted: Vec<Policy> = self
                .grids
                .iter()
                .filter(|g| g.wants(pass))
                .map(|g| g.policy)
                .collect();
            if wanted.is_empty() {
                // Before the checkpoint.
                self.report_filling(meter, clock, sink);
                began = clock.elapsed();
                continue;
            }
            let batch = TokenBatch::collate(&taken, pad);
            let started = clock.elapsed();
            let found = residuals(model, &batch, &self.settings, pass, &wanted)?;
            let now = clock.elapsed();
            let share = (now - started).as_secs_f64() / wanted.len() as f64;
            meter.passed(batch.n_valid(), (now - began).as_secs_f64());
            for (policy, found) in &found {
                for grid in self.grids.iter_mut().filter(|g| g.policy == *policy) {
                    grid.spent.model += share;
                }
                self.feed(*policy, pass, found, rows.epochs, meter, clock, sink)?;
            }
            self.report_filling(meter, clock, sink);
            self.keep_due(clock.elapsed())?;
            began = clock.elapsed();
        }
        Ok(())
    }

    /// Sends how far the buffers are, when it is time for it.
    fn report_filling(&self, meter: &mut Meter, clock: &Instant, sink: Sink<'_>) {
        if let Some(event) = meter.filling(clock.elapsed(), &self.grids, &self.settings) {
            sink(event);
        }
    }

    /// Looks whether the text has been found long enough, or too short.
    fn look_at_count(&mut self) -> Result<(), CellError> {
        if let Some(counting) = &self.counting
            && counting.has_ended()?
        {
            self.counting = None;
            self.checkpoints.text_is_enough();
        }
        Ok(())
    }

    /// What a step takes beside a token, as far as it follows from sizes.
    fn step_in_tokens(&self) -> f64 {
        let (info, settings) = (&self.info, &self.settings);
        let saes = settings.layers.len() * settings.k.len();
        let encoder = saes * info.d_model * self.job.d_sae as usize;
        let outer = (info.vocab_size * info.d_model) as u64;
        let deepest = settings.layers.last().map_or(0, |layer| layer + 1);
        let blocks = info.n_params.saturating_sub(outer) as f64 * deepest as f64;
        let blocks = blocks / info.n_layers.max(1) as f64;
        step_in_tokens(settings.batch as f64, encoder as f64, blocks)
    }

    /// Writes a checkpoint of every policy that has made steps since its last one.
    fn keep(&mut self) -> Result<(), CellError> {
        self.history.sync()?;
        for grid in &mut self.grids {
            if self.checkpoints.lacks(grid) {
                self.checkpoints.save(grid)?;
            }
        }
        Ok(())
    }

    /// The same for policies whose checkpoint is due by the clock: between two steps lies the
    /// filling of a buffer.
    fn keep_due(&mut self, now: Duration) -> Result<(), CellError> {
        for grid in &mut self.grids {
            if self.timer.is_due(grid.policy, now) && self.checkpoints.lacks(grid) {
                self.history.sync()?;
                self.checkpoints.save(grid)?;
                self.timer.is_written(grid.policy, now);
            }
        }
        Ok(())
    }

    /// The error of a run that was asked to stop: what of it is kept.
    fn stopped(&self) -> CellError {
        let steps = self.settings.steps;
        let each: Vec<String> = (self.settings.policies.iter())
            .map(|policy| {
                let saved = self.checkpoints.saved(*policy);
                let made = saved.map_or(0, |saved| saved.progress.steps);
                format!("{policy} at step {made} of {steps}")
            })
            .collect();
        let each = each.join(", ");
        CellError::Interrupted(format!("interrupted and kept: {each}"))
    }

    /// Begins the text again where that is allowed.
    fn data_ended(&self, rows: &mut Rows<'_>, sink: Sink<'_>) -> Result<(), CellError> {
        if !self.job.allow_short {
            return Err(CellError::BadInput(format!(
                "the text ends after {} tokens, and was longer when it was counted: has a file of --data changed?",
                rows.tokens
            )));
        }
        rows.restart()?;
        let is_clean = (self.settings.policies.iter()).all(|policy| *policy == Policy::Clean);
        sink(Event::Log {
            level: LogLevel::Info,
            message: format!(
                "the text ended; it is read for the {} time{}",
                ordinal(rows.epochs),
                if is_clean { "" } else { ", with other masks" }
            ),
        });
        Ok(())
    }

    /// Hands a policy its rows; writes its SAEs when it is done.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a pass knows, and where its events go"
    )]
    fn feed(
        &mut self,
        policy: Policy,
        pass: u64,
        rows: &[tch::Tensor],
        epochs: u64,
        meter: &mut Meter,
        clock: &Instant,
        sink: Sink<'_>,
    ) -> Result<(), CellError> {
        let Some(at) = self.grids.iter().position(|g| g.policy == policy) else {
            return Ok(());
        };
        let mut grid = self.grids.swap_remove(at);
        let mut began = clock.elapsed();
        let fed = {
            let (settings, checkpoints, history) =
                (&self.settings, &mut self.checkpoints, &mut self.history);
            let (others, timer, stop_requested) =
                (&self.grids, &mut self.timer, self.stop_requested);
            let mut make = maker(self.job, settings, self.info.d_model, policy, self.make);
            grid.feed(pass, rows, &mut make, &mut |grid| {
                let now = clock.elapsed();
                meter.stepped((now - began).as_secs_f64());
                began = now;
                if let Some(event) = meter.training(now, grid, others, settings) {
                    sink(event);
                }
                let steps = grid.progress.steps;
                if steps.is_multiple_of(settings.log_every) || grid.is_done() {
                    history.add(&measured(grid, settings))?;
                }
                if grid.is_done() {
                    return Ok(());
                }
                let is_due =
                    steps.is_multiple_of(settings.checkpoint_every) || timer.is_due(policy, now);
                if is_due {
                    history.sync()?;
                    checkpoints.save(grid)?;
                    timer.is_written(policy, now);
                }
                match stop_requested() {
                    true => Err(CellError::Stopped),
                    false => Ok(()),
                }
            })
        };
        if fed.is_ok() && grid.is_done() {
            self.history.sync()?;
            let reports = self.write(&mut grid, epochs)?;
            write_runtime(self.job, &self.settings, &grid)?;
            self.checkpoints.finish(&grid, reports)?;
        } else {
            self.grids.push(grid);
        }
        fed
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

    fn send_results(&self, sink: Sink<'_>) {
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
