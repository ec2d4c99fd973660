//! Damaged copies of embedded models and SAEs, and the commands that meet them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

pub use crate::support::says;
use crate::support::{clean, copy_folder, harness, result, root, run, succeed};

/// Address space, in KiB, of a process that must get by with little: 100 MB.
pub const LITTLE_MEMORY: u64 = 100_000;

/// A copy of an embedded model.
pub fn model(dir: &Path, name: &str) -> PathBuf {
    let copy = dir.join(format!("model-{name}"));
    let _ = fs::remove_dir_all(&copy);
    copy_folder(&root().join("benchmarks/zoo").join(name), &copy);
    copy
}

/// A copy of one embedded SAE of `dream`, of layer 1 and k 8: its set and its own folder.
pub fn sae(dir: &Path) -> (PathBuf, PathBuf) {
    let set = dir.join("set");
    let _ = fs::remove_dir_all(&set);
    let place = "resid_post_layer_1/trainer_0";
    let embedded = root().join("benchmarks/zoo/saes/dream-mask").join(place);
    copy_folder(&embedded, &set.join(place));
    (set.clone(), set.join(place))
}

/// The weight file of [`sae`].
pub const SAE_WEIGHTS: &str = "sae_weights.safetensors";
/// The weight file of [`model`].
pub const MODEL_WEIGHTS: &str = "model.safetensors";

/// A JSON file with a change.
pub fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// Header and data of a safetensors file.
pub fn parts(path: &Path) -> (Value, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    (serde_json::from_slice(header).unwrap(), data.to_vec())
}

/// Writes a safetensors file with this header and this data.
pub fn assemble(path: &Path, header: &str, data: &[u8]) {
    let length = header.len() as u64;
    fs::write(
        path,
        [&length.to_le_bytes(), header.as_bytes(), data].concat(),
    )
    .unwrap();
}

/// The bytes of a tensor in the data of its file.
pub fn span(header: &Value, tensor: &str) -> std::ops::Range<usize> {
    let at = |i: usize| header[tensor]["data_offsets"][i].as_u64().unwrap() as usize;
    at(0)..at(1)
}

/// `harness inspect`.
pub fn inspect(path: &Path) -> Command {
    let mut command = harness();
    command.arg("inspect").arg(path);
    command
}

/// `harness generate`, of a few tokens.
pub fn generate(model: &Path) -> Command {
    continued(model, "the baker")
}

/// The same from another prompt.
pub fn continued(model: &Path, prompt: &str) -> Command {
    let mut command = harness();
    command
        .args(["generate", "--plugins", "plugins", "--prompt", prompt])
        .args(["--max-new-tokens", "4", "--threads", "1", "--model"])
        .arg(model);
    command
}

/// `harness bench fidelity` of [`sae`] on 500 tokens.
pub fn bench(dir: &Path, set: &Path) -> Command {
    let mut command = fidelity(dir, 500);
    command
        .arg("--saes")
        .arg(format!("dream-mask={}", set.display()));
    command
}

/// `harness bench fidelity` of one SAE on so many tokens, anew.
pub fn fidelity(dir: &Path, tokens: u64) -> Command {
    let out = dir.join("out");
    let _ = fs::remove_dir_all(&out);
    again(&out, tokens)
}

/// The same on results that are there.
pub fn again(out: &Path, tokens: u64) -> Command {
    let mut command = harness();
    command
        .args([
            "bench",
            "fidelity",
            "--plugins",
            "plugins",
            "--rows",
            "dream-mask",
        ])
        .args([
            "--layers",
            "1",
            "--k",
            "8",
            "--measures",
            "none",
            "--threads",
            "1",
        ])
        .args(["--budget-tokens", &tokens.to_string()])
        .args(["--set", &format!("shard_tokens={tokens}"), "--out"])
        .arg(out);
    command
}

/// Runs a command that must refuse its input with code 20, and returns what it says.
pub fn refused(command: &mut Command) -> String {
    let ran = run(command);
    assert_eq!(ran.code, 20, "{command:?}\n{}\n{}", ran.stdout, ran.stderr);
    let panics = ran.stderr.contains("panicked");
    assert!(!panics, "{command:?}\n{}", ran.stderr);
    ran.stderr
}

/// The same command in a process that may take so much address space, in KiB.
pub fn limited(command: &Command, kib: u64) -> Command {
    with_limits(command, &format!("ulimit -v {kib}"))
}

fn with_limits(command: &Command, limits: &str) -> Command {
    let mut shell = Command::new("sh");
    clean(&mut shell);
    let script = format!("{limits} && exec \"$0\" \"$@\"");
    shell.arg("-c").arg(script);
    shell.arg(command.get_program()).args(command.get_args());
    shell
}

/// Refused with code 20, within 100 MB of address space and a second of processor time, of which
/// other work on the machine takes nothing away.
pub fn refused_with_little(command: &Command) -> String {
    let limits = format!("ulimit -v {LITTLE_MEMORY} && ulimit -t 1");
    refused(&mut with_limits(command, &limits))
}

/// The values of a run's table, without anything that says when or where.
pub fn table(dir: &Path) -> String {
    result(&dir.join("out"), "fidelity.csv")
}

/// What an undisturbed run of [`fidelity`] leaves.
pub fn sound_table(tokens: u64) -> String {
    let dir = tempfile::tempdir().unwrap();
    succeed(&mut fidelity(dir.path(), tokens));
    table(dir.path())
}
