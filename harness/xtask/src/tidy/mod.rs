//! `cargo xtask tidy`: the rules of the repository that the compiler does not check.

mod interface;
mod layers;
mod links;
mod manifests;
mod metadata;
mod size;
mod text;

use std::fmt;
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path from the repository's root, with a line number where there is one.
    pub place: String,
    pub what: String,
    /// What to do about it.
    pub cure: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    cure: {}", self.place, self.what, self.cure)
    }
}

/// Checks everything; with `--fix` records the hash of the plugin interface anew first.
///
/// # Errors
/// When the repository cannot be read.
pub fn run(ws: &Workspace, args: &[String]) -> Result<ExitCode> {
    match args {
        [] => {}
        [flag] if flag == "--fix" => {
            if interface::fix(&ws.root)? {
                eprintln!("{} records the interface as it is now", interface::RECORD);
            }
        }
        _ => bail!(
            "`cargo xtask tidy` takes --fix or nothing, found `{}`",
            args.join(" ")
        ),
    }
    let members = metadata::read(ws)?;
    let files = text::files(ws)?;
    let mut findings = layers::check(&members);
    findings.extend(manifests::check(&ws.root, &members)?);
    findings.extend(text::check(&ws.root, &files)?);
    findings.extend(links::check(&ws.root, &files)?);
    findings.extend(size::check(&ws.root, &files));
    findings.extend(interface::check(&ws.root)?);
    findings.extend(interface::check_new(&ws.root)?);
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        eprintln!(
            "tidy: {} crates and {} files, nothing found",
            members.len(),
            files.len()
        );
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("tidy: {} found", findings.len());
    Ok(ExitCode::FAILURE)
}
