//! A worker ends with the process that started it: nobody would read what it goes on to compute,
//! and a plugin that hangs would keep a device for ever. A closed pipe shows only at the next read
//! or write, so the worker looks for its parent instead.

use std::{os::unix::process::parent_id, process, thread, time::Duration};

use harness_contract::exit;

/// How often the parent is looked for.
const EVERY: Duration = Duration::from_millis(500);

/// Starts a thread that ends this process once its parent has ended.
pub fn watch() {
    let parent = parent_id();
    thread::spawn(move || {
        while parent_id() == parent {
            thread::sleep(EVERY);
        }
        process::exit(i32::from(exit::INTERRUPTED));
    });
}
