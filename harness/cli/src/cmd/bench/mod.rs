//! `harness bench`: from a bench file to a table.

mod all;
mod args;
pub mod assumed;
mod catalogue;
mod command;
mod describe;
mod dry_run;
mod execute;
mod forecast;
mod format;
mod judging;
mod metrics;
pub mod own_rows;
mod pictures;
mod prepared;
mod report;
mod run;
mod schedule;
mod setting_args;
mod shard_args;
mod shards;
mod sharing;
pub mod zoo_text;

pub use args::BenchArgs;
pub use command::run;
pub use describe::rate;
pub use judging::{JUDGE_MODEL_VARIABLE, OPENAI};
pub use prepared::{Folders, resolved};
pub use setting_args::declared;
pub use shards::{ChunkSize, Shares, run_cells, shares};

/// What stands for a bench's name where every bench is meant.
const ALL: &str = "all";
