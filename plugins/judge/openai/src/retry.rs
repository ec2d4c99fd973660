//! How long to wait before the next attempt.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// Longest wait; a server that asks for more gets no further attempt.
pub const LONGEST: Duration = Duration::from_secs(60);

/// The wait before attempt `attempt + 1`: a uniform draw from 0 to `backoff · 2^attempt` (full jitter), at least
/// what the server asks for, at most [`LONGEST`].
pub fn wait(attempt: u32, backoff: Duration, retry_after: Option<Duration>, draw: f64) -> Duration {
    let longest = backoff
        .saturating_mul(2_u32.saturating_pow(attempt))
        .min(LONGEST);
    longest
        .mul_f64(draw)
        .max(retry_after.unwrap_or_default())
        .min(LONGEST)
}

/// A draw in [0, 1) for the jitter. It never reaches a result, so it needs no seed.
pub fn draw() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// What `retry-after-ms` and `retry-after` (seconds, fractions allowed) ask for.
pub fn asked(retry_after_ms: Option<&str>, retry_after: Option<&str>) -> Option<Duration> {
    let parse = |text: Option<&str>, scale: f64| {
        let value: f64 = text?.trim().parse().ok()?;
        Duration::try_from_secs_f64(value * scale).ok()
    };
    parse(retry_after_ms, 1e-3).or_else(|| parse(retry_after, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_spread() {
        let second = Duration::from_secs(1);
        assert_eq!(wait(0, second, None, 0.5), Duration::from_millis(500));
        assert_eq!(wait(3, second, None, 0.5), Duration::from_secs(4));
        assert_eq!(wait(30, second, None, 1.0), LONGEST);
        assert_eq!(wait(0, second, None, 0.0), Duration::ZERO);
        let asked = Some(Duration::from_secs(7));
        assert_eq!(wait(0, second, asked, 0.5), Duration::from_secs(7));
    }

    #[test]
    fn headers_are_read_in_seconds_and_milliseconds() {
        assert_eq!(asked(None, Some("1.5")), Some(Duration::from_millis(1500)));
        assert_eq!(
            asked(Some("250"), Some("9")),
            Some(Duration::from_millis(250))
        );
        assert_eq!(asked(None, Some("Wed, 21 Oct 2026 07:28:00 GMT")), None);
        assert_eq!(asked(None, Some("-3")), None);
    }

    #[test]
    fn draws_lie_in_the_unit_interval_and_differ() {
        let draws: Vec<f64> = (0..64).map(|_| draw()).collect();
        assert!(draws.iter().all(|d| (0.0..1.0).contains(d)));
        assert!(draws.iter().any(|d| *d != draws[0]));
    }
}
