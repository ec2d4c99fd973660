//! Slurm's own programs.

use std::{
    io,
    process::{Command, Output, Stdio},
};

use harness_contract::exit;

use super::job_number::{self, JobId};
use crate::{failure::Failure, output};

/// What Slurm's default for `MaxArraySize` is.
pub const USUAL_ARRAY_SIZE: usize = 1001;

/// Why there is no job, or none whose number is known.
pub enum NotSubmitted {
    /// There is no sbatch, or it refuses. Where it names a job all the same, this one may be there.
    Refused(Failure, Option<JobId>),
    /// It accepts the job and does not say its number.
    Nameless(Failure),
}

/// Submit a job: the words after `sbatch`.
///
/// # Errors
/// [`NotSubmitted`], which says whether there may be a job.
pub fn sbatch(words: &[String]) -> Result<JobId, NotSubmitted> {
    let ran = run("sbatch", words).map_err(|error| {
        let message = format!("sbatch cannot be started: {error}");
        let failure = Failure::new(exit::CONFIG, message).hint(
            "submit where Slurm's programs are; without Slurm, `harness run-cells --help` shows other ways",
        );
        NotSubmitted::Refused(failure, None)
    })?;
    answer(&ran)
}

/// The job that sbatch has accepted, from what it prints and how it ends.
fn answer(ran: &Output) -> Result<JobId, NotSubmitted> {
    let said = String::from_utf8_lossy(&ran.stdout);
    // An error may name other jobs, so a number is taken from what is printed for it alone.
    let found = job_number::find(&said);
    if !ran.status.success() {
        let why = String::from_utf8_lossy(&ran.stderr);
        let why = output::sanitize(why.trim());
        let (code, hint) = advice(&why);
        let failure = Failure::new(code, format!("sbatch refuses the job: {why}")).hint(hint);
        return Err(NotSubmitted::Refused(failure, found));
    }
    found.ok_or_else(|| {
        let said = output::sanitize(said.trim());
        let message = format!("sbatch accepts the job without a number that is clear: `{said}`");
        NotSubmitted::Nameless(Failure::new(exit::CONFIG, message))
    })
}

/// The job of a name that no other has, by the queue.
pub fn job_named(name: &str) -> Option<JobId> {
    let words = ["--noheader", "--format=%F", &format!("--name={name}")].map(str::to_owned);
    let ran = run("squeue", &words)
        .ok()
        .filter(|ran| ran.status.success())?;
    only_job(&String::from_utf8_lossy(&ran.stdout))
}

/// The number that all lines of digits are.
fn only_job(said: &str) -> Option<JobId> {
    let mut numbers: Vec<&str> = (said.lines().map(str::trim))
        .filter(|line| !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit()))
        .collect();
    numbers.dedup();
    match numbers[..] {
        [number] => job_number::find(number),
        _ => None,
    }
}

/// Take a job back; false where that cannot be done.
pub fn cancel(job: &JobId) -> bool {
    scancel(clusters(job.cluster.as_deref()).chain([job.number.clone()]))
}

/// Take all jobs of a name back; false where that cannot be done.
pub fn cancel_named(name: &str, cluster: Option<&str>) -> bool {
    scancel(clusters(cluster).chain([format!("--name={name}")]))
}

fn clusters(cluster: Option<&str>) -> impl Iterator<Item = String> {
    (cluster.into_iter()).map(|cluster| format!("--clusters={cluster}"))
}

fn scancel(words: impl Iterator<Item = String>) -> bool {
    run("scancel", &words.collect::<Vec<_>>()).is_ok_and(|ran| ran.status.success())
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
    let mut lines = config.lines().filter_map(|line| line.split_once('='));
    let (_, size) = lines.find(|(name, _)| name.trim() == "MaxArraySize")?;
    size.trim().parse().ok()
}

/// Jobs that wait or run, one a line: number, state, time, reason or node; `None` where Slurm is
/// not there.
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
    output::sanitize(&lines.concat())
}

fn run(program: &str, words: &[String]) -> io::Result<Output> {
    Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

    use super::*;

    fn ended(code: i32, stdout: &str, stderr: &str) -> Result<JobId, NotSubmitted> {
        answer(&Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: stdout.into(),
            stderr: stderr.into(),
        })
    }

    #[test]
    fn jobs_that_an_error_names_are_others() {
        let error = "sbatch: error: you already have job 12345 running\n";
        let Err(NotSubmitted::Refused(failure, job)) = ended(1, "", error) else {
            panic!("it was refused")
        };
        assert_eq!(job, None);
        assert!(failure.to_string().contains("job 12345 running"));
        assert!(matches!(
            ended(0, "", error),
            Err(NotSubmitted::Nameless(_))
        ));
        let accepted = ended(0, "101\n", error).ok().map(|job| job.number);
        assert_eq!(accepted.as_deref(), Some("101"));
    }

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
        assert_eq!(array_size("Welcome\r\n  MaxArraySize\t= 50\r\n"), Some(50));
        assert_eq!(array_size("nothing"), None);
    }

    #[test]
    fn the_queue_names_a_job_where_it_names_one() {
        let number = |said: &str| only_job(said).map(|job| job.number);
        assert_eq!(number("Welcome\n7\r\n7\n").as_deref(), Some("7"));
        assert_eq!(number("7\n8\n"), None);
        assert_eq!(number(""), None);
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
