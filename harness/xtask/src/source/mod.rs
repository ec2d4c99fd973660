//! The repository's Rust code as its checks read it: which crate a file belongs to, and which
//! lines and files are tests.

mod code;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
pub use code::{Code, read};

/// Folders that hold tests, benches or examples and nothing of the product.
const TEST_FOLDERS: [&str; 3] = ["tests", "benches", "examples"];

/// The Rust files and manifests of the repository, by their path from its root.
pub struct Sources {
    files: BTreeMap<String, String>,
}

impl Sources {
    /// Reads the work tree; `names` are the files that belong to the repository.
    ///
    /// # Errors
    /// When a file is not UTF-8.
    pub fn in_work_tree(root: &Path, names: &[String]) -> Result<Self> {
        let mut files = BTreeMap::new();
        for name in names.iter().filter(|name| is_read(name)) {
            let path = root.join(name);
            // A file that is deleted and not yet committed is still listed.
            if path.is_file() {
                let text =
                    fs::read_to_string(&path).with_context(|| format!("{name} cannot be read"))?;
                files.insert(name.clone(), text);
            }
        }
        Ok(Self { files })
    }

    /// Reads the files of a commit.
    ///
    /// # Errors
    /// When git knows no such commit.
    pub fn at(ws: &Workspace, revision: &str) -> Result<Self> {
        let listed = git(ws, &["ls-tree", "-r", "-z", "--name-only", revision], "")?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        let names: Vec<&str> = listed.split('\0').filter(|name| is_read(name)).collect();
        let objects: String = names.iter().map(|n| format!("{revision}:{n}\n")).collect();
        let contents = git(ws, &["cat-file", "--batch"], &objects)?;
        let mut rest = contents.as_slice();
        let mut files = BTreeMap::new();
        for name in names {
            let text = next_object(&mut rest)
                .with_context(|| format!("git did not hand out {revision}:{name}"))?;
            files.insert(name.to_owned(), text);
        }
        Ok(Self { files })
    }

    /// Files that a test names.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()));
        Self {
            files: files.collect(),
        }
    }

    /// Whether a Rust file or a manifest holds this text.
    pub fn mention(&self, text: &str) -> bool {
        self.files.values().any(|file| file.contains(text))
    }

    /// All Rust files with their text, tests among them.
    pub fn rust_files(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.iter().filter(|(path, _)| is_rust(path));
        files.map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The name by which code knows a crate's library.
    ///
    /// # Errors
    /// When the manifest says none.
    pub fn library(&self, folder: &str) -> Result<String> {
        let path = format!("{folder}/Cargo.toml");
        let manifest: toml::Table = (self.files.get(&path))
            .with_context(|| format!("{path} is not there"))?
            .parse()
            .with_context(|| format!("{path} is not TOML"))?;
        let name = |table: &str| manifest.get(table)?.get("name")?.as_str();
        let name = name("lib").or_else(|| name("package"));
        let name = name.with_context(|| format!("{path} names no package"))?;
        Ok(name.replace('-', "_"))
    }

    /// The product's Rust files by the folder of their crate: neither tests nor benches.
    ///
    /// # Errors
    /// When a file is not Rust.
    pub fn product(&self) -> Result<BTreeMap<&str, Vec<SourceFile<'_>>>> {
        let crates: BTreeSet<&str> = (self.files.keys())
            .filter_map(|name| name.strip_suffix("/Cargo.toml"))
            .collect();
        let mut all = Vec::new();
        let mut test_modules = BTreeSet::new();
        for (path, text) in self.files.iter().filter(|(path, _)| is_rust(path)) {
            let Some(folder) = crate_of(path, &crates) else {
                continue;
            };
            let inside = &path[folder.len() + 1..];
            if folder == "tests" || folder.starts_with("tests/") || is_test_file(inside) {
                continue;
            }
            let code = read(text).with_context(|| format!("{path} is not Rust"))?;
            test_modules.extend(code.test_modules.iter().map(|name| module_path(path, name)));
            all.push((folder, SourceFile { path, text, code }));
        }
        let mut product: BTreeMap<&str, Vec<SourceFile>> = BTreeMap::new();
        for (folder, file) in all {
            let module = file.path.trim_end_matches(".rs").trim_end_matches("/mod");
            let mut around = module.match_indices('/').map(|(at, _)| &module[..at]);
            if !test_modules.contains(module) && !around.any(|m| test_modules.contains(m)) {
                product.entry(folder).or_default().push(file);
            }
        }
        Ok(product)
    }
}

/// A Rust file of the product.
pub struct SourceFile<'s> {
    /// From the repository's root.
    pub path: &'s str,
    pub text: &'s str,
    pub code: Code,
}

fn is_rust(name: &str) -> bool {
    name.ends_with(".rs")
}

fn is_read(name: &str) -> bool {
    is_rust(name) || name.ends_with("/Cargo.toml")
}

/// The innermost crate around a file.
fn crate_of<'c>(path: &str, crates: &BTreeSet<&'c str>) -> Option<&'c str> {
    path.rmatch_indices('/')
        .find_map(|(at, _)| crates.get(&path[..at]).copied())
}

/// Whether a file, by its path from its crate's folder, holds tests alone.
fn is_test_file(inside: &str) -> bool {
    let mut folders = inside.split('/').collect::<Vec<_>>();
    let name = folders.pop().unwrap_or_default();
    let stem = name.trim_end_matches(".rs");
    folders.iter().any(|folder| TEST_FOLDERS.contains(folder))
        || stem == "tests"
        || stem.starts_with("tests_")
        || stem.ends_with("_tests")
}

/// The path, without `.rs` and `/mod.rs`, of the file of a module that `file` declares.
pub fn module_path(file: &str, module: &str) -> String {
    let stem = file.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "lib" | "main" | "mod")) => folder,
        _ => stem,
    };
    format!("{folder}/{module}")
}

fn git(ws: &Workspace, args: &[&str], input: &str) -> Result<Vec<u8>> {
    let mut command: Command = ws.command("git");
    command.args(args).current_dir(&ws.root);
    let mut child = (command.stdin(Stdio::piped()).stdout(Stdio::piped()))
        .stderr(Stdio::piped())
        .spawn()
        .context("git cannot be started")?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // git answers while it is still being asked, so that one thread would wait for itself.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    });
    let output = output.context("git was lost")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git {} failed: {}", args[0], said.trim_end());
    }
    Ok(output.stdout)
}

/// Takes one object from what `git cat-file --batch` writes: a line that ends with its length, its
/// bytes, and a line's end.
fn next_object(rest: &mut &[u8]) -> Option<String> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(&rest[..end]).ok()?;
    let length: usize = header.rsplit_once(' ')?.1.parse().ok()?;
    let text = rest.get(end + 1..end + 1 + length)?;
    *rest = rest.get(end + length + 2..)?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_files_are_told_by_name_and_by_declaration() {
        let sources = Sources::of(&[
            ("a/Cargo.toml", ""),
            ("a/src/lib.rs", "#[cfg(test)]\nmod laws;\nmod b;"),
            ("a/src/laws.rs", ""),
            ("a/src/laws/more.rs", ""),
            ("a/src/b.rs", "#[cfg(test)] mod support;"),
            ("a/src/b/support.rs", ""),
            ("a/src/b/tests_of_b.rs", ""),
            ("a/src/b/tests_x.rs", ""),
            ("a/tests/it.rs", ""),
            ("a/benches/speed.rs", ""),
            ("a/inner/Cargo.toml", ""),
            ("a/inner/src/main.rs", ""),
            ("tests/Cargo.toml", ""),
            ("tests/src/lib.rs", ""),
            ("build.rs", ""),
        ]);
        let product = sources.product().unwrap();
        let paths = |folder| product[folder].iter().map(|f| f.path).collect::<Vec<_>>();
        assert_eq!(paths("a"), ["a/src/b.rs", "a/src/lib.rs"]);
        assert_eq!(paths("a/inner"), ["a/inner/src/main.rs"]);
        assert_eq!(product.len(), 2);
    }

    #[test]
    fn objects_of_git_are_taken_one_by_one() {
        let mut rest: &[u8] = b"0a blob 3\na\nb\n0b blob 0\n\n";
        assert_eq!(next_object(&mut rest).as_deref(), Some("a\nb"));
        assert_eq!(next_object(&mut rest).as_deref(), Some(""));
        assert_eq!(next_object(&mut rest), None);
    }
}
