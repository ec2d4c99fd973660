//! Requests to a job to stop where it can go on later: a line on standard input, and the signals of
//! the supervisor. A terminal sends Ctrl-C to both processes, and a scheduler may send its warning
//! to all of a job.

use std::{
    io::{self, BufRead},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use harness_contract::{jobs::STOP, signals};

/// A flag that is set once somebody asks.
pub fn watch() -> Arc<AtomicBool> {
    let asked = Arc::new(AtomicBool::new(false));
    let by_signal = Arc::clone(&asked);
    signals::watch(move |_| by_signal.store(true, Ordering::Relaxed));
    let by_line = Arc::clone(&asked);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            match line {
                Ok(line) if line == STOP => by_line.store(true, Ordering::Relaxed),
                Ok(_) => {}
                // The supervisor is gone, and this process ends with it.
                Err(_) => return,
            }
        }
    });
    asked
}
