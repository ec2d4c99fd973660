//! The arguments of `cargo xtask fuzz`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Seconds of a target unless said otherwise.
const SECONDS: u64 = 60;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum What {
    Run {
        /// Seconds of each.
        seconds: u64,
        /// Targets at a time.
        jobs: usize,
    },
    /// Print their names.
    List,
    /// Make the kept inputs anew.
    Corpus,
    /// Run one target on one input.
    Replay(PathBuf),
}

/// Targets, none for all, and what is to be done with them.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// Their names.
    pub targets: Vec<String>,
    /// What is to be done.
    pub what: What,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// On an option that is not known or lacks its value.
    pub fn read(args: &[String]) -> Result<Options> {
        let (mut seconds, mut jobs) = (SECONDS, 1);
        let (mut targets, mut other) = (Vec::new(), None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || {
                args.next()
                    .with_context(|| format!("{arg} lacks its value"))
            };
            match arg.as_str() {
                "--seconds" => seconds = number(arg, value()?)?,
                "--jobs" => jobs = number(arg, value()?)?.clamp(1, 64) as usize,
                "--list" => other = Some(What::List),
                "--corpus" => other = Some(What::Corpus),
                "--replay" => other = Some(What::Replay(value()?.into())),
                option if option.starts_with('-') => bail!(
                    "`cargo xtask fuzz` takes --seconds, --jobs, --list, --corpus and --replay, found `{option}`"
                ),
                target => targets.push(target.to_owned()),
            }
        }
        let what = other.unwrap_or(What::Run { seconds, jobs });
        Ok(Options { targets, what })
    }
}

fn number(option: &str, value: &str) -> Result<u64> {
    match value.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => bail!("{option} takes a whole number above 0, found `{value}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::read(&args)
    }

    #[test]
    fn options_and_targets_are_told_apart() {
        let options = read("cell --seconds 5 reply --jobs 2").unwrap();
        assert_eq!(options.targets, ["cell", "reply"]);
        let (seconds, jobs) = (5, 2);
        assert_eq!(options.what, What::Run { seconds, jobs });
        assert_eq!(read("--list").unwrap().what, What::List);
        let replay = read("cell --replay x/y").unwrap().what;
        assert_eq!(replay, What::Replay("x/y".into()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |line| read(line).unwrap_err().to_string();
        assert!(error("--seconds").contains("lacks its value"));
        assert!(error("--seconds soon").contains("found `soon`"));
        assert!(error("--jobs 0").contains("above 0"));
        assert!(error("--fast").contains("found `--fast`"));
    }
}
