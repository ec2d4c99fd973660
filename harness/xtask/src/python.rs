//! The few things done in Python, which is there anyway because pip is: reading wheels and asking
//! for an installed torch.
//!
//! What to keep is decided in Rust (`libtorch::wheel`); the script only
//! carries it out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::libtorch::wheel::WheelFile;
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

/// The names of a wheel's files.
///
/// # Errors
/// When the file is not a wheel.
pub fn names_in_wheel(ws: &Workspace, wheel: &Path) -> Result<Vec<String>> {
    let names = call(ws, &[Path::new("list"), wheel], "")?;
    serde_json::from_value(names).context("python3 (list) did not answer with a list of names")
}

/// Unpacks the chosen files under `into`.
///
/// # Errors
/// When the archive is damaged or the disk is full.
pub fn unpack(ws: &Workspace, wheel: &Path, files: &[WheelFile], into: &Path) -> Result<()> {
    let plan: Vec<[&str; 2]> = files
        .iter()
        .map(|file| [file.name.as_str(), file.to.as_str()])
        .collect();
    let input = serde_json::to_string(&plan)?;
    call(ws, &[Path::new("unpack"), wheel, into], &input).map(drop)
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
