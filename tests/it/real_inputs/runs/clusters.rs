//! Slurm as sites have it: programs that stand in for it print banners, words and nothing.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::support::{Ran, harness, run, words};

/// A cluster's programs, which note how they were called.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// `sbatch` is a script for bash in which `$n` is the number of the job: 101, 102, …
    fn new(sbatch: &str, squeue: &str, scancel: &str) -> Site {
        let site = Site {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(site.path("bin")).unwrap();
        let log = site.path("log");
        let log = log.display();
        let count = format!("n=$((100 + $(grep -c '^sbatch ' '{log}')))");
        for (name, script) in [
            ("sbatch", format!("{count}\n{sbatch}")),
            ("squeue", squeue.to_owned()),
            ("scancel", scancel.to_owned()),
            (
                "scontrol",
                r"printf 'Welcome\r\nMaxArraySize            = 1001\r\n'".to_owned(),
            ),
        ] {
            let path = site.path("bin").join(name);
            let note = format!("#!/bin/bash\necho \"{name} $*\" >>'{log}'\n");
            fs::write(&path, note + &script + "\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn submit(&self) -> Ran {
        let path = env::var("PATH").unwrap_or_default();
        let mut command = harness();
        command.args(words("slurm submit table2 --plugins plugins --rows qwen"));
        command.args(words("--layers 1 --k 8 --out"));
        command.arg(self.path("out"));
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        run(&mut command)
    }

    /// Calls of a program, without its name.
    fn calls(&self, program: &str) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let ours = log.lines().filter_map(|line| line.strip_prefix(program));
        ours.map(|words| words.trim().to_owned()).collect()
    }

    fn jobs(&self) -> String {
        jobs_in(&self.path("out"))
    }
}

fn jobs_in(out: &Path) -> String {
    fs::read_to_string(out.join("slurm/001/jobs.json")).unwrap_or_default()
}

#[test]
fn both_jobs_are_submitted_whatever_the_site_prints_around_the_number() {
    for sbatch in [
        "echo 'sbatch: using partition cpu'; echo $n",
        "printf 'Submitted batch job %s on cluster tetra\\r\\n' $n",
        "echo '*** 2 nodes are down ***'; echo \"$n;tetra\"; echo 'have a nice day'",
        "echo \"Your job $n was accepted\"",
    ] {
        let site = Site::new(sbatch, "", "");
        let ran = site.submit();
        assert_eq!(ran.code, 0, "{sbatch}: {}", ran.stderr);
        assert_eq!(ran.stdout.trim(), "101 102", "{sbatch}");
        let calls = site.calls("sbatch");
        assert!(calls[1].contains("--dependency=afterany:101 "), "{calls:?}");
        assert!(site.calls("scancel").is_empty());
    }
}

#[test]
fn a_number_that_sbatch_does_not_say_is_asked_of_the_queue() {
    let squeue = "case \"$*\" in *-merge*) echo 102;; *) echo 101; echo 101;; esac";
    let site = Site::new("echo thank you", squeue, "");
    let ran = site.submit();
    assert_eq!(
        (ran.code, ran.stdout.trim()),
        (0, "101 102"),
        "{}",
        ran.stderr
    );
    let names: Vec<String> = site.calls("squeue");
    assert!(names[0].contains("--name=harness-table2-"), "{names:?}");
}

#[test]
fn a_job_without_a_number_is_taken_back() {
    let site = Site::new("echo thank you", "", "");
    let ran = site.submit();
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("`thank you`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("it was taken back"), "{}", ran.stderr);
    assert_eq!(site.calls("sbatch").len(), 1);
    let cancelled = site.calls("scancel");
    assert!(
        cancelled[0].starts_with("--name=harness-table2-"),
        "{cancelled:?}"
    );
}

#[test]
fn chunks_are_taken_back_when_nothing_would_make_tables_of_them() {
    let refuses =
        "[ $n = 101 ] || { echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1; }";
    let site = Site::new(&format!("{refuses}\necho \"$n;tetra\""), "", "");
    let ran = site.submit();
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_eq!(site.calls("scancel"), ["--clusters=tetra 101"]);
    assert!(ran.stderr.contains("were taken back"), "{}", ran.stderr);
    assert!(!site.jobs().contains("101"), "{}", site.jobs());

    let site = Site::new(&format!("{refuses}\necho $n"), "", "exit 1");
    let ran = site.submit();
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("do so with `scancel 101`"),
        "{}",
        ran.stderr
    );
    assert!(site.jobs().contains("101"), "{}", site.jobs());
}
