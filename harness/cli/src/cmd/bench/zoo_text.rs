//! The embedded models' own text as files: activation passes and training read files, and their
//! contents are hashed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use harness_contract::{exit, files::replace_file};
use harness_data::{Document, Kind, Split, chat_tasks, documents};
use serde_json::json;

use crate::failure::Failure;

/// Seed of the text of activation passes.
const HELDOUT_SEED: u64 = 0;
/// Seed of the text of training; the models themselves were trained on seed 0.
const TRAIN_SEED: u64 = 1;
/// Documents of activation passes: about 250,000 tokens, ten times the budget of a table.
const HELDOUT_DOCUMENTS: u64 = 5_000;
/// Prompts of rollouts, ten times what a table continues.
const PROMPTS: u64 = 2_000;
/// Questions of decoding orders, ten times what a table asks.
const QUESTIONS: usize = 1_000;
/// Documents of training, about 3,000,000 tokens; `--allow-short` reads them again when they do not
/// last.
const TRAIN_DOCUMENTS: u64 = 60_000;

/// The held-out stories in a folder, written unless they are there: the planted topics are in the
/// narratives and dialogues; arithmetic problems would be one large topic of their own.
///
/// # Errors
/// When it cannot be written.
pub fn heldout_file(dir: &Path) -> Result<PathBuf, Failure> {
    file(dir, Split::Heldout, HELDOUT_SEED, HELDOUT_DOCUMENTS)
}

/// Where [`heldout_file`] puts it.
pub fn heldout_path(dir: &Path) -> PathBuf {
    path(dir, Split::Heldout, HELDOUT_SEED)
}

/// The held-out prompts in a folder, written unless they are there: chat tasks as the fine-tuned
/// model knows them.
///
/// # Errors
/// When it cannot be written.
pub fn prompts_file(dir: &Path) -> Result<PathBuf, Failure> {
    let tasks = chat_tasks(Split::Heldout, HELDOUT_SEED, PROMPTS);
    let lines = tasks.map(|task| serde_json::to_vec(&task));
    written(prompts_path(dir), lines)
}

/// Where [`prompts_file`] puts it.
pub fn prompts_path(dir: &Path) -> PathBuf {
    let name = format!("{}-{HELDOUT_SEED}-chat.jsonl", Split::Heldout.name());
    dir.join("text").join(name)
}

/// The held-out word problems in a folder, written unless they are there, in the fields of GSM8K.
///
/// # Errors
/// When it cannot be written.
pub fn questions_file(dir: &Path) -> Result<PathBuf, Failure> {
    let tasks = chat_tasks(Split::Heldout, HELDOUT_SEED, u64::MAX);
    let lines = tasks
        .filter(|task| task.answer.is_some())
        .map(|task| serde_json::to_vec(&json!({"question": task.prompt, "answer": task.response})));
    written(questions_path(dir), lines.take(QUESTIONS))
}

/// Where [`questions_file`] puts it.
pub fn questions_path(dir: &Path) -> PathBuf {
    let name = format!("{}-{HELDOUT_SEED}-questions.jsonl", Split::Heldout.name());
    dir.join("text").join(name)
}

/// The text to train on in a folder, written unless it is there.
///
/// # Errors
/// When it cannot be written.
pub fn train_file(dir: &Path) -> Result<PathBuf, Failure> {
    file(dir, Split::Train, TRAIN_SEED, TRAIN_DOCUMENTS)
}

fn path(dir: &Path, split: Split, seed: u64) -> PathBuf {
    dir.join("text")
        .join(format!("{}-{seed}.jsonl", split.name()))
}

fn file(dir: &Path, split: Split, seed: u64, n: u64) -> Result<PathBuf, Failure> {
    let wanted = |document: &Document| split == Split::Train || document.kind != Kind::Problem;
    let lines = documents(split, seed, n, None)
        .filter(wanted)
        .map(|document| serde_json::to_vec(&document));
    written(path(dir, split, seed), lines)
}

/// The file is always made anew from its definition and compared, so that a damaged one or one of
/// another version is replaced; it appears whole or not at all.
fn written(
    path: PathBuf,
    lines: impl Iterator<Item = Result<Vec<u8>, serde_json::Error>>,
) -> Result<PathBuf, Failure> {
    let fail = |error: std::io::Error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::new(exit::CANNOT_WRITE, message)
    };
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend(line.map_err(|error| fail(error.into()))?);
        bytes.push(b'\n');
    }
    if fs::read(&path).is_ok_and(|there| there == bytes) {
        return Ok(path);
    }
    replace_file(&path, &bytes).map_err(fail)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_text_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), Split::Heldout, 0, 20).unwrap();
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.iter().filter(|b| **b == b'\n').count(), 20);
        fs::write(&path, &whole[..100]).unwrap();
        assert_eq!(file(dir.path(), Split::Heldout, 0, 20).unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(fs::read_dir(dir.path().join("text")).unwrap().count(), 1);
    }
}
