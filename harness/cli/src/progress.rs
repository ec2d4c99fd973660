//! How far a command is: a bar on a terminal, an occasional line elsewhere.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::output;

const LINE_EVERY: Duration = Duration::from_secs(15);

/// Shows how far a command is, on standard error.
pub struct Progress {
    bar: Option<ProgressBar>,
    unit: &'static str,
    total: u64,
    done: u64,
    share: Share,
    started: Instant,
    last_line: Instant,
}

/// Share of the work that is done, seen by the bar too.
#[derive(Clone, Default)]
struct Share(Arc<AtomicU64>);

impl Share {
    fn set(&self, share: f64) {
        self.0.store(share.to_bits(), Ordering::Relaxed);
    }

    /// Time left when the rest goes as fast as what is done; `None` before anything is.
    fn left(&self, elapsed: Duration) -> Option<Duration> {
        let share = f64::from_bits(self.0.load(Ordering::Relaxed));
        (share > 0.0).then(|| elapsed.mul_f64(((1.0 - share) / share).max(0.0)))
    }
}

impl Progress {
    /// Start at 0 of `total` units.
    pub fn start(total: u64, unit: &'static str) -> Progress {
        let share = Share::default();
        let bar = output::is_terminal().then(|| {
            let template = "{elapsed_precise} [{bar:28}] {pos}/{len} {prefix}{left}  {wide_msg}";
            let bar = ProgressBar::new(total).with_prefix(unit);
            if let Ok(style) = ProgressStyle::with_template(template) {
                let share = share.clone();
                let left = move |state: &ProgressState, text: &mut dyn Write| {
                    if let Some(left) = share.left(state.elapsed()) {
                        // A line that cannot be formed is shown without it.
                        let _ = write!(text, ", {} left", clock(left));
                    }
                };
                bar.set_style(style.progress_chars("=> ").with_key("left", left));
            }
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        let now = Instant::now();
        Progress {
            bar,
            unit,
            total,
            done: 0,
            share,
            started: now,
            last_line: now,
        }
    }

    /// Say what is under way.
    pub fn describe(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => self.line(text),
        }
    }

    /// Units are not alike: this share of the work is done.
    pub fn weigh(&mut self, share: f64) {
        self.share.set(share);
    }

    /// So many units are done, and with them that share of the work, unless [`Progress::weigh`] knows better.
    pub fn set(&mut self, done: u64, total: u64) {
        (self.done, self.total) = (done, total);
        self.share.set(done as f64 / total.max(1) as f64);
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// Say something without tearing the bar.
    pub fn talk(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::talk(text)),
            None => output::talk(text),
        }
    }

    /// Remove the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&mut self, text: &str) {
        if self.last_line.elapsed() < LINE_EVERY {
            return;
        }
        self.last_line = Instant::now();
        let elapsed = self.started.elapsed();
        let left = self.share.left(elapsed);
        let left = left.map(|left| format!(", about {} left", clock(left)));
        output::talk(&format!(
            "{} {}/{} {}{}  {text}",
            clock(elapsed),
            self.done,
            self.total,
            self.unit,
            left.unwrap_or_default()
        ));
    }
}

/// Minutes and seconds, with hours where there are any.
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_read_as_people_write_them() {
        assert_eq!(clock(Duration::from_secs(7)), "0:07");
        assert_eq!(clock(Duration::from_secs(754)), "12:34");
        assert_eq!(clock(Duration::from_secs(3661)), "1:01:01");
    }
}
