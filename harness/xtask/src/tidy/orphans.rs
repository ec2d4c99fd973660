//! Every Rust file is named by something: a module, a manifest or an attribute. The compiler never
//! sees a file that nothing names, so nothing in it is checked.

use std::collections::BTreeSet;

use super::finding::Finding;
use crate::source::{Sources, module_path};

/// Files that cargo finds by their names, and folders whose files it takes for programs and tests.
const ROOTS: [&str; 3] = ["lib.rs", "main.rs", "build.rs"];
const FOLDERS_OF_ROOTS: [&str; 4] = ["bin", "tests", "examples", "benches"];

/// Names the Rust files that belong to no crate.
pub fn check(sources: &Sources) -> Vec<Finding> {
    let modules: BTreeSet<String> = sources
        .rust_files()
        .flat_map(|(path, text)| text.lines().filter_map(move |line| declared(path, line)))
        .collect();
    let is_orphan = |path: &str| {
        let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let name = path.rsplit('/').next().unwrap_or(path);
        let named = [format!("/{name}\""), format!("\"{name}\"")];
        !is_root(path)
            && !modules.contains(module)
            && !named.iter().any(|name| sources.mention(name))
    };
    let files = sources.rust_files().map(|(path, _)| path);
    let finding = |path: &str| Finding {
        place: path.to_owned(),
        what: "no module, manifest or attribute names this file".to_owned(),
        cure: "declare it as a module, or delete it".to_owned(),
    };
    files.filter(|path| is_orphan(path)).map(finding).collect()
}

/// Where the module lies that a line declares.
fn declared(path: &str, line: &str) -> Option<String> {
    let (visibility, name) = line.trim().strip_suffix(';')?.rsplit_once("mod ")?;
    if !visibility.is_empty() && !visibility.starts_with("pub") {
        return None;
    }
    match path.rsplit_once('/') {
        // The modules of a root lie beside it.
        Some((folder, _)) if is_root(path) => Some(format!("{folder}/{name}")),
        _ => Some(module_path(path, name)),
    }
}

fn is_root(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let (name, folder) = (parts.next().unwrap_or(path), parts.next().unwrap_or(""));
    ROOTS.contains(&name) || FOLDERS_OF_ROOTS.contains(&folder) && name != "mod.rs"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orphans(files: &[(&str, &str)]) -> Vec<String> {
        let found = check(&Sources::of(files));
        found.into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn a_file_that_nothing_names_is_found() {
        let files = [
            ("a/src/lib.rs", "mod b;\npub(crate) mod c;\n// mod e;\n"),
            ("a/src/b.rs", "mod d;\n"),
            ("a/src/b/d.rs", ""),
            ("a/src/b/e.rs", ""),
            ("a/src/c/mod.rs", ""),
            ("a/src/e.rs", ""),
        ];
        assert_eq!(orphans(&files), ["a/src/b/e.rs", "a/src/e.rs"]);
    }

    #[test]
    fn what_cargo_finds_and_what_is_named_otherwise_is_passed_over() {
        let files = [
            ("a/Cargo.toml", "[lib]\npath = \"kinds/first.rs\"\n"),
            ("a/kinds/first.rs", "#[path = \"second.rs\"]\nmod other;\n"),
            ("a/kinds/second.rs", ""),
            ("a/src/bin/tool.rs", ""),
            ("a/tests/laws.rs", "mod common;\n"),
            ("a/tests/common/mod.rs", ""),
        ];
        assert_eq!(orphans(&files), [""; 0]);
    }
}
