//! The figures in what libFuzzer prints.

use std::fmt;

/// What became of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Inputs run.
    pub runs: u64,
    /// Of these in a second.
    pub per_second: u64,
    /// Edges reached.
    pub edges: u64,
    /// Inputs that are kept because they reach something of their own.
    pub corpus: u64,
    /// Largest memory, MB.
    pub memory_mb: u64,
    /// The input that was found; empty where the run failed without one.
    pub finding: Option<String>,
}

impl Figures {
    /// Reads the log of a run that ended well or not.
    pub fn read(log: &str, is_success: bool) -> Figures {
        let stat = |name: &str| {
            let value = log.lines().rev().find_map(|line| line.strip_prefix(name));
            value
                .and_then(|value| value.trim().parse().ok())
                .unwrap_or(0)
        };
        // The last line of progress: `#N DONE cov: X ft: Y corp: A/B…`
        let progress =
            (log.lines().rev()).find(|line| line.starts_with('#') && line.contains(" cov: "));
        let words: Vec<&str> = progress.unwrap_or("").split_whitespace().collect();
        let after = |name: &str| {
            let pair = words.windows(2).find(|pair| pair[0] == name);
            let digits = pair.and_then(|pair| pair[1].split('/').next());
            digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        let written = log
            .lines()
            .find_map(|line| line.split_once("Test unit written to "));
        let input = written.map(|(_, path)| path.trim().to_owned());
        Figures {
            runs: stat("stat::number_of_executed_units:"),
            per_second: stat("stat::average_exec_per_sec:"),
            edges: after("cov:"),
            corpus: after("corp:"),
            memory_mb: stat("stat::peak_rss_mb:"),
            finding: (!is_success).then(|| input.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures {
            runs,
            per_second,
            edges,
            corpus,
            memory_mb,
            finding,
        } = self;
        write!(
            f,
            "{runs:>10} runs {per_second:>7}/s {edges:>5} edges {corpus:>5} inputs {memory_mb:>5} MB  "
        )?;
        match finding.as_deref() {
            None => f.write_str("nothing found"),
            Some("") => f.write_str("FAILED"),
            Some(input) => write!(f, "FOUND {input}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 31Mb
#99\tNEW    cov: 20 ft: 30 corp: 7/90b lim: 4 exec/s: 0 rss: 33Mb L: 2/2 MS: 1 -
#4096\tDONE   cov: 21 ft: 40 corp: 9/120b lim: 8 exec/s: 2048 rss: 40Mb
Done 4096 runs in 2 second(s)
stat::number_of_executed_units: 4096
stat::average_exec_per_sec:     2048
stat::new_units_added:          8
stat::peak_rss_mb:              40
";

    #[test]
    fn figures_are_read() {
        let figures = Figures::read(LOG, true);
        let expected = Figures {
            runs: 4096,
            per_second: 2048,
            edges: 21,
            corpus: 9,
            memory_mb: 40,
            finding: None,
        };
        assert_eq!(figures, expected);
        assert!(figures.to_string().ends_with("nothing found"));
    }

    #[test]
    fn a_finding_is_named() {
        let log =
            format!("{LOG}artifact_prefix='x/'; Test unit written to x/crash-1\nBase64: YQ==\n");
        let figures = Figures::read(&log, false);
        assert_eq!(figures.finding.as_deref(), Some("x/crash-1"));
        assert!(figures.to_string().ends_with("FOUND x/crash-1"));
        let cut = Figures::read("", false);
        assert_eq!(cut.finding.as_deref(), Some(""));
        assert!(cut.to_string().ends_with("FAILED"));
    }
}
