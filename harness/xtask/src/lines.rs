//! `cargo xtask lines`: how much code each crate holds.
//!
//! A line counts when it holds a token of the product: neither a comment nor blank, and not
//! compiled for tests alone. What generates or copies code is read as it lies in the repository.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;

use crate::source::Sources;
use crate::tidy;
use crate::workspace::Workspace;

/// Which revisions are counted.
#[derive(Debug, clap::Args)]
pub struct LinesArgs {
    /// Count this commit instead of the work tree
    #[arg(long, value_name = "REV")]
    at: Option<String>,
    /// Print what this earlier commit held beside it, and what has gone or come since
    #[arg(long, value_name = "REV")]
    since: Option<String>,
}

type Counts = BTreeMap<String, usize>;

/// Prints the lines of each crate, and their sum last.
///
/// # Errors
/// When a commit is not known or a file is not Rust.
pub fn run(ws: &Workspace, args: &LinesArgs) -> Result<ExitCode> {
    let sources = match &args.at {
        Some(revision) => Sources::at(ws, revision)?,
        None => Sources::in_work_tree(&ws.root, &tidy::files(ws)?)?,
    };
    let now = count(&sources)?;
    let before = match &args.since {
        Some(revision) => Some(count(&Sources::at(ws, revision)?)?),
        None => None,
    };
    print!("{}", table(&now, before.as_ref()));
    Ok(ExitCode::SUCCESS)
}

fn count(sources: &Sources) -> Result<Counts> {
    let lines = |(folder, files): (&str, Vec<_>)| {
        let sum = files
            .iter()
            .map(|file: &crate::source::SourceFile| file.code.lines(file.text))
            .sum();
        (folder.to_owned(), sum)
    };
    Ok(sources.product()?.into_iter().map(lines).collect())
}

fn table(now: &Counts, before: Option<&Counts>) -> String {
    let nothing = Counts::new();
    let mut crates: Vec<&String> = now
        .keys()
        .chain(before.unwrap_or(&nothing).keys())
        .collect();
    crates.sort();
    crates.dedup();
    let of = |counts: &Counts, name: &String| counts.get(name).copied().unwrap_or(0);
    let row = |name: &str, now: usize, before: Option<usize>| match before {
        None => format!("{now:>8}  {name}\n"),
        Some(before) => {
            let change = now as i64 - before as i64;
            format!("{before:>8} {now:>8} {change:>+8}  {name}\n")
        }
    };
    let mut text: String = (crates.iter())
        .map(|name| row(name, of(now, name), before.map(|before| of(before, name))))
        .collect();
    let sum = |counts: &Counts| counts.values().sum::<usize>();
    text.push_str(&row("in all", sum(now), before.map(sum)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_counted_and_held_against_an_earlier_commit() {
        let sources = Sources::of(&[
            ("a/Cargo.toml", ""),
            ("a/src/lib.rs", "fn a() {}\n// why\nfn b() {}\n"),
            ("b/Cargo.toml", ""),
            (
                "b/src/main.rs",
                "fn main() {}\n#[cfg(test)]\nmod tests {}\n",
            ),
        ]);
        let now = count(&sources).unwrap();
        assert_eq!(
            table(&now, None),
            "       2  a\n       1  b\n       3  in all\n"
        );
        let before = Counts::from([("a".to_owned(), 5), ("c".to_owned(), 1)]);
        assert_eq!(
            table(&now, Some(&before)),
            "       5        2       -3  a\n       0        1       +1  b\n       \
             1        0       -1  c\n       6        3       -3  in all\n"
        );
    }
}
