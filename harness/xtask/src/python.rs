//! The few things done in Python, which is there anyway because pip is: reading wheels and asking
//! for an installed torch.
//!
//! What to keep and whether it is right is decided in Rust (`libtorch::wheel`); the script only
//! carries it out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::libtorch::wheel::{Extracted, Kept};
use crate::workspace::Workspace;

const SCRIPT: &str = include_str!("helper.py");

/// The interpreter torch-sys would call: `python` inside a virtual environment, `python3` outside.
pub fn interpreter(ws: &Workspace) -> Command {
    let virtual_env = std::env::var_os("VIRTUAL_ENV").is_some();
    ws.command(if virtual_env { "python" } else { "python3" })
}

fn call(ws: &Workspace, args: &[&Path], input: &str) -> Result<Value> {
    let task = args
        .first()
        .map_or(String::new(), |a| a.display().to_string());
    let mut child = interpreter(ws)
        .arg("-c")
        .arg(SCRIPT)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .context("python3 cannot be started")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .with_context(|| format!("python3 ({task}) does not read its input"))?;
    }
    let output = child
        .wait_with_output()
        .with_context(|| format!("python3 ({task}) was lost"))?;
    if !output.status.success() {
        bail!("python3 could not {task} (its message is above)");
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("python3 ({task}) answered with something else than JSON"))
}

/// The names of a wheel's files, and the text of its RECORD.
///
/// # Errors
/// When the file is not a wheel.
pub fn wheel_contents(ws: &Workspace, wheel: &Path) -> Result<(Vec<String>, String)> {
    let answer = call(ws, &[Path::new("list"), wheel], "")?;
    let names = answer["names"].as_array().map(|names| {
        names
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    });
    match (names, answer["record"].as_str()) {
        (Some(names), Some(record)) => Ok((names, record.to_owned())),
        _ => bail!("{} has no RECORD, so it is not a wheel", wheel.display()),
    }
}

/// Unpacks the chosen files under `into` and says what was written.
///
/// # Errors
/// When the archive is damaged or the disk is full.
pub fn unpack(ws: &Workspace, wheel: &Path, kept: &[Kept], into: &Path) -> Result<Vec<Extracted>> {
    let plan: Vec<Value> = kept
        .iter()
        .map(|k| Value::from(vec![k.name.clone(), k.to.clone()]))
        .collect();
    let answer = call(
        ws,
        &[Path::new("unpack"), wheel, into],
        &Value::from(plan).to_string(),
    )?;
    let rows = answer
        .as_array()
        .context("python3 (unpack) did not answer with a list")?;
    rows.iter()
        .map(
            |row| match (row[0].as_str(), row[1].as_str(), row[2].as_u64()) {
                (Some(name), Some(sha256), Some(size)) => Ok(Extracted {
                    name: name.to_owned(),
                    sha256: sha256.to_owned(),
                    size,
                }),
                _ => bail!("python3 (unpack) answered with {row}"),
            },
        )
        .collect()
}

/// Swaps two folders in one step, so that a reader of `a` always finds one of them. `false` where
/// the system cannot.
pub fn exchange(ws: &Workspace, a: &Path, b: &Path) -> bool {
    call(ws, &[Path::new("exchange"), a, b], "").is_ok_and(|answer| answer == Value::Bool(true))
}

/// The folder of the torch package that Python would import, without importing it (which takes
/// seconds).
///
/// # Errors
/// When Python has no torch.
pub fn torch_folder(ws: &Workspace) -> Result<Option<PathBuf>> {
    let answer = call(ws, &[Path::new("torch")], "")?;
    Ok(answer.as_str().map(PathBuf::from))
}
