//! `harness bench all`: every bench of the catalogue, one after the other.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use harness_contract::exit;
use harness_plan::{
    bench::{BenchSpec, Catalogue},
    expand::{Cost, Plan},
};
use harness_store::{Access, Lookup, Store};

use super::{
    ALL, BenchArgs,
    describe::{bytes, count, device_time, flops},
    prepared::{Forecast, PreparedBench, RequestedBench},
};
use crate::{failure::Failure, output, progress::clock, root::Root};

/// Codes after which no other bench is begun: it was asked to stop, money or rights have run out,
/// or nothing can be written.
const STOPS: [u8; 5] = [
    exit::INTERRUPTED,
    exit::CANNOT_WRITE,
    exit::JUDGE_AUTH,
    exit::JUDGE_BUDGET,
    130,
];

/// What became of a bench.
struct Ended {
    bench: String,
    cells: u64,
    done: u64,
    failed: u64,
    open: u64,
    took: Duration,
    table: PathBuf,
    code: u8,
}

/// Run every bench, or predict what all of them take.
///
/// # Errors
/// Wrong options, before anything is run; what stops a run.
pub fn run(args: &BenchArgs) -> Result<u8, Failure> {
    if let Some(option) = args.shards.given().first() {
        let message = format!("{option} is for one bench, and `{ALL}` is every bench");
        return Err(Failure::new(exit::USAGE, message).hint("name a bench"));
    }
    let (mut specs, figures) =
        Catalogue::open(&Root::find()?.tables(), harness_benches::KINDS)?.all()?;
    args.check_among(&specs)?;
    // Figures are made of the cells of the others, so that they take nothing.
    if !args.dry_run {
        specs.extend(figures);
    }
    let base = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("results/runs").to_owned());
    // All are looked at before the first is run.
    let mut requested = Vec::new();
    for spec in specs {
        requested.extend(of(args, spec, &base)?);
    }
    if requested.is_empty() {
        return Err(Failure::new(exit::NOTHING, "no bench has such rows"));
    }
    match args.dry_run {
        true => predict(args, requested),
        false => run_each(args, requested, &base),
    }
}

/// One bench with what is said to it; `None` when the rows asked for are not its.
fn of(args: &BenchArgs, spec: BenchSpec, base: &Path) -> Result<Option<RequestedBench>, Failure> {
    let overrides = args.overrides_among(&spec);
    if overrides.rows.as_ref().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let mut models = args.models()?;
    let scorer = overrides.settings.text("scorer");
    models.retain(|name, _| spec.models().contains(&name.as_str()) || scorer == Some(name));
    let mut saes = args.sae_sets()?;
    saes.retain(|name, _| spec.sae_sets().contains(&name.as_str()));
    Ok(Some(RequestedBench {
        root: Root::find()?,
        out: base.join(&spec.store),
        spec,
        overrides,
        models,
        saes,
        replies_in: base.to_owned(),
    }))
}

fn is_listed(requested: &RequestedBench) -> bool {
    !requested.spec.is_run()
}

fn run_each(args: &BenchArgs, requested: Vec<RequestedBench>, base: &Path) -> Result<u8, Failure> {
    // One budget: what is spent is counted under one name in one folder of replies.
    let budget = args.judging.judging(args.judging.replies(base)).run;
    let total = requested.len();
    let mut ended: Vec<Ended> = Vec::new();
    let mut stop = None;
    for (i, one) in requested.into_iter().enumerate() {
        let name = one.spec.name.clone();
        output::talk(&output::bold(&format!(
            "[{}/{total}] {name}: {}",
            i + 1,
            one.spec.title
        )));
        let mut end = Ended {
            table: one.out.join(format!("{name}.csv")),
            bench: name,
            cells: 0,
            done: 0,
            failed: 0,
            open: 0,
            took: Duration::ZERO,
            code: exit::OK,
        };
        let started = Instant::now();
        match run_one(args, one, &budget, &mut end) {
            Ok(code) => end.code = code,
            Err(failure) => {
                end.code = failure.code;
                match STOPS.contains(&failure.code) {
                    true => stop = Some(failure),
                    false => failure.tell(),
                }
            }
        }
        end.took = started.elapsed();
        ended.push(end);
        if stop.is_some() {
            break;
        }
    }
    output::result(&summary(&ended))?;
    match stop {
        Some(failure) => Err(failure),
        None => Ok(ended.iter().map(|end| end.code).fold(exit::OK, graver)),
    }
}

fn run_one(
    args: &BenchArgs,
    requested: RequestedBench,
    budget: &str,
    end: &mut Ended,
) -> Result<u8, Failure> {
    if is_listed(&requested) {
        return requested.list(args);
    }
    let prepared = PreparedBench::of(args, requested, false)?;
    let (store, plan) = (prepared.store()?, prepared.plan()?);
    let dir = store.dir().to_owned();
    let kept = plan.clone();
    let mut bench = prepared.with(store, plan);
    bench.budget = Some(budget.to_owned());
    let code = bench.run();
    tally(&kept, &Store::open(&dir, Access::Read)?, end)?;
    code
}

/// Count the cells of a bench as they are now.
fn tally(plan: &Plan, store: &Store, end: &mut Ended) -> Result<(), Failure> {
    end.cells = plan.cells.len() as u64;
    for cell in &plan.cells {
        match store.lookup(&cell.key)? {
            Lookup::Done(_) => end.done += 1,
            Lookup::Failed(record) if record.is_open() => end.open += 1,
            Lookup::Failed(_) => end.failed += 1,
            Lookup::Missing | Lookup::Damaged { .. } => {}
        }
    }
    Ok(())
}

/// The graver of two exit codes: failed cells are less than a bench that could not be run.
fn graver(a: u8, b: u8) -> u8 {
    let weight = |code: u8| match code {
        exit::OK => 0,
        exit::NOTHING => 1,
        exit::PARTIAL => 2,
        _ => 3,
    };
    match weight(b) > weight(a) {
        true => b,
        false => a,
    }
}

fn summary(ended: &[Ended]) -> String {
    let head = [
        "bench", "cells", "done", "failed", "open", "time", "code", "table",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for end in ended {
        let table = match end.table.is_file() {
            true => end.table.display().to_string(),
            false => String::new(),
        };
        rows.push(vec![
            end.bench.clone(),
            count(end.cells),
            count(end.done),
            count(end.failed),
            count(end.open),
            clock(end.took),
            end.code.to_string(),
            table,
        ]);
    }
    output::columns(&rows)
}

fn predict(args: &BenchArgs, requested: Vec<RequestedBench>) -> Result<u8, Failure> {
    let (mut forecasts, mut failures) = (Vec::new(), Vec::new());
    for one in requested.into_iter().filter(|one| !is_listed(one)) {
        let name = one.spec.name.clone();
        match PreparedBench::of(args, one, true).and_then(|prepared| prepared.forecast()) {
            Ok(forecast) => {
                output::result(&format!("{name}: {}\n", forecast.text))?;
                forecasts.push((name, forecast));
            }
            Err(failure) => {
                output::result(&format!("{name}: cannot be predicted, see the end\n\n"))?;
                failures.push((name, failure));
            }
        }
    }
    if forecasts.is_empty()
        && let Some((_, failure)) = failures.pop()
    {
        // What is wrong with every bench is said once.
        return Err(failure);
    }
    let without: Vec<&str> = failures.iter().map(|(name, _)| &**name).collect();
    output::result(&predicted(&forecasts, &without))?;
    for (name, failure) in &failures {
        output::talk(&format!("{name}: {failure}"));
    }
    let codes = failures.iter().map(|(_, failure)| failure.code);
    Ok(codes.fold(exit::OK, graver))
}

/// A line for each bench, and their sum; `without`: those it lacks.
fn predicted(forecasts: &[(String, Forecast)], without: &[&str]) -> String {
    let head = [
        "bench",
        "cells",
        "to run",
        "block passes",
        "generations",
        "work",
        "device time",
        "memory of a worker",
        "judge calls",
        "USD",
    ];
    let line =
        |name: &str, cells: u64, cost: &Cost, seconds: f64, memory: u64, usd: Option<f64>| {
            vec![
                name.to_owned(),
                count(cells),
                count(cost.cells),
                count(cost.block_passes),
                count(cost.generations),
                flops(cost.flops),
                device_time(seconds),
                bytes(memory),
                count(cost.judge_calls),
                usd.map_or_else(String::new, |usd| format!("{usd:.2}")),
            ]
        };
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let (mut cells, mut sum, mut seconds, mut memory) = (0, Cost::default(), 0.0, 0);
    let mut usd = None;
    for (name, one) in forecasts {
        rows.push(line(
            name,
            one.cells,
            &one.cost,
            one.seconds,
            one.memory_bytes,
            one.usd,
        ));
        cells += one.cells;
        sum += one.cost;
        seconds += one.seconds;
        memory = memory.max(one.memory_bytes);
        usd = match (usd, one.usd) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        };
    }
    let total = match without {
        [] => "total".to_owned(),
        some => format!("total without {}", some.join(", ")),
    };
    rows.push(line(&total, cells, &sum, seconds, memory, usd));
    let too_large = forecasts.iter().filter(|(_, one)| one.is_too_large);
    let names: Vec<&str> = too_large.map(|(name, _)| &**name).collect();
    let note = match names[..] {
        [] => String::new(),
        _ => format!(
            "\nmore memory than there is: {}, see above\n",
            names.join(", ")
        ),
    };
    output::columns(&rows) + &note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_that_could_not_run_is_graver_than_failed_cells() {
        let worst = |codes: &[u8]| codes.iter().copied().fold(exit::OK, graver);
        assert_eq!(worst(&[0, 5, 0]), 5);
        assert_eq!(worst(&[5, 20, 5, 21]), 20);
        assert_eq!(worst(&[0, 4]), 4);
        assert_eq!(worst(&[]), 0);
    }
}
