//! Comments and Markdown are at most 100 characters wide, so that they can be read beside other
//! things.

use std::fs;
use std::path::Path;

use super::finding::Finding;

const WIDTH: usize = 100;

/// Folders and files that are not wrapped yet. The list only shrinks: an entry without a line that
/// is too long is a finding.
const NOT_YET: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "README.md",
    "benchmarks/perf/README.md",
    "benchmarks/zoo/README.md",
    "benchmarks/zoo/src/readme_head.md",
    "harness/abi/ABI.md",
    "harness/plan/",
    "plugins/template/kinds/README.md",
    "results/SCHEMA.md",
    "tests/fuzz/README.md",
    "tests/it/bad_inputs/README.md",
];

/// Looks at the comments of Rust files and at the text of Markdown files.
pub fn check(root: &Path, names: &[String]) -> Vec<Finding> {
    let read = |name: &String| {
        let is_text = name.ends_with(".rs") || name.ends_with(".md");
        let text = is_text
            .then(|| fs::read_to_string(root.join(name)).ok())
            .flatten();
        text.map(|text| (name.clone(), text))
    };
    let files: Vec<(String, String)> = names.iter().filter_map(read).collect();
    check_but(&files, NOT_YET)
}

fn check_but(files: &[(String, String)], not_yet: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut needed = vec![false; not_yet.len()];
    for (name, text) in files {
        let long = match name.ends_with(".md") {
            true => long_text(text),
            false => long_comments(text),
        };
        let listed = not_yet.iter().position(|entry| name.starts_with(entry));
        match listed {
            Some(entry) => needed[entry] |= !long.is_empty(),
            None => findings.extend(long.iter().map(|(number, width)| Finding {
                place: format!("{name}:{number}"),
                what: format!("a line of {width} characters, at most {WIDTH}"),
                cure: "wrap it; tables, addresses and code may be wider".to_owned(),
            })),
        }
    }
    let clean = not_yet.iter().zip(needed).filter(|(_, needed)| !needed);
    findings.extend(clean.map(|(entry, _)| Finding {
        place: (*entry).to_owned(),
        what: format!("no line is longer than {WIDTH} characters any more"),
        cure: "take it from NOT_YET in harness/xtask/src/tidy/width.rs".to_owned(),
    }));
    findings
}

/// The numbers and widths of lines of comments that are too long.
fn long_comments(text: &str) -> Vec<(usize, usize)> {
    let mut in_code = false;
    let long = |line: &str| {
        let Some(comment) = line.trim_start().strip_prefix("//") else {
            in_code = false;
            return None;
        };
        too_long(line, comment.trim_start_matches(['/', '!']), &mut in_code)
    };
    numbered(text.lines().map(long))
}

/// The numbers and widths of lines of Markdown that are too long.
fn long_text(text: &str) -> Vec<(usize, usize)> {
    let mut in_code = false;
    numbered(text.lines().map(|line| too_long(line, line, &mut in_code)))
}

fn numbered(widths: impl Iterator<Item = Option<usize>>) -> Vec<(usize, usize)> {
    let numbered = widths.enumerate();
    numbered
        .filter_map(|(at, width)| Some((at + 1, width?)))
        .collect()
}

/// The width of a line that is too long and holds neither code nor a table nor an address.
fn too_long(line: &str, text: &str, in_code: &mut bool) -> Option<usize> {
    let text = text.trim_start();
    if text.starts_with("```") {
        *in_code = !*in_code;
    }
    let width = line.chars().count();
    let may = *in_code || text.starts_with('|') || text.contains("://");
    (width > WIDTH && !may).then_some(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str, not_yet: &[&str]) -> Vec<String> {
        let findings = check_but(&[(name.to_owned(), text.to_owned())], not_yet);
        findings
            .iter()
            .map(|f| format!("{} {}", f.place, f.what))
            .collect()
    }

    #[test]
    fn a_long_comment_is_found_and_long_code_is_not() {
        let (long, fits) = ("x".repeat(96), "é".repeat(95));
        let text = format!("let a = \"{long}{long}\";\n    // {long}\n//! {fits}x\n/// {fits}xx");
        assert_eq!(
            found("a.rs", &text, &[]),
            [
                "a.rs:2 a line of 103 characters, at most 100",
                "a.rs:4 a line of 101 characters, at most 100"
            ]
        );
    }

    #[test]
    fn tables_addresses_and_code_may_be_wider() {
        let long = "x ".repeat(60);
        for line in [format!("| {long} |"), format!("see https://a.org {long}")] {
            assert_eq!(found("a.md", &line, &[]), [""; 0]);
            assert_eq!(found("a.rs", &format!("/// {line}"), &[]), [""; 0]);
        }
        let code = format!("```text\n{long}\n```\n{long}");
        assert_eq!(found("a.md", &code, &[]).len(), 1);
        let comment = code
            .replace('x', "y")
            .replace("y ", "y")
            .replace('\n', "\n/// ");
        assert_eq!(found("a.rs", &format!("/// {comment}{long}"), &[]).len(), 1);
    }

    #[test]
    fn the_list_of_what_is_not_wrapped_only_shrinks() {
        let long = "x".repeat(101);
        assert_eq!(found("docs/a.md", &long, &["docs/"]), [""; 0]);
        assert_eq!(
            found("docs/a.md", "x", &["docs/"]),
            ["docs/ no line is longer than 100 characters any more"]
        );
    }
}
