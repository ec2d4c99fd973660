//! Every plugin crate has a plugin.toml that can be read and names the library the crate builds.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::finding::Finding;
use super::metadata::Member;

/// Checks every member below plugins/ that builds a shared library.
///
/// # Errors
/// When a manifest exists and cannot be read.
pub fn check(root: &Path, members: &[Member]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for member in members
        .iter()
        .filter(|m| m.folder.starts_with("plugins/") && !m.cdylibs.is_empty())
    {
        let place = format!("{}/plugin.toml", member.folder);
        let path = root.join(&place);
        let problem = if path.is_file() {
            problem_of(
                &fs::read_to_string(&path).with_context(|| format!("{place} cannot be read"))?,
                &member.cdylibs,
            )
        } else {
            Some((
                "the manifest is missing".to_owned(),
                "write it after plugins/template/plugin.toml".to_owned(),
            ))
        };
        if let Some((what, cure)) = problem {
            findings.push(Finding { place, what, cure });
        }
    }
    Ok(findings)
}

/// What is wrong with a manifest's text, and the cure.
fn problem_of(text: &str, cdylibs: &[String]) -> Option<(String, String)> {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            return Some((
                format!("it does not parse: {}", error.to_string().trim_end()),
                "correct the TOML".to_owned(),
            ));
        }
    };
    let field = |name: &str| table.get(name).and_then(toml::Value::as_str);
    for name in ["id", "version", "library"] {
        if field(name).is_none_or(str::is_empty) {
            return Some((
                format!("`{name}` is missing"),
                format!("add `{name} = \"…\"` at the top"),
            ));
        }
    }
    let library = field("library").unwrap_or_default();
    let built: Vec<String> = cdylibs.iter().map(|name| format!("lib{name}.so")).collect();
    if built.iter().any(|name| name == library) {
        return None;
    }
    Some((
        format!("library `{library}` is not what Cargo.toml builds"),
        format!("write library = \"{}\"", built.join("\" or \"")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> String {
        problem_of(text, &["plugin_dream".to_owned()]).map_or(String::new(), |(what, _)| what)
    }

    #[test]
    fn the_named_library_must_be_the_one_built() {
        assert_eq!(
            what(
                "id = \"dream\"\nversion = \"0.1.0\"\nlibrary = \"libplugin_dream.so\"\n[[component]]\nkind = \"model\"\n"
            ),
            ""
        );
        assert!(
            what("id = \"dream\"\nversion = \"0.1.0\"\nlibrary = \"libdream.so\"")
                .contains("libdream.so")
        );
        assert!(
            what("id = \"dream\"\nlibrary = \"libplugin_dream.so\"")
                .contains("`version` is missing")
        );
        assert!(what("id = ").contains("does not parse"));
    }

    #[test]
    fn a_plugin_without_a_manifest_is_named_and_an_rlib_needs_none() {
        let dir = tempfile::tempdir().unwrap();
        let member = |folder: &str, cdylibs: &[&str]| Member {
            name: "p".to_owned(),
            folder: folder.to_owned(),
            dependencies: Vec::new(),
            cdylibs: cdylibs.iter().map(|s| (*s).to_owned()).collect(),
        };
        let members = [
            member("plugins/sae/topk", &["plugin_topk"]),
            member("plugins/shared/decoder", &[]),
            member("harness/sdk", &["x"]),
        ];
        let findings = check(dir.path(), &members).unwrap();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].place, "plugins/sae/topk/plugin.toml");
    }
}
