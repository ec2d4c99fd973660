//! Comments and Markdown are at most 100 characters wide, so that they can be read beside other
//! things.

use std::fs;
use std::path::Path;

use super::finding::Finding;

const WIDTH: usize = 100;

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
    check_all(&files)
}

fn check_all(files: &[(String, String)]) -> Vec<Finding> {
    let of_file = |(name, text): &(String, String)| {
        let long = match name.ends_with(".md") {
            true => long_text(text),
            false => long_comments(text),
        };
        let finding = |(number, width): (usize, usize)| Finding {
            place: format!("{name}:{number}"),
            what: format!("a line of {width} characters, at most {WIDTH}"),
            cure: "wrap it; tables, addresses, pictures and code may be wider".to_owned(),
        };
        long.into_iter().map(finding).collect::<Vec<Finding>>()
    };
    files.iter().flat_map(of_file).collect()
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

/// The width of a line that is too long and holds neither code nor a table nor an address,
/// that of a picture included.
fn too_long(line: &str, text: &str, in_code: &mut bool) -> Option<usize> {
    let text = text.trim_start();
    if text.starts_with("```") {
        *in_code = !*in_code;
    }
    let width = line.chars().count();
    let may = *in_code || text.starts_with('|') || text.starts_with("<img") || text.contains("://");
    (width > WIDTH && !may).then_some(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, text: &str) -> Vec<String> {
        let findings = check_all(&[(name.to_owned(), text.to_owned())]);
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
            found("a.rs", &text),
            [
                "a.rs:2 a line of 103 characters, at most 100",
                "a.rs:4 a line of 101 characters, at most 100"
            ]
        );
    }

    #[test]
    fn tables_addresses_and_code_may_be_wider() {
        let long = "x ".repeat(60);
        let lines = [
            format!("| {long} |"),
            format!("see https://a.org {long}"),
            format!("<img src=\"a.svg\" alt=\"{long}\">"),
        ];
        for line in lines {
            assert_eq!(found("a.md", &line), [""; 0]);
            assert_eq!(found("a.rs", &format!("/// {line}")), [""; 0]);
        }
        let code = format!("```text\n{long}\n```\n{long}");
        assert_eq!(found("a.md", &code).len(), 1);
        let comment = code
            .replace('x', "y")
            .replace("y ", "y")
            .replace('\n', "\n/// ");
        assert_eq!(found("a.rs", &format!("/// {comment}{long}")).len(), 1);
    }
}
