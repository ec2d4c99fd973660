//! `harness-worker`: cells and jobs behind a line protocol. `harness` starts it; a person has no
//! need to.

mod job;
mod oom_score;
mod orphan;
mod stop;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use harness_contract::exit;

const USAGE: &str = "harness-worker is started by `harness`.\n\n\
    usage: harness-worker serve | job  (JSON lines on standard input and output)\n";

fn main() -> ExitCode {
    orphan::watch();
    oom_score::raise();
    let mode = std::env::args().nth(1);
    match mode.as_deref() {
        Some("serve") => ExitCode::from(harness_stages::serve()),
        Some("job") => ExitCode::from(job::serve()),
        _ => {
            // Nothing can be done about a closed standard error.
            let _ = io::stderr().write_all(USAGE.as_bytes());
            ExitCode::from(exit::USAGE)
        }
    }
}
