//! Opens plugin libraries. The only unsafe part of loading.
//!
//! Order: the manifest has been read and the file looked at by `harness_contract::plugin`; here the
//! library is opened with every symbol resolved, its layout is checked forwards and then with the
//! roles swapped, and what it says of itself is compared with its manifest.

use std::{fmt::Write as _, path::Path};

use abi_stable::{
    StableAbi,
    abi_stability::abi_checking::check_layout_compatibility,
    library::{LibHeader, LibraryError, lib_header_from_path},
    std_types::RResult,
};
use harness_abi::{ABI_VERSION, PluginInfo, PluginModRef};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// Opens a library and returns its root module with what it says of itself.
///
/// The library is never unloaded: its code may own what it has handed out.
///
/// # Errors
/// Why it is refused, in one line.
pub(super) fn open(library: &Path) -> Result<(PluginModRef, PluginInfo), String> {
    // abi_stable resolves symbols lazily, so that a missing one would end the process at its first
    // use. SAFETY: opening runs the library's constructors. Plugins are trusted code; the manifest,
    // the file's form and its hash were checked before.
    let opened = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| one_line(&format!("it cannot be opened: {}", causes(&error))))?;
    std::mem::forget(opened);
    let header = lib_header_from_path(library).map_err(|error| match error {
        LibraryError::GetSymbolError { .. } => {
            "it exports no plugin (is `export_plugin!` missing?)".to_owned()
        }
        other => one_line(&format!("its header is not readable: {other}")),
    })?;
    let module = module(header)?;
    match module.info()() {
        RResult::ROk(info) => Ok((module, info)),
        RResult::RErr(error) => Err(format!("it does not say what it is: {}", error.message)),
    }
}

fn module(header: &'static LibHeader) -> Result<PluginModRef, String> {
    let forward = header.init_root_module::<PluginModRef>();
    let error = match forward {
        Ok(module) => return Ok(module),
        Err(error) => error,
    };
    match &error {
        LibraryError::AbiInstability(_) => {}
        LibraryError::IncompatibleVersionNumber { actual_version, .. } => {
            return Err(format!(
                "it was built for interface {actual_version}, this host has {}.{}",
                ABI_VERSION.0, ABI_VERSION.1
            ));
        }
        other => return Err(one_line(&format!("its module cannot be made: {other}"))),
    }
    // An older plugin lacks what was appended since: that is fine, but abi_stable only accepts the
    // reverse. With the roles swapped the check says whether the plugin's interface is a prefix of
    // ours.
    let older = header
        .layout()
        .map(|layout| check_layout_compatibility(layout, <PluginModRef as StableAbi>::LAYOUT));
    match older {
        Some(Ok(())) => {
            // SAFETY: the swapped check has shown that every item the plugin has lies where ours
            // does; appended items are read through the prefix types' field counts.
            unsafe { header.init_root_module_with_unchecked_layout::<PluginModRef>() }
                .map_err(|error| one_line(&format!("its module cannot be made: {error}")))
        }
        _ => Err(format!(
            "its interface differs from this host's ({}.{}): {}",
            ABI_VERSION.0,
            ABI_VERSION.1,
            summary(&error.to_string())
        )),
    }
}

/// The line that matters of a layout report of several hundred.
fn summary(report: &str) -> String {
    let lines: Vec<&str> = report
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let start = lines
        .iter()
        .rposition(|line| line.starts_with("Error:") || line.starts_with("Layout of"))
        .unwrap_or_else(|| lines.len().saturating_sub(6));
    let mut text = String::new();
    for line in lines.iter().skip(start).take(6) {
        let _ = write!(text, "{}{line}", if text.is_empty() { "" } else { "; " });
    }
    let mut text: String = text.chars().take(300).collect();
    text.push_str(" (build the plugin against this host's harness-sdk)");
    text
}

/// An error with the errors behind it: the loader's own says only that opening failed.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.chars().take(400).collect()
}
