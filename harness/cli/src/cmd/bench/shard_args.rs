//! Options of a bench whose cells are run elsewhere.

use std::path::PathBuf;

use clap::Args;

/// Options of a bench whose cells are run elsewhere.
#[derive(Args, Debug)]
pub struct ShardArgs {
    /// Write the missing cells, cut into chunks, into this file for `harness run-cells`; run
    /// nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "collect"])]
    pub write_plan: Option<PathBuf>,
    /// Chunks of the plan, at most
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000_000), requires = "write_plan")]
    pub chunks: u32,
    /// Make tables of the cells that are done; run nothing, and end with code 5 while some are
    /// missing
    #[arg(long, conflicts_with = "dry_run")]
    pub collect: bool,
}

impl ShardArgs {
    /// The options that were given, for benches that have no use for them.
    pub fn given(&self) -> Vec<&'static str> {
        [
            ("--write-plan", self.write_plan.is_some()),
            ("--collect", self.collect),
        ]
        .into_iter()
        .filter_map(|(option, is_given)| is_given.then_some(option))
        .collect()
    }
}
