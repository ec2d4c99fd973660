//! `harness-worker`: the engine behind a line protocol. `harness` starts it; a person has no need
//! to.

mod oom_score;
mod orphan;
mod stop;

use std::{
    io::{self, BufRead, Write},
    process::ExitCode,
    sync::atomic::Ordering,
};

use harness_engine::{jobs, run};
use harness_plan::{
    exit,
    jobs::{Event, Job},
    protocol::{Failure, FailureKind},
};

fn main() -> ExitCode {
    orphan::watch();
    oom_score::raise();
    let mode = std::env::args().nth(1);
    match mode.as_deref() {
        Some("serve") => ExitCode::from(run::serve()),
        Some("job") => ExitCode::from(job()),
        _ => {
            let usage = "harness-worker is started by `harness`.\n\nusage: harness-worker serve | job  (JSON lines on standard input and output)\n";
            // Nothing can be done about a closed standard error.
            let _ = io::stderr().write_all(usage.as_bytes());
            ExitCode::from(exit::USAGE)
        }
    }
}

/// Reads one request and runs it.
fn job() -> u8 {
    let mut sink = |event: Event| {
        let mut out = io::stdout().lock();
        if let Ok(line) = serde_json::to_string(&event) {
            // The supervisor is gone when this fails; the job then ends at its next read or write.
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
        }
    };
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let request: Result<Job, String> = read
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str(&line).map_err(|error| error.to_string()));
    match request {
        Ok(job) if job.can_stop() => {
            let asked = stop::watch();
            jobs::run(job, &|| asked.load(Ordering::Relaxed), &mut sink)
        }
        Ok(job) => jobs::run(job, &|| false, &mut sink),
        Err(error) => {
            let message = format!("the request cannot be read: {error}");
            sink(Event::Failed(Failure::new(FailureKind::Internal, message)));
            exit::UNEXPECTED
        }
    }
}
