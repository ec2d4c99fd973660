//! Memory a worker may use, and has used.

use std::fs;

use harness_contract::protocol::Init;
use harness_core::grid::GridShape;

/// Rows of the batches of the cells under way.
pub(crate) struct BatchRows {
    /// As the run says.
    set: Option<u32>,
    /// At most, where memory has run out.
    most: Option<usize>,
    /// Of the largest batch so far.
    largest: usize,
}

impl BatchRows {
    pub(crate) const fn new(set: Option<u32>) -> Self {
        Self {
            set,
            most: None,
            largest: 0,
        }
    }

    /// Rows that a batch may have: as the run says, else as usual for the stage; fewer where memory
    /// has run out.
    pub(crate) fn rows(&self, usual: usize) -> usize {
        let rows = self.set.map_or(usual, |rows| rows as usize);
        rows.min(self.most.unwrap_or(rows)).max(1)
    }

    /// A batch of so many rows is about to be run.
    pub(crate) fn begin(&mut self, rows: usize) {
        self.largest = self.largest.max(rows);
    }

    /// Rows of the largest batch since the limit was set.
    pub(crate) const fn largest(&self) -> usize {
        self.largest
    }

    /// Cells of a group begin: batches may have so many rows at most, however many the run says.
    pub(crate) fn limit(&mut self, most: Option<usize>) {
        self.most = most;
        self.largest = 0;
    }
}

/// Bytes the worker may use in all.
pub(crate) fn budget(init: &Init, shape: &GridShape) -> u64 {
    init.memory.unwrap_or_else(|| shape.usual_budget())
}

/// Largest resident memory of this process so far, in bytes; 0 where the system does not say.
pub(crate) fn peak_bytes() -> u64 {
    status("VmHWM:").unwrap_or(0)
}

fn status(field: &str) -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, field)
}

/// The value of a line such as `VmRSS:   1234 kB`, in bytes.
fn kibibytes(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_read() {
        let text = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(kibibytes(text, "VmHWM:"), Some(2 << 20));
        assert_eq!(kibibytes(text, "VmSwap:"), None);
        assert!(cfg!(not(target_os = "linux")) || peak_bytes() > 1 << 20);
    }
}
