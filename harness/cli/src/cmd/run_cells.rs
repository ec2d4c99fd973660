//! `harness run-cells`: a share of the cells of a bench.

use std::path::PathBuf;

use clap::Args;
use harness_plan::shards::Shard;

use super::bench;
use crate::failure::Failure;

/// Run the cells of one share of a plan that nobody has done, with what they read. Shares need no
/// order and may run side by side on machines that see the same folders; a bench command with
/// --collect then makes the tables.
#[derive(Args, Debug)]
#[command(after_help = "\
Several processes on one store leave to each other what one has begun. A share is done when its cells are, by whomever; the same \
command goes on after any end, and runs nothing that is done. A plan is refused when a checkpoint, a plugin, a text or a setting has \
changed since it was written. Limits of money (--max-cost) hold for all shares together.

Exit codes: 0 done   5 some cells failed   20 the plan does not fit   75 interrupted by SIGINT, SIGTERM or SIGUSR1, finished cells kept

Examples:
  harness bench table2 --plugins ./plugins --threads 1 --write-plan plan.json --chunks 32
  xargs, four at a time:
    seq 0 31 | xargs -P 4 -I{} harness run-cells --plan plan.json --shard {}/32
  HyperQueue:
    hq submit --array 0-31 harness run-cells --plan plan.json --shard auto
  Kubernetes, a Job with completionMode: Indexed and completions: 8, whose command is:
    harness run-cells --plan /shared/plan.json --shard auto/8
  Slurm by hand (`harness slurm submit` does it all):
    sbatch --array 0-31 --wrap 'exec harness run-cells --plan plan.json --shard auto'
  and at the end, anywhere:
    harness bench table2 --plugins ./plugins --threads 1 --collect")]
pub struct RunCellsArgs {
    /// File written by `harness bench … --write-plan` or `harness slurm submit`
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Share I of N, from 0 to N - 1; I alone: of as many as the plan has chunks; auto for I:
    /// SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX or HQ_TASK_ID
    #[arg(long, value_name = "I/N")]
    shard: Shard,
}

pub fn run(args: &RunCellsArgs) -> Result<u8, Failure> {
    bench::run_cells(&args.plan, args.shard)
}
