//! `harness slurm submit`: the missing cells of a bench as a job array, and a job that makes the
//! tables.

use std::path::Path;

use clap::Args;
use harness_benches::KINDS;
use harness_contract::exit;
use harness_plan::bench::help;
use harness_supervise::executable;

use super::{
    job_number::JobId,
    options::SlurmOptions,
    script::{self, text},
    submission::{Jobs, Submission},
    tools::{self, NotSubmitted},
};
use crate::{
    cmd::{
        argv,
        bench::{BenchArgs, ChunkSize, Shares, shares},
    },
    failure::Failure,
    output,
};

/// Submit the missing cells of a bench as a job array, and a job that makes the tables when all
/// have ended. All options of `harness bench` may be given.
#[derive(Args, Debug)]
#[command(after_help = how_and_examples())]
pub struct SubmitArgs {
    #[command(flatten)]
    bench: BenchArgs,
    #[command(flatten, next_help_heading = "Slurm")]
    slurm: SlurmOptions,
}

const HOW: &str = "\
Folder of results, models, texts and this program must be seen under the same paths from here and from all nodes. The cells alone \
say what is done: submit again at any time, whatever became of earlier jobs, and only what is missing is sent; chunks that overlap \
with jobs still in the queue find their cells done. Before its time limit a chunk is asked to end, keeps what is finished and goes \
back into the queue. When a node is lost Slurm puts its chunk back itself. The last job makes the tables of what is done and runs no \
cell: where cells are missing it ends with code 5, and its log says how to submit them.

Plan, scripts and logs are in OUT/slurm/NUMBER. Limits of money (--max-cost) hold for all chunks of a submission together.

Exit codes: 0 submitted   3 sbatch refuses or is not there   4 nothing is missing";

const EXAMPLES: [&str; 3] = [
    "harness slurm submit table2 --plugins ./plugins --out /shared/table2 --time 2:00:00 \\
      --partition cpu --chunk-minutes 60",
    "harness slurm submit table2 --plugins ./plugins --out /shared/table2 --submit-dry-run",
    "harness slurm status --out /shared/table2",
];

/// What is shown below the options.
fn how_and_examples() -> String {
    let examples = help::examples(&EXAMPLES, "harness slurm submit", KINDS);
    format!("{HOW}\n\n{examples}")
}

pub fn run(args: &SubmitArgs) -> Result<u8, Failure> {
    let modes = [
        ("--dry-run", args.bench.dry_run),
        ("--write-plan", args.bench.shards.write_plan.is_some()),
        ("--collect", args.bench.shards.collect),
    ];
    if let Some((option, _)) = modes.iter().find(|(_, is_given)| *is_given) {
        let message = format!("{option} runs nothing, so there is nothing to submit");
        return Err(Failure::new(exit::USAGE, message)
            .hint("--submit-dry-run shows what would be submitted"));
    }
    let own = SlurmOptions::augment_args(clap::Command::new("own"));
    let argv = argv::others(3, &own)?;
    let array_size = tools::max_array_size();
    if array_size.is_none() {
        output::warn(&format!(
            "`scontrol show config` does not say MaxArraySize; {} is assumed",
            tools::USUAL_ARRAY_SIZE
        ));
    }
    let size = ChunkSize {
        seconds: Some(60.0 * f64::from(args.slurm.chunk_minutes)),
        most: array_size
            .unwrap_or(tools::USUAL_ARRAY_SIZE)
            .saturating_sub(1)
            .max(1),
    };
    let shares = shares(&args.bench, argv, args.slurm.submit_dry_run, size)?;
    if shares.missing() == 0 {
        output::talk(&format!(
            "{}: nothing to submit, all {} cells are done; `harness bench` with the same options makes the tables",
            shares.plan.bench, shares.planned
        ));
        return Ok(exit::NOTHING);
    }
    match args.slurm.submit_dry_run {
        true => show(args, &shares),
        false => submit(args, &shares),
    }
}

/// The two jobs: what is given to sbatch, and the scripts.
struct Prepared {
    array: Vec<String>,
    merge: Vec<String>,
    array_name: String,
    merge_name: String,
    array_script: String,
    merge_script: String,
}

/// The number of the array in the options of the second job, until it is known.
const ARRAY: &str = "ARRAY";

fn prepare(args: &SubmitArgs, shares: &Shares, dir: &Path) -> Result<Prepared, Failure> {
    let harness = executable()?;
    let (plan, folder) = (dir.join("plan.json"), &shares.plan.folder);
    // No other submission has this name, so that a job can be taken back by it.
    let array_name = format!("harness-{}-{}", shares.plan.bench, shares.plan.id);
    let merge_name = format!("{array_name}-merge");
    let chdir = format!("--chdir={}", text(dir)?);
    let words = |own: &[&str], options: Vec<String>, file: &str| -> Result<Vec<String>, Failure> {
        let own = own.iter().map(|word| (*word).to_owned());
        let shared = [
            "--parsable".to_owned(),
            "--open-mode=append".to_owned(),
            chdir.clone(),
        ];
        let script = [text(&dir.join(file))?.to_owned()];
        Ok(shared
            .into_iter()
            .chain(own)
            .chain(options)
            .chain(script)
            .collect())
    };
    let array = words(
        &[
            &format!("--job-name={array_name}"),
            "--output=logs/%a.log",
            "--nodes=1",
            "--ntasks=1",
            "--requeue",
            &format!("--signal=B:USR1@{}", args.slurm.warning()),
        ],
        args.slurm.of_array(shares.plan.chunks.len()),
        "array.sh",
    )?;
    let merge = words(
        &[
            &format!("--job-name={merge_name}"),
            "--output=logs/merge.log",
            "--nodes=1",
            "--ntasks=1",
            &format!("--dependency=afterany:{ARRAY}"),
        ],
        args.slurm.of_merge(),
        "merge.sh",
    )?;
    let mut again: Vec<String> = argv::others(1, &clap::Command::new("none"))?;
    again.retain(|word| word != "--submit-dry-run");
    Ok(Prepared {
        array,
        merge,
        array_script: script::of_chunk(&harness, &plan, folder)?,
        merge_script: script::of_merge(&harness, &shares.plan.args, &again, folder)?,
        array_name,
        merge_name,
    })
}

fn show(args: &SubmitArgs, shares: &Shares) -> Result<u8, Failure> {
    let dir = shares.out.join("slurm/NUMBER");
    let jobs = prepare(args, shares, &dir)?;
    let mut report = format!("{}\n", summary(shares));
    for (i, chunk) in shares.plan.chunks.iter().enumerate() {
        report.push_str(&format!(
            "  chunk {i}: {} cells of {}, about {:.0} s\n",
            chunk.cells.len(),
            chunk.models.join(", "),
            chunk.seconds
        ));
    }
    for (words, script) in [
        (jobs.array, jobs.array_script),
        (jobs.merge, jobs.merge_script),
    ] {
        let line = script::line(std::iter::once("sbatch").chain(words.iter().map(String::as_str)))?;
        report.push_str(&format!("\n$ {line}\n{script}"));
    }
    report.push_str("\nnothing was written and nothing was submitted\n");
    output::result(&report)?;
    Ok(exit::OK)
}

fn submit(args: &SubmitArgs, shares: &Shares) -> Result<u8, Failure> {
    let submission = Submission::new(&shares.out)?;
    let dir = &submission.dir;
    let prepared = prepare(args, shares, dir)?;
    shares.plan.write(&submission.file("plan.json"))?;
    submission.write("array.sh", &prepared.array_script)?;
    submission.write("merge.sh", &prepared.merge_script)?;
    let array = accepted(&prepared.array, &prepared.array_name)?;
    let merge = match submit_merge(&submission, &array, prepared.merge, &prepared.merge_name) {
        Ok(merge) => merge,
        Err(failure) => return Err(take_back(&submission, &array, failure)),
    };
    output::result(&format!("{} {merge}", array.number))?;
    output::talk(&format!(
        "{}\nsubmitted as job {}, and job {merge}, which makes the tables; plan, scripts and logs in {}",
        summary(shares),
        array.number,
        dir.display()
    ));
    Ok(exit::OK)
}

/// Submit a job and find out its number: from what sbatch says, else from the queue. A job whose
/// number stays unknown is taken back by its name, which no other job has.
fn accepted(words: &[String], name: &str) -> Result<JobId, Failure> {
    match tools::sbatch(words) {
        Ok(job) => Ok(job),
        Err(NotSubmitted::Refused(failure, job)) => {
            // The number may be that of another job: only the name is surely this one's.
            if let Some(job) = job {
                tools::cancel_named(name, job.cluster.as_deref());
            }
            Err(failure)
        }
        Err(NotSubmitted::Nameless(failure)) => tools::job_named(name).ok_or_else(|| {
            failure.hint(match tools::cancel_named(name, None) {
                true => format!("it was taken back with `scancel --name={name}`"),
                false => {
                    format!("it could not be taken back; do so with `scancel --name={name}`")
                }
            })
        }),
    }
}

/// Submit the job that makes the tables, and note the numbers of both.
fn submit_merge(
    submission: &Submission,
    array: &JobId,
    words: Vec<String>,
    name: &str,
) -> Result<String, Failure> {
    let jobs = |merge| Jobs {
        array: Some(array.number.clone()),
        merge,
    };
    submission.write_jobs(&jobs(None))?;
    let dependency = format!("--dependency=afterany:{ARRAY}");
    let with_number = |word: String| match word == dependency {
        true => format!("--dependency=afterany:{}", array.number),
        false => word,
    };
    let words: Vec<String> = words.into_iter().map(with_number).collect();
    let merge = accepted(&words, name)?;
    let noted = submission.write_jobs(&jobs(Some(merge.number.clone())));
    noted.inspect_err(|_| {
        tools::cancel(&merge);
    })?;
    Ok(merge.number)
}

/// Take the chunks back: nothing would make tables of them, and the next submission would have them
/// computed twice.
fn take_back(submission: &Submission, array: &JobId, failure: Failure) -> Failure {
    let number = &array.number;
    match tools::cancel(array) {
        true => {
            output::warn(&format!(
                "the chunks, job {number}, were taken back with scancel: there is no job that makes the tables"
            ));
            // The numbers that stay there otherwise are those of jobs that have gone.
            let _ = submission.write_jobs(&Jobs::default());
        }
        false => output::warn(&format!(
            "the chunks are submitted as job {number}, without a job that makes the tables, and could not be taken back; \
             do so with `scancel {number}`"
        )),
    }
    failure
}

fn summary(shares: &Shares) -> String {
    let n = shares.plan.chunks.len();
    let minutes = shares.seconds() / 60.0;
    format!(
        "{}: {} of {} cells are missing, in {n} {}, about {minutes:.1} minutes together",
        shares.plan.bench,
        shares.missing(),
        shares.planned,
        if n == 1 { "chunk" } else { "chunks" }
    )
}
