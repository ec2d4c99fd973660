//! Shares of a bench: the plan file that says which cells are missing, and runs of some of them.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, Parser};
use harness_contract::exit;
use harness_plan::{
    expand::Plan,
    shards::{Basis, Estimate, SHARDS_SCHEMA, Shard, ShardPlan, cut, share, units},
};
use harness_store::{Access, Store};

use super::{
    ALL, BenchArgs,
    execute::done_cells,
    prepared::{PreparedBench, RequestedBench},
    report,
    shard_args::ShardArgs,
};
use crate::{cmd::argv, failure::Failure, output};

/// How large chunks are.
#[derive(Clone, Copy, Debug)]
pub struct ChunkSize {
    /// Seconds of a chunk; `None` for as many chunks as there may be.
    pub seconds: Option<f64>,
    /// Chunks, at most.
    pub most: usize,
}

/// What is missing of a bench, shared out.
pub struct Shares {
    pub plan: ShardPlan,
    /// Folder of results, absolute.
    pub out: PathBuf,
    /// Cells of the bench.
    pub planned: usize,
    /// Cells that are done.
    pub done: usize,
}

impl Shares {
    /// Cells that are missing.
    pub fn missing(&self) -> usize {
        self.planned - self.done
    }

    /// Seconds that they take, about.
    pub fn seconds(&self) -> f64 {
        self.plan.chunks.iter().map(|chunk| chunk.seconds).sum()
    }
}

/// The arguments of a bench alone.
#[derive(Parser, Debug)]
struct BenchLine {
    #[command(flatten)]
    args: BenchArgs,
}

/// What is missing of a bench, whose arguments are `argv`, in chunks. `only_reads`: nothing is left
/// behind.
///
/// # Errors
/// As of the bench itself, and when it is one that runs nothing.
pub fn shares(
    args: &BenchArgs,
    argv: Vec<String>,
    only_reads: bool,
    size: ChunkSize,
) -> Result<Shares, Failure> {
    if args.table == ALL {
        let what = format!("`{ALL}` is every bench, and jobs are of one");
        return Err(Failure::new(exit::USAGE, what).hint("name a bench; `harness list` shows them"));
    }
    let requested = RequestedBench::of(args)?;
    if !requested.spec.is_run() {
        let message = format!(
            "{} runs nothing, so there is nothing to share out",
            args.table
        );
        let hint = format!("harness bench {}", args.table);
        return Err(Failure::new(exit::NOTHING, message).hint(hint));
    }
    shares_of(
        PreparedBench::of(args, requested, only_reads)?,
        argv,
        only_reads,
        size,
    )
}

fn shares_of(
    prepared: PreparedBench<'_>,
    mut argv: Vec<String>,
    only_reads: bool,
    size: ChunkSize,
) -> Result<Shares, Failure> {
    if !prepared.args.plugins.are_named() {
        // What the environment says here need not be said there.
        for dir in prepared.args.plugins.get()? {
            argv.extend(["--plugins".to_owned(), dir.display().to_string()]);
        }
    }
    let access = match only_reads {
        true => Access::Read,
        false => Access::Write,
    };
    let store = Store::open(&prepared.out, access);
    let store = match only_reads {
        true => store.ok(),
        false => Some(store?),
    };
    let plan = prepared.plan()?;
    let flops = |key: &str| plan.predicted_flops(key);
    let assumed = prepared.speed(store.as_ref()).flops;
    let estimate = match &store {
        Some(store) => Estimate::of(&plan, store, assumed, flops)?,
        None => Estimate::assumed(assumed),
    };
    let is_missing = |key: &str| !estimate.is_done(key);
    let units = units(&plan, is_missing, |cell| {
        estimate.seconds(cell, flops(&cell.key))
    });
    let total: f64 = units.iter().flat_map(|u| &u.cells).map(|(_, s)| s).sum();
    let seconds = size.seconds.unwrap_or(total / size.most as f64);
    let folder = env::current_dir();
    let folder = folder.map_err(|error| {
        Failure::new(
            exit::UNEXPECTED,
            format!("the current folder is unknown: {error}"),
        )
    })?;
    Ok(Shares {
        out: folder.join(&prepared.out),
        planned: plan.cells.len(),
        done: estimate.n_done(),
        plan: ShardPlan {
            schema: SHARDS_SCHEMA,
            id: new_id(),
            bench: plan.bench.clone(),
            args: argv,
            folder,
            basis: basis(&prepared, &plan),
            chunks: cut(units, seconds, size.most),
        },
    })
}

fn basis(prepared: &PreparedBench<'_>, plan: &Plan) -> Basis {
    let manifest = report::manifest(
        plan,
        &prepared.bench,
        &prepared.plugins,
        &prepared.root,
        &prepared.args.compute,
        &prepared.devices,
        0,
    );
    Basis::of(&manifest, &plan.sources)
}

fn new_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    format!(
        "{}-{}",
        now.map_or(0, |time| time.as_nanos()),
        process::id()
    )
}

/// `--write-plan`.
pub(super) fn write_plan(prepared: PreparedBench<'_>, path: &Path) -> Result<u8, Failure> {
    let own = ShardArgs::augment_args(clap::Command::new("own"));
    let argv = argv::others(2, &own)?;
    let size = ChunkSize {
        seconds: None,
        most: prepared.args.shards.chunks as usize,
    };
    let shares = shares_of(prepared, argv, false, size)?;
    if shares.missing() == 0 {
        output::talk(&format!(
            "{}: nothing to do, all {} cells are done; the same command without --write-plan makes the tables",
            shares.plan.bench, shares.planned
        ));
        return Ok(exit::NOTHING);
    }
    shares.plan.write(path)?;
    let n = shares.plan.chunks.len();
    output::result(&path.display().to_string())?;
    output::talk(&format!(
        "{}: {} of {} cells are missing, in {n} chunks; `harness run-cells --plan {} --shard I/N` runs share I of N, \
         from 0 to N - 1",
        shares.plan.bench,
        shares.missing(),
        shares.planned,
        path.display()
    ));
    Ok(exit::OK)
}

/// Run the cells of a share of a plan that nobody has done, with what they read.
///
/// # Errors
/// As of the bench itself, and when the plan cannot be used.
pub fn run_cells(path: &Path, shard: Shard) -> Result<u8, Failure> {
    let file = ShardPlan::read(path)?;
    let shown = path.display();
    let (index, of) = shard
        .resolve(file.chunks.len(), |name| env::var(name).ok())
        .map_err(|message| Failure::new(exit::USAGE, message))?;
    let path = std::path::absolute(path)
        .map_err(|error| Failure::new(exit::UNEXPECTED, format!("{shown}: {error}")))?;
    env::set_current_dir(&file.folder).map_err(|error| {
        let message = format!(
            "{shown}: it was written in {}, which cannot be entered: {error}",
            file.folder.display()
        );
        Failure::new(exit::BAD_INPUT, message)
            .hint("all machines must see the same folders under the same paths")
    })?;
    let words = std::iter::once("harness bench").chain(file.args.iter().map(String::as_str));
    let BenchLine { args } = BenchLine::try_parse_from(words).map_err(|error| {
        let message = format!("{shown}: this version does not take its options: {error}");
        Failure::new(exit::BAD_INPUT, output::sanitize(&message))
    })?;
    let prepared = PreparedBench::of(&args, RequestedBench::of(&args)?, false)?;
    let plan = prepared.plan()?;
    file.check(&path, &plan, &basis(&prepared, &plan))
        .map_err(|error| {
            Failure::from(error).hint("write the plan again; finished cells are kept")
        })?;
    let chunks = share(&file.chunks, index, of);
    let cells = chunks.iter().flat_map(|i| &file.chunks[*i].cells);
    let wanted: BTreeSet<String> = cells.cloned().collect();
    let store = prepared.store()?;
    // What is done is looked for among what may be needed: the store holds other shares too.
    let (done, quarantined) = done_cells(&plan.part(&wanted, |_| false), &store)?;
    let part = plan.part(&wanted, |key| done.contains(key));
    let kept = part.cells.iter().map(|cell| cell.key.clone());
    let done = kept.filter(|key| done.contains(key)).collect();
    let mut bench = prepared.with(store, part);
    bench.budget = Some(file.id.clone());
    output::talk(&format!(
        "share {index} of {of}: {} cells in {} of {} chunks",
        wanted.len(),
        chunks.len(),
        file.chunks.len()
    ));
    bench.compute(done, quarantined).map(|(code, _)| code)
}
