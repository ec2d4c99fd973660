//! `harness bench`: which of the things that can be done with a bench is asked for.

use harness_contract::exit;

use super::{
    ALL, BenchArgs, all,
    ready::{Asked, Ready},
    shards,
};
use crate::{failure::Failure, output};

pub fn run(args: &BenchArgs) -> Result<u8, Failure> {
    if args.table == ALL {
        return all::run(args);
    }
    let asked = Asked::of(args)?;
    if !asked.spec.is_run() {
        return asked.list(args);
    }
    let ready = Ready::of(args, asked, args.dry_run)?;
    if args.dry_run {
        output::result(&ready.forecast()?.text)?;
        return Ok(exit::OK);
    }
    if let Some(path) = &args.shards.write_plan {
        return shards::write_plan(ready, path);
    }
    let store = ready.store()?;
    let plan = ready.plan()?;
    let bench = ready.with(store, plan);
    match args.shards.collect {
        true => bench.collect(),
        false => bench.run(),
    }
}
