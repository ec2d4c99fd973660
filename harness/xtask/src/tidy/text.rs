//! File lengths, leftovers of development, and paths of somebody's machine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::finding::Finding;
use crate::workspace::Workspace;

/// More lines than this and a Rust file holds more than one idea.
const MAX_LINES: usize = 600;
/// Larger files are data.
const MAX_TEXT_BYTES: u64 = 4 << 20;

/// What must not be left in Rust code, each with its cure. Written in halves, so that this file
/// does not find itself.
const LEFTOVERS: [(&str, &str, &str); 4] = [
    ("to", "do!(", "write it, or leave the feature out"),
    (
        "unimple",
        "mented!(",
        "write it, or return an error that says what is not supported",
    ),
    ("db", "g!(", "remove it"),
    (
        "#[ig",
        "nore",
        "let the test print `skipped: reason` and return where it cannot run",
    ),
];

/// Folders that are somebody's machine when a path begins with them.
const MACHINE_FOLDERS: [&str; 3] = ["work", "root", "home"];

/// The files that are or would be committed, as paths from the root.
///
/// # Errors
/// When git cannot list them.
pub fn files(ws: &Workspace) -> Result<Vec<String>> {
    let output = ws
        .command("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(&ws.root)
        .output()
        .context("git cannot be started; tidy asks it which files belong to the repository")?;
    if !output.status.success() {
        bail!(
            "git ls-files failed: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    let mut names: Vec<String> = output
        .stdout
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty())
        .map(|n| String::from_utf8_lossy(n).into_owned())
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Checks the files.
///
/// # Errors
/// When one cannot be read.
pub fn check(root: &Path, names: &[String]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for name in names {
        let path = root.join(name);
        // A file git still lists may be gone from the tree; a link or a data file has no text of
        // ours.
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if !meta.is_file() || meta.len() > MAX_TEXT_BYTES {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| format!("{name} cannot be read"))?;
        if let Ok(text) = std::str::from_utf8(&bytes)
            && !text.contains('\0')
        {
            findings.extend(check_text(name, text));
        }
    }
    Ok(findings)
}

fn check_text(name: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rust = name.ends_with(".rs");
    let lines = text.lines().count();
    if rust && lines > MAX_LINES {
        findings.push(Finding {
            place: name.to_owned(),
            what: format!("{lines} lines, at most {MAX_LINES}"),
            cure: "one idea a file: split it".to_owned(),
        });
    }
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        if let Some(path) = machine_path(line) {
            let cure = "name it from the repository's root or the user's home (~), or take it from the environment".to_owned();
            findings.push(Finding {
                place: place.clone(),
                what: format!("a path of somebody's machine, {path}"),
                cure,
            });
        }
        if !rust {
            continue;
        }
        if line.trim_start().starts_with("//") {
            if ignored_example(line) {
                findings.push(Finding {
                    place,
                    what: "an example that is never compiled".to_owned(),
                    cure: "mark it `no_run` where it cannot run, `text` where it is no Rust"
                        .to_owned(),
                });
            }
            continue;
        }
        for (head, tail, cure) in LEFTOVERS {
            let pattern = format!("{head}{tail}");
            if line
                .match_indices(&pattern)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            {
                findings.push(Finding {
                    place: place.clone(),
                    what: format!("`{}`", pattern.trim_end_matches('(')),
                    cure: cure.to_owned(),
                });
            }
        }
    }
    findings
}

/// A documentation comment that opens a code block marked `ignore`.
fn ignored_example(line: &str) -> bool {
    let comment = line
        .trim_start()
        .trim_start_matches(['/', '!'])
        .trim_start();
    comment
        .strip_prefix("```")
        .is_some_and(|marks| marks.split(',').any(|mark| mark.trim() == "ignore"))
}

/// An absolute path below one of the machine folders. `https://host/home/`, `../work/` and
/// `$HOME/work/` are none.
fn machine_path(line: &str) -> Option<String> {
    MACHINE_FOLDERS.iter().find_map(|folder| {
        let pattern = format!("/{folder}/");
        let absolute = |at: usize| {
            !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~/}$)*".contains(c))
        };
        line.match_indices(&pattern)
            .find(|(at, _)| absolute(*at))
            .map(|(at, _)| {
                let rest = &line[at..];
                let end = rest
                    .find(|c: char| c.is_whitespace() || "\"'`),;".contains(c))
                    .unwrap_or(rest.len());
                rest[..end].to_owned()
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Vec<String> {
        check_text(name, text)
            .into_iter()
            .map(|f| format!("{} {}", f.place, f.what))
            .collect()
    }

    #[test]
    fn long_files_are_named_with_both_numbers() {
        assert_eq!(found("a.rs", &"x\n".repeat(600)), Vec::<String>::new());
        assert_eq!(
            found("a.rs", &"x\n".repeat(601)),
            ["a.rs 601 lines, at most 600"]
        );
        assert_eq!(found("a.md", &"x\n".repeat(601)), Vec::<String>::new());
    }

    #[test]
    fn leftovers_are_found_in_code_but_not_in_comments() {
        let leftover = format!("let x = {}{}x);\n", "db", "g!(");
        assert_eq!(found("a.rs", &leftover).len(), 1);
        assert_eq!(found("a.rs", &format!("// {leftover}")).len(), 0);
        assert_eq!(found("a.rs", &format!("my_{}{}x)", "db", "g!(")).len(), 0);
        assert_eq!(
            found("a.rs", &format!("\n    {}{}]\n", "#[ig", "nore")),
            [format!("a.rs:2 `{}{}`", "#[ig", "nore")]
        );
    }

    #[test]
    fn an_ignored_example_is_an_ignored_test() {
        assert_eq!(found("a.rs", "//! ```ignore\n//! x\n//! ```\n").len(), 1);
        assert_eq!(found("a.rs", "    /// ```rust, ignore\n").len(), 1);
        assert_eq!(
            found("a.rs", "/// ```text\n/// we ignore it\n/// ```\n").len(),
            0
        );
    }

    #[test]
    fn machine_paths_are_found_and_urls_are_not() {
        let folder = MACHINE_FOLDERS[0];
        assert_eq!(
            found("README.md", &format!("see \"/{folder}/main/x\" there")).len(),
            1
        );
        for text in [
            format!("https://example.org/{folder}/x"),
            format!("../{folder}/x"),
            format!("$HOME/{folder}/x"),
            format!("/{folder}shop/x"),
        ] {
            assert_eq!(found("README.md", &text).len(), 0, "{text}");
        }
    }
}
