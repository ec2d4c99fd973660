//! Reads what `cargo test -- --show-output` prints, and adds it up.

use std::collections::BTreeSet;
use std::fmt;

/// What became of all tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tests that ran and held. A test that said `skipped:` is not among them.
    pub passed: u64,
    /// Tests that failed, and test binaries that ended without a result.
    pub failed: u64,
    /// Tests that said `skipped:`, and those libtest ignored.
    pub skipped: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// Follows the output line by line.
#[derive(Debug, Default)]
pub struct Reader {
    totals: Totals,
    /// Inside libtest's list of what passing tests wrote.
    in_successes: bool,
    /// Whose output is being shown there.
    shown_test: Option<String>,
    /// Tests of the running binary that said they were skipped.
    skipped_here: BTreeSet<String>,
    /// A binary has started and not yet given its result.
    awaiting_result: bool,
}

impl Reader {
    /// Takes one line, without its end; says whether it is to be shown.
    pub fn line(&mut self, raw: &str) -> bool {
        let plain = without_colours(raw);
        let text = plain.trim_end();
        let starts_binary = text.trim_start().starts_with("Running ")
            || text.trim_start().starts_with("Doc-tests ");
        if starts_binary && raw.starts_with(|c: char| c.is_whitespace() || c == '\u{1b}') {
            self.close_binary();
            self.awaiting_result = true;
            return true;
        }
        if let Some((passed, failed, ignored)) = result_counts(text) {
            // A skipped test ends as passed for libtest.
            let skipped = (self.skipped_here.len() as u64).min(passed);
            self.totals.passed += passed - skipped;
            self.totals.failed += failed;
            self.totals.skipped += skipped + ignored;
            self.skipped_here.clear();
            self.in_successes = false;
            self.awaiting_result = false;
            return true;
        }
        match text {
            "successes:" => {
                self.in_successes = true;
                self.shown_test = None;
                return false;
            }
            "failures:" => {
                self.in_successes = false;
                return true;
            }
            _ => {}
        }
        if self.in_successes
            && let Some(name) = text
                .strip_prefix("---- ")
                .and_then(|t| t.strip_suffix(" stdout ----"))
        {
            self.shown_test = Some(name.to_owned());
            return false;
        }
        if skip_reason(text).is_some() {
            // Without a name (--nocapture) every such line counts for itself.
            let name = self
                .shown_test
                .clone()
                .filter(|_| self.in_successes)
                .unwrap_or_else(|| format!("#{}", self.skipped_here.len()));
            self.skipped_here.insert(name);
            return true;
        }
        !self.in_successes
    }

    /// The totals, once the output has ended. Where cargo failed and no test did, something outside
    /// a test failed: that counts as one.
    pub fn finish(mut self, cargo_succeeded: bool) -> Totals {
        self.close_binary();
        if !cargo_succeeded && self.totals.failed == 0 {
            self.totals.failed = 1;
        }
        self.totals
    }

    fn close_binary(&mut self) {
        if self.awaiting_result {
            self.totals.failed += 1;
        }
        self.awaiting_result = false;
        self.in_successes = false;
        self.skipped_here.clear();
    }
}

/// Passed, failed and ignored of a `test result:` line.
fn result_counts(line: &str) -> Option<(u64, u64, u64)> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |word: &str| {
        let before = counts.split(word).next()?;
        before
            .rsplit([' ', '.', ';'])
            .find(|part| !part.is_empty())?
            .parse()
            .ok()
    };
    Some((count(" passed")?, count(" failed")?, count(" ignored")?))
}

/// The reason on a `skipped:` line. With --nocapture on one thread libtest has begun the line with
/// the test's name.
fn skip_reason(line: &str) -> Option<&str> {
    let own = match line
        .strip_prefix("test ")
        .and_then(|rest| rest.split_once(" ... "))
    {
        Some((_, rest)) => rest,
        None => line.trim_start(),
    };
    own.strip_prefix("skipped:").map(str::trim)
}

/// The line without terminal colour sequences.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // ESC [ digits and semicolons, up to a letter.
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str, cargo_succeeded: bool) -> (Totals, Vec<String>) {
        let mut reader = Reader::default();
        let shown = output
            .lines()
            .filter(|line| reader.line(line))
            .map(str::to_owned)
            .collect();
        (reader.finish(cargo_succeeded), shown)
    }

    fn totals(passed: u64, failed: u64, skipped: u64) -> Totals {
        Totals {
            passed,
            failed,
            skipped,
        }
    }

    const TWO_BINARIES: &str = "\
     Running unittests src/lib.rs (target/release/deps/core-1)

running 3 tests
test a ... ok
test b ... ok
test c ... ok

successes:

---- b stdout ----
skipped: ../shared not present
skipped: nor its golden folder
---- c stdout ----
some long table

successes:
    a
    b
    c

test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests core

running 2 tests
test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    #[test]
    fn adds_binaries_up_and_a_skipped_test_is_not_a_passed_one() {
        let (sum, shown) = read(TWO_BINARIES, true);
        assert_eq!(sum, totals(3, 0, 2));
        assert_eq!(sum.to_string(), "3 passed, 0 failed, 2 skipped");
        assert!(shown.iter().any(|l| l.starts_with("skipped: ../shared")));
        assert!(
            !shown.iter().any(|l| l.contains("long table")),
            "the output of passing tests is noise"
        );
    }

    #[test]
    fn failures_are_shown_and_counted() {
        let output = "     Running tests/it.rs (x)\ntest a ... FAILED\n\nsuccesses:\n\n---- b stdout ----\nnoise\n\nfailures:\n\n---- a stdout ----\npanicked at 3\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        let (sum, shown) = read(output, false);
        assert_eq!(sum, totals(1, 1, 0));
        assert!(shown.iter().any(|l| l == "panicked at 3") && !shown.iter().any(|l| l == "noise"));
    }

    #[test]
    fn a_binary_that_dies_is_a_failure() {
        let output = "     Running a (x)\n\nrunning 5 tests\ntest one ... ok\nerror: test failed\n     Running b (y)\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(read(output, false).0, totals(2, 1, 0));
        assert_eq!(
            read("     Running a (x)\nrunning 5 tests\n", false).0,
            totals(0, 1, 0)
        );
    }

    #[test]
    fn a_failure_outside_any_test_is_not_hidden() {
        assert_eq!(
            read("error: could not compile `x`\n", false).0,
            totals(0, 1, 0)
        );
    }

    #[test]
    fn uncaptured_skips_count_too() {
        let output = "     Running a (x)\ntest one ... skipped: no network\nok\nskipped: no device\ntest two ... ok\ntest result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(read(output, true).0, totals(1, 0, 2));
    }

    #[test]
    fn colours_do_not_hide_a_result() {
        let output = "\u{1b}[1m\u{1b}[32m     Running\u{1b}[0m a (x)\ntest result: \u{1b}[32mok\u{1b}[0m. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(read(output, true).0, totals(4, 0, 0));
    }
}
