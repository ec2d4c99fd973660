//! The steps of a bench that is ready: run what is missing, write the tables and print them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use harness_benches::{Results, derive, write_tables};
use harness_contract::{
    exit,
    plugin::{Discovery, PluginChoice},
    protocol::{Init, Judging},
};
use harness_plan::expand::{Plan, ResolvedBench};
use harness_store::{
    CellCounts, Lookup, Store, StoreError, Unread, claims::Pace, replies::Replies,
};
use harness_supervise::{Launch, Limits};

use super::{
    BenchArgs, judging, metrics, pictures, report,
    run::{self, Order, Outcome},
};
use crate::{failure::Failure, output, progress::clock, root::Root};

/// A worker below this size is small: several of them are no burden.
const SMALL_BYTES: u64 = 512 << 20;

/// Keys of the cells that are done, and the number of files that were damaged: these are told, and
/// run again.
pub(super) fn done_cells(
    plan: &Plan,
    store: &Store,
) -> Result<(BTreeSet<String>, u64), StoreError> {
    let (mut done, mut damaged) = (BTreeSet::new(), 0);
    for cell in &plan.cells {
        match store.lookup(&cell.key)? {
            Lookup::Done(_) => {
                done.insert(cell.key.clone());
            }
            Lookup::Missing | Lookup::Failed(_) => {}
            Lookup::Damaged { path, damage } => {
                damaged += 1;
                output::warn(&format!("{}: {damage}; it is run again", path.display()));
            }
        }
    }
    Ok((done, damaged))
}

/// A bench that is ready to run.
pub(super) struct Bench<'a> {
    pub(super) args: &'a BenchArgs,
    pub(super) root: Root,
    pub(super) bench: ResolvedBench,
    pub(super) plugins: Discovery,
    pub(super) choice: PluginChoice,
    /// Where cells are computed, at least one.
    pub(super) devices: Vec<String>,
    pub(super) plan: Plan,
    pub(super) store: Store,
    pub(super) replies_in: PathBuf,
    /// Name under which what is spent on judges is counted, where other processes count with this
    /// one.
    pub(super) budget: Option<String>,
}

impl Bench<'_> {
    pub(super) fn run(self) -> Result<u8, Failure> {
        let (done, quarantined) = done_cells(&self.plan, &self.store)?;
        let (code, unread) = self.compute(done, quarantined)?;
        let derived = self.print(unread).map_err(kept)?;
        // The cell of a metric that failed is done: its other values are there.
        match derived.has_failed_metric() && code == exit::OK {
            true => Ok(exit::PARTIAL),
            false => Ok(code),
        }
    }

    /// Run the cells that are not among `done`; of the others `quarantined` were damaged. What the
    /// data could not give comes with the exit code where there was anything to run.
    pub(super) fn compute(
        &self,
        done: BTreeSet<String>,
        quarantined: u64,
    ) -> Result<(u8, Option<Unread>), Failure> {
        self.supervise(done, quarantined).map_err(kept)
    }

    fn supervise(
        &self,
        done: BTreeSet<String>,
        quarantined: u64,
    ) -> Result<(u8, Option<Unread>), Failure> {
        let started = Instant::now();
        let (planned, reused) = (self.plan.cells.len() as u64, done.len() as u64);
        let mut counts = CellCounts {
            planned,
            reused,
            quarantined,
            ..CellCounts::default()
        };
        let conflicts = self.n_conflicts();
        let (mut code, mut unread) = (exit::OK, None);
        if reused == planned {
            output::talk(&format!(
                "{}: nothing to do, all {planned} cells are done",
                self.plan.bench
            ));
        } else {
            metrics::check(&self.plan, &done, &self.choice)?;
            self.announce(planned, reused);
            let workers = self.workers();
            self.check_memory(workers, &done)?;
            let mut manifest = report::manifest(
                &self.plan,
                &self.bench,
                &self.plugins,
                &self.root,
                &self.args.compute,
                &self.devices,
                workers,
            );
            manifest.cells = counts;
            self.store.write_manifest(&manifest)?;
            let order = self.order()?;
            let judging = order.init.judging.clone();
            let outcome = run::run(&self.plan, &self.store, order, done)?;
            counts = self.counts(counts, &outcome, conflicts);
            code = match &outcome.stop {
                Some(stop) => stop.code,
                None if counts.conflicts > 0 => exit::PARTIAL,
                None => report::exit_code(&outcome),
            };
            report::finish(&mut manifest, &outcome, counts, code);
            let found = self.store.unread(&self.plan.cells)?;
            manifest.bad_rows.clone_from(&found.bad_rows);
            manifest.cut_texts.clone_from(&found.cut_texts);
            unread = Some(found);
            let noted = self.store.write_manifest(&manifest);
            report::tell_failures(&self.plan, &outcome, &self.store);
            report::tell_open(&self.plan, &outcome);
            match Replies::new(&judging.replies).spent(&judging.run) {
                Ok(spent) => {
                    if let Some(line) = judging::line(&outcome.counters, spent) {
                        output::talk(&line);
                    }
                }
                Err(error) => output::warn(&error.to_string()),
            }
            if let Some(stop) = outcome.stop {
                // Why the run ended says more than that this could not be noted, often for the same
                // reason.
                if let Err(error) = noted {
                    output::warn(&error.to_string());
                }
                return Err(stop);
            }
            noted?;
            let elsewhere = match counts.elsewhere {
                0 => String::new(),
                n => format!(", {n} by other processes"),
            };
            output::talk(&format!(
                "{}: {} cells done in {}{elsewhere}",
                self.plan.bench,
                counts.done,
                clock(started.elapsed())
            ));
            if let Some(grid) = &manifest.grid {
                output::talk(&report::grid_line(grid));
            }
            if let Some(decoding) = &manifest.decoding {
                output::talk(&report::decoding_line(decoding));
            }
            if let Some(passes) = &manifest.activations {
                output::talk(&report::activations_line(passes));
            }
        }
        if counts.conflicts > 0 {
            output::warn(&format!(
                "{} results differ from those already stored, which stay; the others are in {}",
                counts.conflicts,
                self.store.dir().join("conflicts").display()
            ));
        }
        if quarantined > 0 && self.args.strict && code == exit::OK {
            code = exit::PARTIAL;
        }
        Ok((code, unread))
    }

    /// Make tables of the cells that are done, and run nothing.
    pub(super) fn collect(self) -> Result<u8, Failure> {
        let (done, _) = done_cells(&self.plan, &self.store)?;
        self.print(None)?;
        let (planned, n) = (self.plan.cells.len(), self.plan.cells.len() - done.len());
        if n == 0 {
            return Ok(exit::OK);
        }
        let message = format!(
            "{n} of {planned} cells of {} are not done; nothing was run",
            self.plan.bench
        );
        Err(Failure::new(exit::PARTIAL, message).hint(
            "the same command without --collect runs them here, `harness slurm submit` sends them to a cluster",
        ))
    }

    fn announce(&self, planned: u64, reused: u64) {
        let sets: BTreeSet<&str> = self
            .plan
            .rows
            .iter()
            .map(|row| row.sae.set.as_str())
            .collect();
        let models: Vec<&str> = self.bench.models.iter().map(|m| m.name.as_str()).collect();
        let known = match reused {
            0 => String::new(),
            n => format!(", {n} of them done"),
        };
        output::talk(&format!(
            "{}: {planned} cells{known}; {} SAEs of {} sets on {}; results in {}",
            self.plan.bench,
            self.plan.rows.len(),
            sets.len(),
            models.join(", "),
            self.store.dir().display()
        ));
        for line in self.plan.provenance.iter().chain(&self.bench.budgets()) {
            output::talk(line);
        }
    }

    fn workers(&self) -> u32 {
        if let Some(workers) = self.args.workers {
            return workers;
        }
        if !self.is_on_cpu() {
            return u32::try_from(self.devices.len()).unwrap_or(u32::MAX);
        }
        let bytes = self.plan.memory_bytes();
        let workers = match bytes < SMALL_BYTES {
            true => self.args.compute.small_workers(),
            false => 1,
        };
        // Named memory is for all of them together.
        let most = self.args.memory.map(|memory| memory / bytes.max(1));
        match most.and_then(|most| u32::try_from(most).ok()) {
            Some(most) => workers.min(most).max(1),
            None => workers,
        }
    }

    fn is_on_cpu(&self) -> bool {
        self.devices.iter().all(|device| device == "cpu")
    }

    fn order(&self) -> Result<Order, Failure> {
        let compute = &self.args.compute;
        let workers = self.workers();
        let threads = compute.threads(workers);
        let absolute = |path: &Path| {
            path.canonicalize().map_err(|error| {
                Failure::new(exit::UNEXPECTED, format!("{}: {error}", path.display()))
            })
        };
        Ok(Order {
            launch: Launch::new(threads, compute.reproducible)?.limited(Limits {
                memory: self.args.worker_memory(workers),
                time: None,
            }),
            init: Init {
                plugins: PluginChoice {
                    dirs: (self.choice.dirs.iter())
                        .map(|dir| absolute(dir))
                        .collect::<Result<_, _>>()?,
                    ..self.choice.clone()
                },
                sources: self.plan.sources.clone(),
                store: absolute(self.store.dir())?,
                device: self.devices.first().cloned().unwrap_or_default(),
                dtype: compute.dtype,
                threads,
                reproducible: compute.reproducible,
                allow_nan: self.args.allow_nan,
                batch: self.args.batch.or(self.plan.batch()),
                memory: self.memory().map(|all| all / u64::from(workers.max(1))),
                judging: self.judging()?,
                call_marker: None,
            },
            workers,
            devices: self.devices.clone(),
            refused: (self.plugins.refused.iter())
                .map(|plugin| plugin.path.clone())
                .collect(),
            silence: Duration::from_secs(self.args.cell_timeout),
            pace: Pace {
                patience: Duration::from_secs(self.args.claim_timeout),
                ..Pace::default()
            },
        })
    }

    fn judging(&self) -> Result<Judging, Failure> {
        let replies = std::path::absolute(self.args.judging.replies(&self.replies_in));
        let replies = replies
            .map_err(|error| Failure::new(exit::UNEXPECTED, format!("--replies: {error}")))?;
        let mut judging = self.args.judging.judging(replies);
        if let Some(budget) = &self.budget {
            judging.run.clone_from(budget);
        }
        Ok(judging)
    }

    /// Memory of all workers together: what was named, else most of what is free. `None` where
    /// nobody knows, as on a device.
    fn memory(&self) -> Option<u64> {
        Some(self.plan.memory_budget()).filter(|bytes| *bytes > 0)
    }

    /// Refuse what does not fit the memory of a worker: before one loads anything.
    fn check_memory(&self, workers: u32, done: &BTreeSet<String>) -> Result<(), Failure> {
        let Some(all) = self.memory() else {
            return Ok(());
        };
        let budget = all / u64::from(workers.max(1));
        let too_large = self.plan.too_large(budget, |key| !done.contains(key));
        let Some(most) = too_large.iter().map(|(_, error)| error.needed).max() else {
            return Ok(());
        };
        let mut lines: Vec<String> = (too_large.iter())
            .map(|(group, error)| format!("{}: {error}", group.model))
            .collect();
        lines.dedup();
        let needed = (most * u64::from(workers.max(1))).div_ceil(1 << 20);
        Err(Failure::new(exit::DEVICE, lines.join("\n")).hint(format!(
            "--memory {needed}M is enough for {workers} of --workers; fewer --layers or --k need less"
        )))
    }

    fn counts(&self, before: CellCounts, outcome: &Outcome, conflicts: u64) -> CellCounts {
        let is_failed = |key: &str| outcome.failed.contains_key(key);
        CellCounts {
            done: outcome.n_done,
            elsewhere: outcome.n_elsewhere,
            failed: outcome.failed.len() as u64,
            open: outcome.open.len() as u64,
            blocked: self.plan.blocked(is_failed).len() as u64,
            conflicts: self.n_conflicts().saturating_sub(conflicts),
            ..before
        }
    }

    /// Second, different results that the store keeps.
    fn n_conflicts(&self) -> u64 {
        fs::read_dir(self.store.dir().join("conflicts")).map_or(0, |files| files.count() as u64)
    }

    /// Write and print the tables. What the data could not give is looked up where it is not known.
    fn print(&self, unread: Option<Unread>) -> Result<Box<dyn Results>, Failure> {
        let derived = derive(&self.plan, &self.store)?;
        let files = write_tables(&self.plan, derived.as_ref(), &self.store)?;
        match self.args.format.style() {
            Some(style) => {
                let mut text = derived.print(&self.plan, style);
                let unread = match unread {
                    Some(unread) => unread,
                    None => self.store.unread(&self.plan.cells)?,
                };
                let cut = report::cut_lines(&unread.cut_texts, &self.plan.sources.files);
                for line in self.plan.provenance.iter().chain(&cut) {
                    text.push_str(&format!("{line}\n"));
                }
                output::result(&text)?;
            }
            None => {
                let first = files.first().cloned().unwrap_or_default();
                let text = fs::read_to_string(&first).map_err(|error| {
                    Failure::new(exit::UNEXPECTED, format!("{}: {error}", first.display()))
                })?;
                output::result(&text)?;
            }
        }
        for file in files {
            output::talk(&format!("wrote {}", file.display()));
        }
        pictures::write(&self.plan, derived.as_ref(), &self.store, self.args.png)?;
        Ok(derived)
    }
}

/// A run that has begun and cannot write any more.
fn kept(failure: Failure) -> Failure {
    match failure.code {
        exit::CANNOT_WRITE => failure.or_hint(
            "finished cells are kept; once results can be written the same command goes on",
        ),
        _ => failure,
    }
}
