//! Host and worker are killed in the middle: what was there is kept, and only what was on the wire
//! is asked for again.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{CANARY, assert_no_key, kept, paid, server::Act, server::Server, store};
use crate::support::{only_child_of, succeed};

/// Questions the harness has under way at most.
const ON_THE_WIRE: usize = 16;

#[test]
fn a_killed_run_pays_again_for_what_was_on_the_wire_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let replies = dir.path().join("replies");
    let folder = replies.display().to_string();
    let server = Server::start(|_, _| Act::Slow(Duration::from_millis(250)));
    let mut command = paid(&out, &server);
    let mut child = command
        .args(["--workers", "1", "--replies", &folder])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait(&mut child, || kept(&replies).len() >= 6);
    let worker = only_child_of(child.id());
    for process in [child.id(), worker] {
        let title = fs::read(format!("/proc/{process}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&title).contains(CANARY));
    }
    kill(&mut child);
    // What the killed worker had sent still arrives at the server and is answered into nothing.
    thread::sleep(Duration::from_millis(600));
    let n_kept = kept(&replies).len();
    let before = server.seen();
    let kept_questions: BTreeSet<String> = kept(&replies)
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
            words(&kept["record"]["request"]["messages"])
        })
        .collect();
    assert_eq!(kept_questions.len(), n_kept);

    let ran = succeed(paid(&out, &server).args(["--replies", &folder]));
    let after = server.seen();
    let mut n_twice = 0;
    for (question, seen) in &after {
        let was_kept = kept_questions.contains(&words(&serde_json::from_str(question).unwrap()));
        let asked_before = before.get(question).map_or(0, |seen| seen.asked);
        if was_kept {
            assert_eq!(seen.asked, asked_before, "a kept reply was paid for again");
        } else {
            assert_eq!(seen.asked, asked_before + 1);
            n_twice += asked_before;
        }
    }
    assert!(n_twice <= ON_THE_WIRE, "{n_twice} were asked twice");
    assert_eq!(kept(&replies).len(), after.len());
    assert_no_key(dir.path(), &[&ran.stdout, &ran.stderr]);
}

/// Roles and contents, whatever the order of keys.
fn words(messages: &serde_json::Value) -> String {
    let messages = messages.as_array().unwrap();
    let text = |message: &serde_json::Value| format!("{}: {}", message["role"], message["content"]);
    messages.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// Two runs on one folder of replies ask one after the other, and the second finds what the first
/// was told.
#[test]
fn two_runs_at_once_do_not_pay_twice() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("replies").display().to_string();
    let server = Server::start(|_, _| Act::Slow(Duration::from_millis(100)));
    let children: Vec<Child> = ["one", "two"]
        .iter()
        .map(|name| {
            let dir = dir.path().join(name);
            fs::create_dir(&dir).unwrap();
            paid(&store(&dir), &server)
                .args(["--workers", "1", "--replies", &folder])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let ended = child.wait_with_output().unwrap();
        assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }
    assert!(server.seen().values().all(|seen| seen.asked == 1));
}

pub fn wait(child: &mut Child, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(
            started.elapsed() < Duration::from_secs(200),
            "it took 200 s"
        );
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "the run ended with {ended:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Kills a run: host and worker.
pub fn kill(child: &mut Child) {
    let pids = [
        child.id().to_string(),
        only_child_of(child.id()).to_string(),
    ];
    succeed(Command::new("kill").arg("-KILL").args(&pids));
    child.wait().unwrap();
}
