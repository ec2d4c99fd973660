//! Relative links of Markdown files: what they name must be there.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use super::finding::Finding;

/// Checks the links and pictures of every Markdown file, headings within files included.
///
/// # Errors
/// When a file cannot be read.
pub fn check(root: &Path, files: &[String]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for name in files.iter().filter(|name| name.ends_with(".md")) {
        let path = root.join(name);
        if !path.is_file() {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("{name} cannot be read"))?;
        for (line, target) in links(&text) {
            if let Some(what) = dead(root, name, &target) {
                findings.push(Finding {
                    place: format!("{name}:{line}"),
                    what,
                    cure: "name what is there today, or leave the link out".to_owned(),
                });
            }
        }
    }
    Ok(findings)
}

/// What is wrong with a link from the file `name`; `None` for a good one and for addresses.
fn dead(root: &Path, name: &str, target: &str) -> Option<String> {
    let is_address = target.contains("://") || target.starts_with("mailto:");
    if is_address || target.starts_with('/') {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let place = match file {
        "" => Some(PathBuf::from(name)),
        _ => plain(&Path::new(name).parent().unwrap_or(Path::new("")).join(file)),
    };
    let Some(place) = place else {
        return Some(format!("a link to {target}, which leaves the repository"));
    };
    if !root.join(&place).exists() {
        return Some(format!("a link to {target}, which is not there"));
    }
    let is_page = place.extension().is_some_and(|extension| extension == "md");
    if heading.is_empty() || !is_page {
        return None;
    }
    let text = fs::read_to_string(root.join(&place)).ok()?;
    (!anchors(&text).any(|anchor| anchor == heading))
        .then(|| format!("a link to {target}, but no heading there has this name"))
}

/// A path without `.` and `..`; `None` where it leaves the repository.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if !plain.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            part => plain.push(part),
        }
    }
    Some(plain)
}

/// Lines that are text: not within a fenced block. With their numbers, from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fence && !fenced).then_some((index + 1, line))
    })
}

/// Targets of `[text](target)`, `![text](target)`, `src="target"` and `srcset="target"`.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        for (before, end) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
            for (at, _) in line.match_indices(before) {
                let rest = &line[at + before.len()..];
                if let Some(end) = rest.find(end) {
                    found.push((number, rest[..end].to_owned()));
                }
            }
        }
    }
    found
}

/// A line without what stands between backquotes.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// Names by which headings are linked to: lower case, blanks as `-`, punctuation left out.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found where a folder holds `a.md` with this text, `b/c.md` and `b/d.svg`.
    fn found(text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::write(
            dir.path().join("b/c.md"),
            "# On a `CPU`, now\n[up](../a.md)\n",
        )
        .unwrap();
        fs::write(dir.path().join("b/d.svg"), "").unwrap();
        fs::write(dir.path().join("a.md"), text).unwrap();
        let files = ["a.md", "b/c.md", "b/d.svg"].map(str::to_owned);
        check(dir.path(), &files)
            .unwrap()
            .into_iter()
            .map(|finding| format!("{} {}", finding.place, finding.what))
            .collect()
    }

    #[test]
    fn a_planted_dead_link_is_found_with_its_line() {
        assert_eq!(
            found("See\n[this](b/gone.md).\n<img src=\"b/no.svg\">\n"),
            [
                "a.md:2 a link to b/gone.md, which is not there",
                "a.md:3 a link to b/no.svg, which is not there",
            ]
        );
        assert_eq!(
            found("[x](b/c.md#elsewhere) [y](#here)"),
            [
                "a.md:1 a link to b/c.md#elsewhere, but no heading there has this name",
                "a.md:1 a link to #here, but no heading there has this name",
            ]
        );
    }

    #[test]
    fn a_link_out_of_the_repository_is_dead_in_a_clone() {
        assert_eq!(
            found("[x](../elsewhere.md)"),
            ["a.md:1 a link to ../elsewhere.md, which leaves the repository"]
        );
    }

    #[test]
    fn good_links_code_and_addresses_are_not() {
        for text in [
            "[x](b/c.md) [y](b/c.md#on-a-cpu-now) ![z](b/d.svg) [folder](b)",
            "# Here\n[x](#here) [web](https://example.org/a) [mail](mailto:a@example.org)",
            "`[x](gone.md)`\n```\n[x](gone.md)\n```\n",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }
}
