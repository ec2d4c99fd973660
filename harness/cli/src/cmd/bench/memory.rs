//! Memory that grid passes may take when nobody says how much.

use std::fs;

/// Share of the free memory that all workers together take.
const FREE_SHARE: f64 = 0.8;

/// Bytes of a usual budget; 0 where the system does not say what is free.
pub fn usual_budget() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    (available(&text).unwrap_or(0) as f64 * FREE_SHARE) as u64
}

/// The value of `MemAvailable: 1234 kB`, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_read() {
        let text = "MemTotal: 9 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available(text), Some(2 << 20));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }
}
