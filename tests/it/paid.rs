//! Judges that cost money, on table2 at its smallest against a local server: nothing is paid for
//! twice, budgets hold, replies are replayed, and the key is nowhere.
//!
//! The texts come from the store of the other tests of benches; what is left to do is to ask.

mod autointerp;
mod batch;
mod budget;
mod faults;
mod killed;
mod replay;
pub mod server;
mod speed;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use server::Server;

use crate::bench::{copy_of_reference, small};

/// A key that must be found nowhere.
const CANARY: &str = "sk-canary-5f1d7c2e9b";

/// Questions of the bench: 6 SAEs with 2 features, each explained and judged on 2 pairs of texts.
/// Some may ask the same.
const MOST_QUESTIONS: usize = 6 * (2 + 2 * 2);

/// A store in which everything is done but what a paid judge answers.
pub fn store(dir: &Path) -> PathBuf {
    copy_of_reference(dir)
}

/// The bench with the judge behind a server.
pub fn paid(out: &Path, server: &Server) -> Command {
    judged_by(small(out), server)
}

/// A bench with the judge behind a server.
pub fn judged_by(mut command: Command, server: &Server) -> Command {
    command.args(["--judge", "openai"]);
    behind(command, server)
}

/// A command whose paid judge is that server.
fn behind(mut command: Command, server: &Server) -> Command {
    command
        .env("OPENAI_BASE_URL", server.url())
        .env("OPENAI_API_KEY", CANARY)
        .env("HARNESS_JUDGE_TIMEOUT", "3")
        .env_remove("HARNESS_JUDGE_MODEL");
    command
}

/// Files below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// Files of kept replies.
pub fn kept(replies: &Path) -> Vec<PathBuf> {
    let is_reply = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem.len() == 64);
    files(replies).into_iter().filter(is_reply).collect()
}

/// The key is in no file below the folder and in none of the texts.
pub fn assert_no_key(out: &Path, texts: &[&str]) {
    for file in files(out) {
        let bytes = fs::read(&file).unwrap();
        let has = bytes.windows(CANARY.len()).any(|w| w == CANARY.as_bytes());
        assert!(!has, "the key is in {}", file.display());
    }
    for text in texts {
        assert!(!text.contains(CANARY), "the key is in\n{text}");
    }
}

/// A number of run.json's counters.
pub fn counter(out: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(out.join("run.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    manifest["counters"][name].as_u64().unwrap()
}
