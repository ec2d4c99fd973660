//! Slurm's own programs.

use std::{
    io,
    process::{Command, Output, Stdio},
};

use harness_plan::exit;

use crate::{failure::Failure, output};

/// What Slurm's default for `MaxArraySize` is.
pub const USUAL_ARRAY_SIZE: usize = 1001;

/// Submit a job: the words after `sbatch`. Returns its number.
///
/// # Errors
/// When there is no sbatch, or it refuses.
pub fn sbatch(words: &[String]) -> Result<String, Failure> {
    let ran = run("sbatch", words).map_err(|error| {
        let message = format!("sbatch cannot be started: {error}");
        Failure::new(exit::CONFIG, message).hint(
            "submit where Slurm's programs are; without Slurm, `harness run-cells --help` shows other ways",
        )
    })?;
    let said = String::from_utf8_lossy(&ran.stdout);
    // NUMBER or NUMBER;CLUSTER
    let number = said.trim().split(';').next().unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    if ran.status.success() && is_number {
        return Ok(number.to_owned());
    }
    let why = String::from_utf8_lossy(&ran.stderr);
    let why = output::inert(why.trim());
    let (code, hint) = advice(&why);
    Err(Failure::new(code, format!("sbatch refuses the job: {why}")).hint(hint))
}

/// What to do about a refusal, and its exit code.
fn advice(why: &str) -> (u8, &'static str) {
    let why = why.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if says(&[
        "unable to contact",
        "connection refused",
        "communication",
        "authentication",
        "munge",
    ]) {
        (
            exit::UNEXPECTED,
            "the controller does not answer; `scontrol ping` tells more. Submit again when it does",
        )
    } else if says(&["partition"]) {
        (
            exit::CONFIG,
            "`sinfo` lists partitions; name one with --partition",
        )
    } else if says(&["account"]) {
        (
            exit::CONFIG,
            "name an account that you may use with --account",
        )
    } else if says(&["qos"]) {
        (
            exit::CONFIG,
            "name a quality of service that you may use with --qos",
        )
    } else if says(&["time limit", "time specification"]) {
        (
            exit::CONFIG,
            "give a --time that the partition allows; a chunk that takes longer goes on in a further job",
        )
    } else if says(&["job violates", "submit limit", "array", "max"]) {
        (
            exit::CONFIG,
            "fewer and longer chunks: --chunk-minutes with a larger number",
        )
    } else if says(&[
        "generic resource",
        "gres",
        "node configuration",
        "memory",
        "cpu count",
    ]) {
        (
            exit::CONFIG,
            "no node has this: compare --gres, --mem, --cpus-per-task, --constraint with `sinfo -N -l -o '%N %c %m %G %f'`",
        )
    } else {
        (
            exit::CONFIG,
            "--submit-dry-run shows what would be submitted, with which options",
        )
    }
}

/// Tasks of a job array, at most; `None` where the cluster does not say.
pub fn max_array_size() -> Option<usize> {
    let words = ["show", "config"].map(str::to_owned);
    let ran = run("scontrol", &words)
        .ok()
        .filter(|ran| ran.status.success())?;
    array_size(&String::from_utf8_lossy(&ran.stdout))
}

fn array_size(config: &str) -> Option<usize> {
    let line = config
        .lines()
        .find(|line| line.starts_with("MaxArraySize"))?;
    line.split_once('=')?.1.trim().parse().ok()
}

/// Jobs that wait or run, one a line: number, state, time, reason or node; `None` where Slurm is not there.
pub fn squeue(jobs: &[String]) -> Option<String> {
    // Naming a job that has long ended is an error, so all of this user's are asked for.
    let words = ["--me", "--noheader", "--format=%F|%i|%T|%M|%R"].map(str::to_owned);
    let ran = run("squeue", &words)
        .ok()
        .filter(|ran| ran.status.success())?;
    let said = String::from_utf8_lossy(&ran.stdout);
    Some(lines_of(jobs, &said))
}

/// Lines that begin with the number of one of the jobs, without it.
fn lines_of(jobs: &[String], said: &str) -> String {
    let ours = said.lines().filter_map(|line| {
        let (job, rest) = line.trim().split_once('|')?;
        jobs.iter()
            .any(|ours| ours == job)
            .then(|| rest.replace('|', "  "))
    });
    let lines: Vec<String> = ours.map(|line| format!("  {line}\n")).collect();
    output::inert(&lines.concat())
}

fn run(program: &str, words: &[String]) -> io::Result<Output> {
    Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_comes_with_advice() {
        let refusal =
            "sbatch: error: invalid partition specified: gpux\nBatch job submission failed";
        assert_eq!(advice(refusal).0, exit::CONFIG);
        assert!(advice(refusal).1.contains("--partition"));
        let (code, hint) = advice("Unable to contact slurm controller (connect failure)");
        assert_eq!(code, exit::UNEXPECTED);
        assert!(hint.contains("scontrol ping"));
        let (_, hint) =
            advice("Batch job submission failed: Invalid generic resource (gres) specification");
        assert!(hint.contains("--gres"));
        assert!(
            advice("Requested time limit is invalid (missing or exceeds some limit)")
                .1
                .contains("--time")
        );
    }

    #[test]
    fn the_size_of_arrays_is_read() {
        assert_eq!(
            array_size("A = 1\nMaxArraySize            = 100\n"),
            Some(100)
        );
        assert_eq!(array_size("nothing"), None);
    }

    #[test]
    fn only_jobs_of_ours_are_shown() {
        let said = "7|7_[1-3]|PENDING|0:00|(Resources)\n17|17|RUNNING|0:03|n1\n8|8|PENDING|0:00|(Dependency)\n";
        let jobs = ["7".to_owned(), "8".to_owned()];
        assert_eq!(
            lines_of(&jobs, said),
            "  7_[1-3]  PENDING  0:00  (Resources)\n  8  PENDING  0:00  (Dependency)\n"
        );
    }
}
