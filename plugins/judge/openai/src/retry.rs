//! How long to wait before the next attempt.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::{Duration, SystemTime},
};

/// Longest wait; a server that asks for more gets no further attempt.
pub const LONGEST: Duration = Duration::from_secs(60);

/// The wait before attempt `attempt + 1`: a uniform draw from 0 to `backoff · 2^attempt` (full
/// jitter), at least what the server asks for, at most [`LONGEST`].
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

/// What `retry-after-ms` and `retry-after` (seconds with or without a fraction, or an HTTP date)
/// ask for at `now`.
pub fn asked(
    retry_after_ms: Option<&str>,
    retry_after: Option<&str>,
    now: SystemTime,
) -> Option<Duration> {
    let parse = |text: Option<&str>, scale: f64| {
        let value: f64 = text?.trim().parse().ok()?;
        Duration::try_from_secs_f64(value * scale).ok()
    };
    let until = |text: Option<&str>| {
        let then = httpdate::parse_http_date(text?.trim()).ok()?;
        // A date that has passed asks for no wait.
        Some(then.duration_since(now).unwrap_or_default())
    };
    parse(retry_after_ms, 1e-3)
        .or_else(|| parse(retry_after, 1.0))
        .or_else(|| until(retry_after))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

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
    fn headers_are_read_in_seconds_milliseconds_and_as_dates() {
        // 2026-10-21 07:27:30 UTC.
        let now = UNIX_EPOCH + Duration::from_secs(1_792_567_650);
        let asked = |ms, after| asked(ms, after, now);
        assert_eq!(asked(None, Some("1.5")), Some(Duration::from_millis(1500)));
        assert_eq!(
            asked(Some("250"), Some("9")),
            Some(Duration::from_millis(250))
        );
        let date = asked(None, Some("Wed, 21 Oct 2026 07:28:00 GMT"));
        assert_eq!(date, Some(Duration::from_secs(30)));
        let past = asked(None, Some("Wed, 21 Oct 2015 07:28:00 GMT"));
        assert_eq!(past, Some(Duration::ZERO));
        for wrong in [
            "-3",
            "soon",
            "Wed, 21 Okt 2026 07:28:00 GMT",
            "Wed, 21 Oct 2026 27:28:00 GMT",
            "Wed, 21 Oct 2026 07:28:00",
        ] {
            assert_eq!(asked(None, Some(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn draws_lie_in_the_unit_interval_and_differ() {
        let draws: Vec<f64> = (0..64).map(|_| draw()).collect();
        assert!(draws.iter().all(|d| (0.0..1.0).contains(d)));
        assert!(draws.iter().any(|d| *d != draws[0]));
    }
}
