//! `harness bench`: which of the things that can be done with a bench is asked for.

use harness_contract::exit;

use super::{
    ALL, BenchArgs, all,
    prepared::{PreparedBench, RequestedBench},
    shards,
};
use crate::{failure::Failure, output};

pub fn run(args: &BenchArgs) -> Result<u8, Failure> {
    if args.table == ALL {
        return all::run(args);
    }
    let requested = RequestedBench::of(args)?;
    if !requested.spec.is_run() {
        return requested.list(args);
    }
    let prepared = PreparedBench::of(args, requested, args.dry_run)?;
    if args.dry_run {
        output::result(&prepared.forecast()?.text)?;
        return Ok(exit::OK);
    }
    if let Some(path) = &args.shards.write_plan {
        return shards::write_plan(prepared, path);
    }
    let store = prepared.store()?;
    let plan = prepared.plan()?;
    let bench = prepared.with(store, plan);
    match args.shards.collect {
        true => bench.collect(),
        false => bench.run(),
    }
}
