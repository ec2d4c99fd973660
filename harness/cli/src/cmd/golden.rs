//! `harness golden`: parity with the reference implementations, one line a check.

use std::path::PathBuf;

use clap::Args;
use harness_contract::{
    exit,
    jobs::{Event, GoldenJob, Job},
};
use harness_supervise::{Ended, run_job};
use serde_json::Value;

use crate::{
    args::{ComputeArgs, PluginDirs},
    failure::Failure,
    output,
};

#[derive(Args, Debug)]
pub struct GoldenArgs {
    /// Folder with index.json and a folder for each family
    dir: PathBuf,
    #[command(flatten)]
    plugins: PluginDirs,
    /// Only this family
    #[arg(long)]
    family: Option<String>,
    /// One JSON object a check: family, check, n, max_abs, atol, rtol, status, reason
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compute: ComputeArgs,
}

#[derive(Default)]
struct Counts {
    pass: u64,
    fail: u64,
    skip: u64,
    values: u64,
    failed: Vec<String>,
}

pub fn run(args: &GoldenArgs) -> Result<u8, Failure> {
    if !args.dir.join("index.json").is_file() {
        let message = format!("{} holds no index.json", args.dir.display());
        return Err(Failure::new(exit::BAD_INPUT, message)
            .hint("give the folder that a fixture generator has written"));
    }
    let job = Job::Golden(GoldenJob {
        dir: args.dir.clone(),
        plugins: args.plugins.to_open()?,
        family: args.family.clone(),
        compute: args.compute.compute(),
    });
    let mut counts = Counts::default();
    let mut failure = None;
    let ended = run_job::<Failure>(&args.compute.launch()?, &job, |event| {
        match event {
            Event::Result { value } => {
                counts.take(&value);
                if args.json {
                    output::result(&value.to_string())?;
                } else {
                    output::result(&line(&value))?;
                }
            }
            Event::Failed(why) => failure = Some(why),
            Event::Log { message, .. } => output::talk(&message),
            Event::Progress { .. } => {}
        }
        Ok(())
    })?;
    counts.tell();
    match (failure, ended) {
        (Some(failure), _) => Err(failure.into()),
        (None, Ended::Died(message)) => Err(Failure::new(exit::UNEXPECTED, message)),
        (None, Ended::Code(_)) if counts.fail > 0 => Ok(exit::UNEXPECTED),
        (None, Ended::Code(exit::OK)) if counts.pass + counts.skip == 0 => {
            let message = "0 checks: no fixture is of what was asked for";
            Err(Failure::new(exit::NOTHING, message))
        }
        (None, Ended::Code(code)) => Ok(code),
    }
}

impl Counts {
    fn take(&mut self, check: &Value) {
        match check["status"].as_str() {
            Some("pass") => {
                self.pass += 1;
                self.values += check["n"].as_u64().unwrap_or(0);
            }
            Some("skip") => self.skip += 1,
            _ => {
                self.fail += 1;
                self.failed.push(name(check));
            }
        }
    }

    fn tell(&self) {
        for name in &self.failed {
            output::talk(&format!("{} {name}", output::red("failed:")));
        }
        output::talk(&format!(
            "{} passed, {} failed, {} skipped; {} values compared",
            self.pass, self.fail, self.skip, self.values
        ));
    }
}

fn name(check: &Value) -> String {
    let text = |key: &str| check[key].as_str().unwrap_or("?").to_owned();
    output::sanitize(&format!("{}/{}", text("family"), text("check")))
}

/// `pass  dream/forward/len24.logits  n 12288  max_abs 1.2e-6  (atol 2e-4, rtol 1e-4)`
fn line(check: &Value) -> String {
    let status = check["status"].as_str().unwrap_or("?");
    let mut line = format!("{status:<5} {}", name(check));
    if let Some(n) = check["n"].as_u64().filter(|n| *n > 0) {
        line.push_str(&format!("  n {n}"));
    }
    if let Some(max_abs) = check["max_abs"].as_f64() {
        line.push_str(&format!("  max_abs {max_abs:.3e}"));
    }
    if let (Some(atol), Some(rtol)) = (check["atol"].as_f64(), check["rtol"].as_f64()) {
        line.push_str(&format!("  (atol {atol:e}, rtol {rtol:e})"));
    }
    if let Some(reason) = check["reason"].as_str().filter(|reason| !reason.is_empty()) {
        line.push_str(&format!("  {}", output::sanitize(reason)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_check_is_a_line() {
        let check = json!({"family": "dream", "check": "forward/len24.logits", "n": 512, "max_abs": 0.00012, "atol": 2e-4,
            "rtol": 1e-4, "status": "fail", "reason": "len24.logits[3]"});
        assert_eq!(
            line(&check),
            "fail  dream/forward/len24.logits  n 512  max_abs 1.200e-4  (atol 2e-4, rtol 1e-4)  len24.logits[3]"
        );
        let mut counts = Counts::default();
        counts.take(&check);
        counts.take(&json!({"status": "pass", "n": 7}));
        assert_eq!((counts.fail, counts.pass, counts.values), (1, 1, 7));
        assert_eq!(counts.failed, ["dream/forward/len24.logits"]);
    }
}
