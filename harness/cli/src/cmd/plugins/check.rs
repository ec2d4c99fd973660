//! `harness plugins check`: the laws of each kind against plugins, one worker process a test, so
//! that a crash is one test's.

use std::{path::PathBuf, time::Instant};

use clap::Args;
use harness_contract::{
    exit,
    jobs::{CheckJob, Event, Job},
};
use harness_supervise::{Ended, Launch, run_job};
use serde_json::{Value, json};

use crate::{failure::Failure, output};

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Folder of plugins, or one plugin's own folder
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// A checkpoint, for the laws of model adapters
    #[arg(long, value_name = "DIR")]
    model_dir: Option<PathBuf>,
    /// An SAE, for the laws of SAE architectures
    #[arg(long, value_name = "DIR")]
    sae_dir: Option<PathBuf>,
    /// One JSON object a test: test, status, reason, seconds
    #[arg(long)]
    json: bool,
}

pub fn run(args: &CheckArgs) -> Result<u8, Failure> {
    if let Some(dir) = args.dirs.iter().find(|dir| !dir.is_dir()) {
        let message = format!("{}: there is no such folder", dir.display());
        return Err(Failure::new(exit::USAGE, message));
    }
    let launch = Launch::new(1, false)?;
    let (names, code) = tests(args, &launch)?;
    let wanted: Vec<&String> = names
        .iter()
        .filter(|name| args.filter.as_ref().is_none_or(|part| name.contains(part)))
        .collect();
    if wanted.is_empty() && code == exit::OK {
        return Err(Failure::new(
            exit::NOTHING,
            format!("0 tests: {} tests, none matches the filter", names.len()),
        ));
    }
    let mut tally = Tally::default();
    for name in wanted {
        let result = run_one(args, &launch, name)?;
        let status = result["status"].as_str().unwrap_or("failed");
        tally.take(status);
        output::result(&if args.json {
            result.to_string()
        } else {
            line(&result)
        })?;
    }
    output::talk(&tally.text());
    Ok(match code {
        exit::OK if tally.bad > 0 => exit::PLUGIN_REFUSED,
        code => code,
    })
}

/// Names of all tests; refused plugins are told, and make the exit code.
fn tests(args: &CheckArgs, launch: &Launch) -> Result<(Vec<String>, u8), Failure> {
    let mut names = Vec::new();
    let mut n_refused = 0;
    let mut failure = None;
    let ended = run_job::<Failure>(launch, &job(args, None), |event| {
        match event {
            Event::Result { value } => match (&value["test"], &value["refused"]) {
                (Value::String(name), _) => names.push(name.clone()),
                (_, Value::String(path)) => {
                    n_refused += 1;
                    output::talk(&format!(
                        "{} {}: {}",
                        output::red("refused"),
                        output::sanitize(path),
                        output::sanitize(value["reason"].as_str().unwrap_or_default())
                    ));
                }
                _ => {}
            },
            Event::Failed(why) => failure = Some(why),
            Event::Log { message, .. } => output::talk(&output::sanitize(&message)),
            Event::Progress { .. } => {}
        }
        Ok(())
    })?;
    match (failure, ended) {
        (Some(failure), _) => Err(failure.into()),
        (None, Ended::Died(message)) => {
            let message = format!("opening the plugins ended their process: {message}");
            Err(Failure::new(exit::PLUGIN_REFUSED, message))
        }
        (None, Ended::Code(_)) if n_refused > 0 => Ok((names, exit::PLUGIN_REFUSED)),
        (None, Ended::Code(code)) => Ok((names, code)),
    }
}

/// One test in a process of its own: `{test, status, reason, seconds}`.
fn run_one(args: &CheckArgs, launch: &Launch, name: &str) -> Result<Value, Failure> {
    let started = Instant::now();
    let mut result = None;
    let ended = run_job::<Failure>(launch, &job(args, Some(name)), |event| {
        match event {
            Event::Result { value } => result = Some(value),
            Event::Failed(why) => {
                result = Some(json!({"test": name, "status": "failed", "reason": why.message}));
            }
            Event::Log { .. } | Event::Progress { .. } => {}
        }
        Ok(())
    })?;
    let mut result = match (ended, result) {
        (Ended::Died(message), _) => {
            json!({"test": name, "status": "crashed", "reason": message})
        }
        (Ended::Code(_), Some(result)) => result,
        (Ended::Code(code), None) => {
            let reason = format!("the test said nothing and ended with exit code {code}");
            json!({"test": name, "status": "crashed", "reason": reason})
        }
    };
    if result["seconds"].is_null() {
        result["seconds"] = json!(started.elapsed().as_secs_f64());
    }
    Ok(result)
}

fn job(args: &CheckArgs, test: Option<&str>) -> Job {
    Job::Check(CheckJob {
        plugins: args.dirs.clone(),
        test: test.map(str::to_owned),
        model_dir: args.model_dir.clone(),
        sae_dir: args.sae_dir.clone(),
    })
}

fn line(result: &Value) -> String {
    let text = |key: &str| output::sanitize(result[key].as_str().unwrap_or_default());
    let status = text("status");
    let mut line = format!("{status:<8} {}", text("test"));
    let reason = text("reason");
    if !reason.is_empty() {
        line.push_str(&format!(
            "\n         {}",
            reason.replace('\n', "\n         ")
        ));
    }
    line
}

#[derive(Default)]
struct Tally {
    passed: u32,
    bad: u32,
    skipped: u32,
    warnings: u32,
}

impl Tally {
    fn take(&mut self, status: &str) {
        match status {
            "success" => self.passed += 1,
            "skipped" => self.skipped += 1,
            "warning" => self.warnings += 1,
            _ => self.bad += 1,
        }
    }

    fn text(&self) -> String {
        format!(
            "{} passed, {} failed or crashed, {} with a warning, {} skipped",
            self.passed, self.bad, self.warnings, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_status_is_no_success() {
        let mut tally = Tally::default();
        for status in ["success", "skipped", "warning", "crashed", "failed", "?"] {
            tally.take(status);
        }
        assert_eq!(
            tally.text(),
            "1 passed, 3 failed or crashed, 1 with a warning, 1 skipped"
        );
    }
}
