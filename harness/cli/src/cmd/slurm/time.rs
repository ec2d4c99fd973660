//! Slurm's time limits.

/// Seconds before the time limit at which a chunk is asked to end, where there is time enough.
const WARNING: u64 = 120;

/// Seconds before the time limit at which a chunk is asked to end: of a short limit, a third. Slurm
/// may be a minute early.
pub fn warning(limit: Option<&str>) -> u64 {
    match limit.and_then(seconds) {
        Some(limit) if limit > 0 => WARNING.min(limit / 3),
        _ => WARNING,
    }
}

/// Seconds of a time limit in one of Slurm's forms: minutes, minutes:seconds,
/// hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds. `None` for
/// anything else, which sbatch itself refuses or knows.
pub fn seconds(limit: &str) -> Option<u64> {
    let (days, rest) = match limit.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u64>().ok()?), rest),
        None => (None, limit),
    };
    let parts = rest.split(':').map(|part| part.parse::<u64>().ok());
    let parts = parts.collect::<Option<Vec<u64>>>()?;
    let units: &[u64] = match (days, parts.len()) {
        (Some(_), 1..=3) => &[3600, 60, 1],
        (None, 1..=2) => &[60, 1],
        (None, 3) => &[3600, 60, 1],
        _ => return None,
    };
    let mut sum = days.unwrap_or(0).checked_mul(86_400)?;
    for (part, unit) in parts.iter().zip(units) {
        sum = sum.checked_add(part.checked_mul(*unit)?)?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_in_all_forms() {
        for (limit, is) in [
            ("5", 300),
            ("5:30", 330),
            ("1:00:00", 3600),
            ("2-1", 2 * 86_400 + 3600),
            ("0-0:10", 600),
            ("1-0:0:5", 86_405),
        ] {
            assert_eq!(seconds(limit), Some(is), "{limit}");
        }
        for other in [
            "UNLIMITED",
            "",
            "1:2:3:4",
            "a",
            "-1",
            "99999999999999999999",
            "999999999999999999-0",
        ] {
            assert_eq!(seconds(other), None, "{other}");
        }
        assert_eq!((warning(None), warning(Some("4:00:00"))), (120, 120));
        assert_eq!((warning(Some("3")), warning(Some("INFINITE"))), (60, 120));
    }
}
