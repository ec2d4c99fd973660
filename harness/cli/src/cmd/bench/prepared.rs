//! What a bench is before it is run: its settings, what is on disk, its cells, and what they would
//! take.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

use harness_contract::{
    hash::HashCache,
    plugin::{Discovery, PluginChoice},
    stages::Numerics,
};
use harness_plan::{
    bench::{BenchSpec, Catalogue, Overrides},
    expand::{self, BenchRequest, Cost, Plan, ResolvedBench, check_options, resolve},
    sources::Answers,
};
use harness_store::{Access, Store};
use harness_supervise::memory;

use super::{
    ALL, BenchArgs, assumed, catalogue,
    dry_run::DryRun,
    execute::{Bench, done_cells},
    forecast::Speed,
    own_rows, zoo_text,
};
use crate::{
    failure::Failure,
    folders::{self, Query},
    output,
    plugins::Plugins,
    root::{Root, cache_dir},
};

/// A bench with its settings, and where its results go.
pub(super) struct RequestedBench {
    pub(super) root: Root,
    pub(super) spec: BenchSpec,
    pub(super) overrides: Overrides,
    pub(super) models: BTreeMap<String, PathBuf>,
    pub(super) saes: BTreeMap<String, PathBuf>,
    pub(super) out: PathBuf,
    /// Where replies of judges are kept unless the command line says so.
    pub(super) replies_in: PathBuf,
}

impl RequestedBench {
    pub(super) fn of(args: &BenchArgs) -> Result<RequestedBench, Failure> {
        let root = Root::find()?;
        let spec = Catalogue::open(&root.tables(), harness_benches::KINDS)?.load(&args.table)?;
        let overrides = args.overrides(&spec);
        let out = match &args.out {
            Some(out) => out.clone(),
            None => Path::new("results/runs").join(&spec.store),
        };
        Ok(RequestedBench {
            root,
            spec,
            overrides,
            models: args.models()?,
            saes: args.sae_sets()?,
            replies_in: out.clone(),
            out,
        })
    }

    /// List the SAE sets of a bench that runs nothing.
    pub(super) fn list(&self, args: &BenchArgs) -> Result<u8, Failure> {
        let RequestedBench {
            root,
            spec,
            overrides,
            saes,
            out,
            ..
        } = self;
        catalogue::run(args, root, spec, (overrides, saes), out)
    }
}

/// A bench that fits what is on disk. Its cells are not known yet.
pub(super) struct PreparedBench<'a> {
    pub(super) args: &'a BenchArgs,
    pub(super) root: Root,
    pub(super) bench: ResolvedBench,
    pub(super) plugins: Discovery,
    choice: PluginChoice,
    pub(super) devices: Vec<String>,
    pub(super) out: PathBuf,
    replies_in: PathBuf,
    /// Where the embedded models' text lies while nothing may be written to the results.
    scratch: Option<tempfile::TempDir>,
    /// What a prediction assumes of folders that were not given.
    notes: Vec<String>,
}

/// What a bench would take.
pub(super) struct Forecast {
    pub(super) text: String,
    pub(super) cells: u64,
    pub(super) cost: Cost,
    pub(super) memory_bytes: u64,
    /// Whether that is more than there is.
    pub(super) is_too_large: bool,
    /// Seconds of a device.
    pub(super) seconds: f64,
    pub(super) usd: Option<f64>,
}

impl<'a> PreparedBench<'a> {
    /// `only_reads`: nothing is left behind, so the text that is hashed lies elsewhere.
    pub(super) fn of(
        args: &'a BenchArgs,
        requested: RequestedBench,
        only_reads: bool,
    ) -> Result<PreparedBench<'a>, Failure> {
        let RequestedBench {
            root,
            mut spec,
            mut overrides,
            models,
            mut saes,
            out,
            replies_in,
        } = requested;
        let found = Plugins::find(args.plugins.choice()?)?.agree()?;
        let note = own_rows::add(&mut spec, &mut overrides, (&models, &saes), &found)?;
        note.iter()
            .for_each(|line| output::talk(&output::sanitize(line)));
        let devices = args.devices()?;
        let scratch = match only_reads {
            true => Some(
                tempfile::tempdir()
                    .map_err(|error| Failure::cannot_write(&env::temp_dir(), &error))?,
            ),
            false => None,
        };
        let text_dir = scratch.as_ref().map_or(out.as_path(), |dir| dir.path());
        let (mut notes, mut known) = (Vec::new(), Answers::default());
        if let (Some(dir), true) = (&scratch, args.dry_run) {
            let query = Query {
                models: models.values().cloned().collect(),
                ..Query::default()
            };
            known = folders::ask(&found, query, known)?;
            let place = (dir.path(), args.forecast.d_sae);
            notes = assumed::sets(&spec, &overrides, &models, &mut saes, place, &mut known)?;
        }
        let folders = Folders {
            models,
            saes,
            known,
        };
        let place = (text_dir, &found);
        let mut bench = resolved(args, &root, &spec, &overrides, &folders, place)?;
        for note in &bench.notes {
            output::talk(&output::sanitize(note));
        }
        // Looking is opening, and who only reads opens nothing but to ask what a folder is.
        let Plugins {
            choice,
            discovery: plugins,
        } = match only_reads {
            true => found,
            false => found.look()?,
        };
        for refused in &plugins.refused {
            let reason = output::sanitize(&refused.reason);
            output::warn(&format!("refused {}: {reason}", refused.path.display()));
        }
        args.judging.name_replayed(&mut bench, &replies_in)?;
        // Of many benches some have no judge.
        let is_judged = bench.rows.iter().any(|row| row.settings.judge().is_some());
        if is_judged || args.table != ALL {
            args.judging.check(&bench, &plugins)?;
        }
        Ok(PreparedBench {
            args,
            root,
            bench,
            plugins,
            choice,
            devices,
            out,
            replies_in,
            scratch,
            notes,
        })
    }

    /// Its cells.
    pub(super) fn plan(&self) -> Result<Plan, Failure> {
        let scratch = self.scratch.as_ref().map(|dir| dir.path());
        let plan = expanded(&self.bench, &self.plugins, scratch.unwrap_or(&self.out))?;
        plan.warnings.iter().for_each(|line| output::warn(line));
        Ok(plan)
    }

    /// What it would take, in words, and the numbers behind them.
    pub(super) fn forecast(&self) -> Result<Forecast, Failure> {
        let plan = self.plan()?;
        let store = Store::open(&self.out, Access::Read).ok();
        let (done, _) = match &store {
            Some(store) => done_cells(&plan, store)?,
            None => Default::default(),
        };
        let speed = self.speed(store.as_ref());
        let cost = plan.cost(|key| !done.contains(key));
        let judging = (self.args.judging).estimate(&self.bench, &self.plugins, &cost);
        let usd = self.args.judging.usd(&self.bench, &self.plugins);
        let text = DryRun {
            plan: &plan,
            bench: &self.bench,
            done: &done,
            judging: &judging,
            usd: usd.as_ref().map(|usd| usd as &dyn Fn(&Cost) -> f64),
            speed: &speed,
            notes: &self.notes,
        }
        .report();
        Ok(Forecast {
            text,
            cells: plan.cells.len() as u64,
            memory_bytes: plan.memory_bytes(),
            is_too_large: !plan
                .too_large(plan.memory_budget(), |key| !done.contains(key))
                .is_empty(),
            seconds: cost.flops / speed.flops,
            usd: usd.map(|usd| usd(&cost)),
            cost,
        })
    }

    /// How fast its cells are taken to run, by what is given and what earlier runs in its store
    /// have reached.
    pub(super) fn speed(&self, store: Option<&Store>) -> Speed {
        let device = self.devices.first().map_or("cpu", String::as_str);
        let dtype = self.args.compute.dtype;
        self.args.forecast.speed(device, dtype, store)
    }

    /// Its store, open for writing.
    pub(super) fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.out, Access::Write)?)
    }

    /// To be run, with its store and its cells.
    pub(super) fn with(self, store: Store, plan: Plan) -> Bench<'a> {
        Bench {
            args: self.args,
            root: self.root,
            bench: self.bench,
            plugins: self.plugins,
            choice: self.choice,
            devices: self.devices,
            plan,
            store,
            replies_in: self.replies_in,
            budget: None,
        }
    }
}

/// Folders that the command line names.
pub struct Folders {
    /// Models, by name.
    pub models: BTreeMap<String, PathBuf>,
    /// SAE sets, by name.
    pub saes: BTreeMap<String, PathBuf>,
    /// What is known of folders before plugins are requested.
    pub known: Answers,
}

/// A bench checked against what is on disk; the embedded models' text lies in `text_dir`, or will.
///
/// # Errors
/// Everything that is wrong with it.
pub fn resolved(
    args: &BenchArgs,
    root: &Root,
    spec: &BenchSpec,
    overrides: &Overrides,
    folders: &Folders,
    (text_dir, plugins): (&Path, &Plugins),
) -> Result<ResolvedBench, Failure> {
    let prefixes: Vec<String> = harness_data::prefixes()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let is_on_cpu = args.devices()?.iter().all(|device| device == "cpu");
    let usual_memory = || match is_on_cpu {
        true => memory::usual_budget(),
        // What a device has free cannot be asked for here.
        false => 0,
    };
    let request = BenchRequest {
        spec,
        kind_of: harness_benches::kind_of,
        models: &folders.models,
        saes: &folders.saes,
        zoo: &root.zoo(),
        overrides,
        data: &args.data,
        zoo_data: &[zoo_text::heldout_path(text_dir)],
        prompts: &args.prompts,
        zoo_prompts: &[zoo_text::prompts_path(text_dir)],
        questions: &args.questions,
        zoo_questions: &[zoo_text::questions_path(text_dir)],
        prefixes: &prefixes,
        profile: args.profile(),
        numerics: Numerics {
            dtype: args.compute.dtype,
            reproducible: args.compute.reproducible,
            allow_nan: args.allow_nan,
        },
        limits: expand::Limits {
            batch: args.batch,
            memory: args.memory.unwrap_or_else(usual_memory),
        },
        is_forecast: args.dry_run,
        strict_saes: args.strict_saes,
        plugins: &plugins.discovery,
    };
    let query = Query {
        models: request.model_dirs().into_iter().collect(),
        sets: request.set_dirs().into_iter().collect(),
    };
    let answers = match folders::ask(plugins, query, folders.known.clone()) {
        Ok(answers) => answers,
        Err(failure) => {
            // A wrong option comes before plugins that cannot be asked.
            check_options(&request)?;
            return Err(failure);
        }
    };
    Ok(resolve(&request, &answers)?)
}

/// The cells of a bench; large files are hashed once and remembered in the user's cache.
fn expanded(bench: &ResolvedBench, plugins: &Discovery, text_dir: &Path) -> Result<Plan, Failure> {
    let own_text = zoo_text::heldout_path(text_dir);
    if bench.rows.iter().any(|row| row.data.contains(&own_text)) {
        zoo_text::heldout_file(text_dir)?;
    }
    let own_prompts = zoo_text::prompts_path(text_dir);
    if bench.rows.iter().any(|row| row.data.contains(&own_prompts)) {
        zoo_text::prompts_file(text_dir)?;
    }
    let own_questions = zoo_text::questions_path(text_dir);
    if bench
        .rows
        .iter()
        .any(|row| row.data.contains(&own_questions))
    {
        zoo_text::questions_file(text_dir)?;
    }
    let mut hashes = match cache_dir() {
        Some(dir) => HashCache::open(&dir.join("hashes.json")),
        None => HashCache::in_memory(),
    };
    let plan = harness_benches::expand(bench, plugins, &mut hashes)?;
    // A cache that cannot be written is only a slower next run.
    let _ = hashes.save();
    Ok(plan)
}
