//! Options of `harness slurm submit` that are Slurm's, not the bench's.

use clap::Args;

use super::time;

/// How jobs are submitted.
#[derive(Args, Debug)]
pub struct SlurmOptions {
    /// Partition of the jobs
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// Account that pays for them
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Quality of service
    #[arg(long, value_name = "NAME")]
    qos: Option<String>,
    /// Features that nodes must have
    #[arg(long, value_name = "LIST")]
    constraint: Option<String>,
    /// Time limit of a job, in any of Slurm's forms: minutes, H:MM:SS, D-HH. A chunk that takes
    /// longer goes on in a further job
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// Generic resources of a chunk, such as gpu:1
    #[arg(long, value_name = "LIST")]
    gres: Option<String>,
    /// Cores of a chunk
    #[arg(long, value_name = "N")]
    cpus_per_task: Option<u32>,
    /// Memory of a chunk, such as 64G
    #[arg(long, value_name = "SIZE")]
    mem: Option<String>,
    /// Chunks that run at once, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    array_limit: Option<u32>,
    /// Minutes of a chunk, as far as they can be known: measured on cells that are done, else
    /// predicted
    #[arg(long, value_name = "MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub chunk_minutes: u32,
    /// Any other option of sbatch, for all jobs, such as --sbatch-arg=--mail-type=FAIL; repeatable
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    sbatch_arg: Vec<String>,
    /// Show plan, scripts and commands; write nothing, submit nothing
    #[arg(long)]
    pub submit_dry_run: bool,
}

impl SlurmOptions {
    /// Options of sbatch for jobs that run `n` chunks.
    pub fn of_array(&self, n: usize) -> Vec<String> {
        let limit = self
            .array_limit
            .map_or_else(String::new, |n| format!("%{n}"));
        let mut options = vec![format!("--array=0-{}{limit}", n.saturating_sub(1))];
        options.extend(given("--gres", &self.gres));
        options.extend(given("--cpus-per-task", &self.cpus_per_task));
        options.extend(given("--mem", &self.mem));
        options.extend(self.of_both());
        options
    }

    /// Seconds before the time limit at which a chunk is asked to end.
    pub fn warning(&self) -> u64 {
        time::warning(self.time.as_deref())
    }

    /// Options of sbatch for the job that makes the tables: it runs no model.
    pub fn of_merge(&self) -> Vec<String> {
        self.of_both()
    }

    fn of_both(&self) -> Vec<String> {
        let mut options = Vec::new();
        options.extend(given("--partition", &self.partition));
        options.extend(given("--account", &self.account));
        options.extend(given("--qos", &self.qos));
        options.extend(given("--constraint", &self.constraint));
        options.extend(given("--time", &self.time));
        options.extend(self.sbatch_arg.iter().cloned());
        options
    }
}

fn given<T: ToString>(option: &str, value: &Option<T>) -> Option<String> {
    Some(format!("{option}={}", value.as_ref()?.to_string()))
}
