//! `harness slurm` against a real Slurm: two virtual nodes on this machine, see [`cluster`].

mod cluster;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use cluster::Cluster;
use serde_json::Value;

use crate::{
    bench::{SMALL, reference},
    support::{Ran, cell_files, result, run, succeed},
};

/// The longest that a small bench may take on two nodes.
const PATIENCE: Duration = Duration::from_secs(240);

/// `harness slurm submit` of the small bench.
fn submit(cluster: &Cluster, out: &Path, more: &[&str]) -> Command {
    let mut command = cluster.harness();
    command
        .args(["slurm", "submit", "table2", "--plugins", "plugins", "--out"])
        .arg(out)
        .args(SMALL)
        .args(["--workers", "1", "--time", "30"])
        .args(more);
    command
}

/// The numbers of the two jobs.
fn jobs(ran: &Ran) -> (String, String) {
    let (array, merge) = ran.stdout.trim().split_once(' ').expect("two numbers");
    (array.to_owned(), merge.to_owned())
}

/// Cells that a submission's plan asks for.
fn asked_for(submission: &Path) -> usize {
    let plan: Value = serde_json::from_str(&result(submission, "plan.json")).unwrap();
    let chunks = plan["chunks"].as_array().unwrap();
    let cells = |chunk: &Value| chunk["cells"].as_array().unwrap().len();
    chunks.iter().map(cells).sum()
}

fn log(submission: &Path, name: &str) -> String {
    fs::read_to_string(submission.join("logs").join(name)).unwrap_or_default()
}

fn all_logs(submission: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(submission.join("logs"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        let log = fs::read_to_string(&path).unwrap_or_default();
        text.push_str(&format!("== {}\n{log}\n", path.display()));
    }
    text
}

/// Waits until something is so; `what` and the logs are told when it does not come about.
fn wait_until(what: &str, submission: &Path, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(
            started.elapsed() < PATIENCE,
            "not {what}:\n{}",
            all_logs(submission)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A node is lost while it computes, and its chunk with it: what it has finished is kept, the
/// tables are made of what there is, the same command sends what is missing, and the tables are
/// those of one process.
#[test]
fn a_bench_survives_the_loss_of_a_node() {
    let Some(mut cluster) = Cluster::start(2) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // Slurm is told not to put lost chunks back, so that the store alone knows what is missing.
    let ran = succeed(&mut submit(&cluster, &out, &["--sbatch-arg=--no-requeue"]));
    let (array, merge) = jobs(&ran);
    let first = out.join("slurm/001");
    let all = asked_for(&first);
    assert!(
        ran.stderr
            .contains(&format!("{all} of {all} cells are missing")),
        "{}",
        ran.stderr
    );
    wait_until("a chunk on the second node", &first, || {
        let task = cluster.task_on("n2", &array);
        task.is_some_and(|task| {
            log(&first, &format!("{task}.log")).contains(&format!("share {task} of"))
        })
    });
    let at_start = cell_files(&out, "").len();
    wait_until("cells", &first, || {
        cell_files(&out, "").len() >= at_start + 2
    });
    cluster.kill_node("n2");

    wait_until("an end", &first, || cluster.has_ended(&merge));
    let said = log(&first, "merge.log");
    let done = cell_files(&out, "").len();
    assert!(done < all, "nothing was lost:\n{}", all_logs(&first));
    assert!(
        said.contains(&format!(
            "{} of {all} cells of table2 are not done",
            all - done
        )),
        "{said}"
    );
    assert!(
        said.contains("slurm submit table2 --plugins plugins --out"),
        "{said}"
    );

    cluster.start_node("n2");
    let ran = succeed(&mut submit(&cluster, &out, &[]));
    let second = out.join("slurm/002");
    assert_eq!(asked_for(&second), all - done, "{}", ran.stderr);
    let (_, merge) = jobs(&ran);
    wait_until("an end", &second, || cluster.has_ended(&merge));
    assert_eq!(
        result(&out, "table2.csv"),
        result(reference(), "table2.csv"),
        "{}",
        all_logs(&second)
    );
    let ran = run(&mut submit(&cluster, &out, &[]));
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing to submit"), "{}", ran.stderr);
    let mut status = cluster.harness();
    let status = succeed(status.args(["slurm", "status", "--out"]).arg(&out));
    let rows: Vec<Vec<&str>> = status
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[1][..5],
        ["001", "table2", &all.to_string(), &all.to_string(), "0"]
    );
    assert!(
        status.stdout.contains("none of these jobs"),
        "{}",
        status.stdout
    );
}

/// Near its time limit a chunk is told by USR1, ends with what it has, goes back into the queue and
/// is done there; the tables are made after it. The folder's name needs quoting everywhere.
#[test]
fn a_chunk_near_its_time_limit_goes_on_later() {
    let Some(cluster) = Cluster::start(1) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("it's a \"run\" of $HOME & 100%");
    let rows = ["--rows", "dream-mask"];
    let wrong = run(submit(&cluster, &out, &rows).args(["--partition", "nowhere"]));
    assert_eq!(wrong.code, 3, "{}", wrong.stderr);
    assert!(
        wrong.stderr.contains("`sinfo` lists partitions"),
        "{}",
        wrong.stderr
    );

    let ran = succeed(&mut submit(&cluster, &out, &rows));
    let (array, merge) = jobs(&ran);
    let submission = out.join("slurm/002");
    wait_until("cells", &submission, || !cell_files(&out, "").is_empty());
    cluster.warn(&format!("{array}_0"));
    wait_until("back in the queue", &submission, || {
        log(&submission, "0.log").contains("this chunk goes back into the queue")
    });
    let before = cell_files(&out, "").len();
    let status = succeed(
        cluster
            .harness()
            .args(["slurm", "status", "--out"])
            .arg(&out),
    );
    assert!(
        status.stdout.contains(&format!("{array}_0")),
        "{}",
        status.stdout
    );
    assert!(status.stdout.contains(&merge), "{}", status.stdout);
    wait_until("an end", &submission, || cluster.has_ended(&merge));
    let said = log(&submission, "0.log");
    assert!(said.contains("interrupted: "), "{said}");
    assert_eq!(said.matches("share 0 of 1").count(), 2, "{said}");
    assert!(before < asked_for(&submission), "{said}");

    let alone: PathBuf = dir.path().join("alone");
    let mut bench = cluster.harness();
    bench
        .args(["bench", "table2", "--plugins", "plugins", "--out"])
        .arg(&alone);
    succeed(bench.args(SMALL).args(rows));
    assert_eq!(
        result(&out, "table2.csv"),
        result(&alone, "table2.csv"),
        "{said}"
    );
}
