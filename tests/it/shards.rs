//! `harness run-cells`: a bench in shares, each in a process of its own, gives what one process
//! gives; and what is not right is refused. Slurm is not needed here, see [`crate::slurm`].

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    bench::{SMALL, reference, small},
    support::{
        harness, result, run, signal, start, succeed, wait_for_cells, weightless_root, write,
    },
};

/// Writes the plan of the small bench.
fn planned(out: &Path, plan: &Path, chunks: &str) {
    let mut command = small(out);
    let ran = succeed(
        command
            .arg("--write-plan")
            .arg(plan)
            .args(["--chunks", chunks]),
    );
    assert_eq!(ran.stdout.trim(), plan.display().to_string());
}

fn run_cells(plan: &Path, shard: &str) -> Command {
    let mut command = harness();
    command
        .args(["run-cells", "--plan"])
        .arg(plan)
        .args(["--shard", shard]);
    command
}

fn chunks(plan: &Path) -> Vec<Value> {
    let text = fs::read_to_string(plan).unwrap();
    let plan: Value = serde_json::from_str(&text).unwrap();
    plan["chunks"].as_array().unwrap().clone()
}

#[test]
fn shares_side_by_side_give_the_tables_of_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let (out, plan) = (dir.path().join("a b"), dir.path().join("the plan.json"));
    planned(&out, &plan, "12");
    let n = chunks(&plan).len();
    assert!((4..=12).contains(&n), "{n} chunks");

    // One share is interrupted and leaves what it has.
    let mut first = start(&mut run_cells(&plan, "0/3"));
    wait_for_cells(&out, 1, &mut first);
    signal("-USR1", first.id());
    let ended: crate::support::Ran = first.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 75, "{}", ended.stderr);
    let early = run(small(&out).arg("--collect"));
    assert_eq!(early.code, 5, "{}", early.stderr);
    assert!(
        early.stderr.contains("are not done; nothing was run"),
        "{}",
        early.stderr
    );

    // Then all, in no order: more shares than run at once, each with what it reads and nobody has
    // done.
    let mut xargs = Command::new("sh");
    xargs
        .arg("-c")
        .arg(r#"printf '%s\n' 2 0 1 | xargs -P 3 -I{} "$0" run-cells --plan "$1" --shard {}/3"#)
        .arg(crate::support::programs().join("harness"))
        .arg(&plan)
        .current_dir(dir.path());
    succeed(&mut xargs);
    let table = succeed(small(&out).arg("--collect"));
    assert!(table.stdout.contains("paper"), "{}", table.stdout);
    assert_eq!(
        result(&out, "table2.csv"),
        result(reference(), "table2.csv")
    );
    let again = succeed(&mut run_cells(&plan, "1/3"));
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    let none = run(small(&out).arg("--write-plan").arg(&plan));
    assert_eq!(none.code, 4, "{}", none.stderr);
}

/// A plan holds what the cells are made of; whoever uses it later is told what is not so any more.
#[test]
fn a_stale_plan_is_refused_with_what_has_changed() {
    let dir = tempfile::tempdir().unwrap();
    weightless_root(dir.path());
    let text = dir.path().join("text.jsonl");
    write(&text, "{\"text\":\"a b c\"}\n");
    let plan = dir.path().join("plan.json");
    let mut bench = harness();
    bench
        .env("HARNESS_ROOT", dir.path())
        .env("HARNESS_PLUGINS", "plugins");
    bench
        .args(["bench", "table2", "--out"])
        .arg(dir.path().join("out"));
    bench.arg("--data").arg(&text).args(SMALL);
    succeed(bench.arg("--write-plan").arg(&plan));
    // The plan says what the environment said.
    let arguments = fs::read_to_string(&plan).unwrap();
    assert!(
        arguments.contains("--plugins") && !arguments.contains("--write-plan"),
        "{arguments}"
    );

    write(&text, "{\"text\":\"a b d\"}\n");
    let ran = run(run_cells(&plan, "0").env("HARNESS_ROOT", dir.path()));
    assert_eq!(ran.code, 20, "{}", ran.stderr);
    let changed = format!("changed since it was written: file {}", text.display());
    assert!(ran.stderr.contains(&changed), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("write the plan again"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_is_no_share_or_no_plan_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.json");
    let refused = |shard: &str, code: i32, message: &str| {
        let mut command = run_cells(&plan, shard);
        let ran = run(command.env_remove("SLURM_ARRAY_TASK_ID"));
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    };
    refused("4/4", 2, "I from 0 to N - 1");
    refused("0/4", 20, "cannot read the plan");
    write(&plan, "{\"schema\": 1, \"chunks\": 7}");
    refused("0/4", 20, "is not a plan");
    let gone = dir.path().join("gone");
    let chunk = "{\"models\":[],\"seconds\":1.0,\"cells\":[\"x\"]}";
    let basis =
        "{\"harness\":\"\",\"models\":{},\"saes\":{},\"files\":{},\"plugins\":{},\"settings\":{}}";
    write(
        &plan,
        &format!(
            "{{\"schema\":1,\"id\":\"1\",\"bench\":\"table2\",\"args\":[\"table2\"],\"folder\":{:?},\"basis\":{basis},\"chunks\":[{chunk}]}}",
            gone.display().to_string()
        ),
    );
    refused("auto", 2, "none of SLURM_ARRAY_TASK_ID");
    refused("1", 2, "--shard names share 1, and there are 1");
    refused("0", 20, "which cannot be entered");
}

/// Without Slurm its scripts can be looked at, and nothing is left behind.
#[test]
fn a_submission_can_be_looked_at_first() {
    let dir = tempfile::tempdir().unwrap();
    weightless_root(dir.path());
    let out = dir.path().join("o'ut");
    let mut submit = harness();
    submit
        .env("HARNESS_ROOT", dir.path())
        .env("PATH", dir.path());
    submit.args([
        "slurm",
        "submit",
        "table2",
        "--plugins",
        "plugins",
        "--partition=gpu",
        "--out",
    ]);
    submit.arg(&out).args(SMALL);
    submit.args([
        "--gres",
        "gpu:1",
        "--array-limit",
        "2",
        "--sbatch-arg",
        "--mail-type=FAIL",
    ]);
    submit.args(["--time", "2:00:00"]);
    let refused = run(&mut submit);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("sbatch cannot be started"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("harness run-cells --help"),
        "{}",
        refused.stderr
    );
    fs::remove_dir_all(&out).unwrap();
    let shown = succeed(submit.arg("--submit-dry-run"));
    let jobs: Vec<&str> = shown
        .stdout
        .lines()
        .filter(|line| line.starts_with("$ sbatch"))
        .collect();
    assert_eq!(jobs.len(), 2, "{}", shown.stdout);
    for option in [
        "--array=0-3%2",
        "--gres=gpu:1",
        "--partition=gpu",
        "--mail-type=FAIL",
        "--requeue",
        "--signal=B:USR1@120",
        "--time=2:00:00",
    ] {
        assert!(jobs[0].contains(option), "{option} in {}", jobs[0]);
    }
    assert!(
        jobs[1].contains("--dependency=afterany:ARRAY"),
        "{}",
        jobs[1]
    );
    assert!(!jobs[1].contains("gres"), "{}", jobs[1]);
    let collect = shown
        .stdout
        .lines()
        .find(|line| line.ends_with(" --collect"))
        .unwrap();
    assert!(
        collect.contains("bench table2 --plugins plugins --out"),
        "{collect}"
    );
    assert!(
        !collect.contains("partition") && collect.contains("o'ut"),
        "{collect}"
    );
    assert!(!out.exists(), "a look leaves nothing behind");
    let catalogue = run(harness().args(["slurm", "submit", "table1", "--submit-dry-run"]));
    assert_eq!(catalogue.code, 4, "{}", catalogue.stderr);
    let every = run(harness().args(["slurm", "submit", "all", "--submit-dry-run"]));
    assert_eq!(every.code, 2, "{}", every.stderr);
    assert!(every.stderr.contains("name a bench"), "{}", every.stderr);
}
