//! A worker does not outlive the process that started it: what it computes would be nobody's, and a
//! plugin that hangs would keep a device for ever. A pipe tells it only when it next reads or
//! writes.

use std::{os::unix::process::parent_id, process, thread, time::Duration};

use harness_plan::exit;

/// How often the parent is looked for.
const EVERY: Duration = Duration::from_millis(500);

/// End this process once its parent has ended, on a thread of its own.
pub fn watch() {
    let parent = parent_id();
    thread::spawn(move || {
        while parent_id() == parent {
            thread::sleep(EVERY);
        }
        process::exit(i32::from(exit::INTERRUPTED));
    });
}
