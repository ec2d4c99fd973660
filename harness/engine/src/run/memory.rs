//! Memory a worker may use, and has used.

use std::fs;

use harness_contract::protocol::Init;
use harness_core::grid::GridShape;

/// Bytes the worker may use in all.
pub(super) fn budget(init: &Init, shape: &GridShape) -> u64 {
    init.memory.unwrap_or_else(|| shape.usual_budget())
}

/// Largest resident memory of this process so far, in bytes; 0 where the system does not say.
pub(super) fn peak_bytes() -> u64 {
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
