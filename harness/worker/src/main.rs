//! `harness-worker`: cells and jobs behind a line protocol. `harness` starts it; a person has no need
//! to.

mod job;
mod orphan;
mod stop;
mod victim;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use harness_engine::run;
use harness_plan::exit;

fn main() -> ExitCode {
    orphan::watch();
    victim::volunteer();
    let mode = std::env::args().nth(1);
    match mode.as_deref() {
        Some("serve") => ExitCode::from(run::serve()),
        Some("job") => ExitCode::from(job::serve()),
        _ => {
            let usage = "harness-worker is started by `harness`.\n\nusage: harness-worker serve | job  (JSON lines on standard input and output)\n";
            // Nothing can be done about a closed standard error.
            let _ = io::stderr().write_all(usage.as_bytes());
            ExitCode::from(exit::USAGE)
        }
    }
}
