//! `cargo xtask tidy`: the rules of the repository that the compiler does not check.

mod circles;
mod finding;
mod floors;
mod interface;
mod kinds;
mod links;
mod manifests;
mod metadata;
mod orphans;
mod size;
mod text;
mod width;

use std::process::ExitCode;

use anyhow::Result;

use crate::source::Sources;
use crate::workspace::Workspace;
pub use text::files;

/// Checks everything; with `fix` records the hash of the plugin interface anew first.
///
/// # Errors
/// When the repository cannot be read.
pub fn run(ws: &Workspace, fix: bool) -> Result<ExitCode> {
    if fix && interface::fix(&ws.root)? {
        eprintln!("{} records the interface as it is now", interface::RECORD);
    }
    let (members, links) = metadata::read(ws)?;
    let files = text::files(ws)?;
    let sources = Sources::in_work_tree(&ws.root, &files)?;
    let mut findings = floors::check(&members, &links);
    findings.extend(circles::check(&sources)?);
    findings.extend(kinds::check(&sources));
    findings.extend(orphans::check(&sources));
    findings.extend(width::check(&ws.root, &files));
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
