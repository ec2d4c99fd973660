use std::{
    fs,
    time::{Duration, Instant},
};

/// Measures asking: its time, and what of it the harness took itself.
pub(super) struct Clock {
    started: Instant,
    /// Own time before, which was not spent waiting for the right to ask.
    prepared: Duration,
    inside: Duration,
    /// Processor time of this thread while requests were under way; `None` where it cannot be
    /// measured.
    busy: Option<Duration>,
}

impl Clock {
    /// Starts, after so much time of preparation.
    pub(super) fn start(prepared: Duration) -> Self {
        Self {
            started: Instant::now(),
            prepared,
            inside: Duration::ZERO,
            busy: Some(Duration::ZERO),
        }
    }

    /// Runs what has requests under way.
    pub(super) fn under_way<T>(&mut self, ask: impl FnOnce() -> T) -> T {
        let (at, before) = (Instant::now(), processor_time());
        let result = ask();
        self.inside += at.elapsed();
        self.busy = self
            .busy
            .zip(before)
            .zip(processor_time())
            .map(|((sum, before), after)| sum + after.saturating_sub(before));
        result
    }

    /// Seconds in all, and of these what the harness took itself; 0 where that is not known.
    pub(super) fn stop(self) -> (f64, f64) {
        let all = self.prepared + self.started.elapsed();
        let own = (self.busy).map(|busy| all.saturating_sub(self.inside) + busy.min(self.inside));
        (all.as_secs_f64(), own.map_or(0.0, |own| own.as_secs_f64()))
    }
}

/// Processor time of this thread so far, where the system tells.
fn processor_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = stat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn waiting_is_not_the_harness_s_own() {
        let mut clock = Clock::start(Duration::ZERO);
        clock.under_way(|| thread::sleep(Duration::from_millis(200)));
        thread::sleep(Duration::from_millis(50));
        let (all, own) = clock.stop();
        assert!(all >= 0.25, "{all}");
        if processor_time().is_some() {
            assert!((0.05..all - 0.1).contains(&own), "{own} of {all}");
        }
    }
}
