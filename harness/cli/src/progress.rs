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
/// Length of the bar, whatever is counted beside it: the units of a command are not alike.
const BAR: u64 = 10_000;

/// Shows how far a command is, on standard error.
pub struct Progress {
    bar: Option<ProgressBar>,
    unit: &'static str,
    total: u64,
    done: u64,
    share: Share,
    started: Instant,
    /// What is under way.
    text: String,
    /// When the next line may be said.
    next_line: Instant,
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
            let template = "{elapsed_precise} [{bar:28}] {prefix}{left}  {wide_msg}";
            let bar = ProgressBar::new(BAR).with_prefix(format!("0/{total} {unit}"));
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
            text: String::new(),
            next_line: now + LINE_EVERY,
        }
    }

    /// The same with a first line as soon as there is something to say, for commands that may take
    /// hours.
    #[must_use]
    pub fn eager(self) -> Progress {
        let next_line = self.started;
        Progress { next_line, ..self }
    }

    /// Say what is under way.
    pub fn describe(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => self.tick(Instant::now()),
        }
    }

    /// Units are not alike: this share of the work is done.
    pub fn weigh(&mut self, share: f64) {
        self.share.set(share);
        if let Some(bar) = &self.bar {
            bar.set_position((share * BAR as f64) as u64);
        }
    }

    /// So many units are done, and the rest takes so long, as far as that is known.
    pub fn set_left(&mut self, done: u64, total: u64, left: Option<Duration>) {
        self.count(done, total);
        let elapsed = self.started.elapsed().as_secs_f64();
        self.weigh(left.map_or(0.0, |left| elapsed / (elapsed + left.as_secs_f64())));
    }

    /// So many units are done, and with them that share of the work, unless [`Progress::weigh`]
    /// knows better.
    pub fn set(&mut self, done: u64, total: u64) {
        self.count(done, total);
        self.weigh(done as f64 / total.max(1) as f64);
    }

    fn count(&mut self, done: u64, total: u64) {
        (self.done, self.total) = (done, total);
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("{done}/{total} {}", self.unit));
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

    /// Say what is under way where there is no bar, if it is time for it.
    pub fn tick(&mut self, now: Instant) {
        if let Some(line) = self.line(now) {
            output::talk(&line);
        }
    }

    /// The line that is due now, if one is.
    fn line(&mut self, now: Instant) -> Option<String> {
        if self.bar.is_some() || self.text.is_empty() || now < self.next_line {
            return None;
        }
        // Lines keep to the clock, whenever it is that something happens.
        while self.next_line <= now {
            self.next_line += LINE_EVERY;
        }
        let elapsed = now.saturating_duration_since(self.started);
        let left = self.share.left(elapsed);
        let left = left.map(|left| format!(", about {} left", clock(left)));
        // Before anything is counted there is no number to give.
        let count = match self.total {
            0 => String::new(),
            total => format!(" {}/{total} {}", self.done, self.unit),
        };
        Some(format!(
            "{}{count}{}  {}",
            clock(elapsed),
            left.unwrap_or_default(),
            self.text
        ))
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
    fn lines_come_every_fifteen_seconds_with_or_without_news() {
        let mut progress = Progress::start(8, "steps");
        progress.bar = None;
        let at = progress.started;
        let seconds = Duration::from_secs;
        progress.next_line = at;
        assert_eq!(progress.line(at), None, "nothing is under way yet");
        progress.text = "filling".to_owned();
        assert_eq!(progress.line(at).unwrap(), "0:00 0/8 steps  filling");
        assert_eq!(progress.line(at + seconds(14)), None);
        assert_eq!(
            progress.line(at + seconds(17)).unwrap(),
            "0:17 0/8 steps  filling"
        );
        progress.set(2, 8);
        assert_eq!(
            progress.line(at + seconds(30)).unwrap(),
            "0:30 2/8 steps, about 1:30 left  filling"
        );
    }

    #[test]
    fn time_left_that_is_known_is_said() {
        let mut progress = Progress::start(8, "steps");
        (progress.bar, progress.text) = (None, "x".to_owned());
        progress.started -= Duration::from_secs(100);
        progress.next_line = progress.started;
        progress.set_left(6, 8, Some(Duration::from_secs(300)));
        let line = progress.line(Instant::now()).unwrap();
        assert_eq!(line, "1:40 6/8 steps, about 5:00 left  x");
        progress.next_line = progress.started;
        progress.set_left(6, 8, None);
        let line = progress.line(Instant::now()).unwrap();
        assert_eq!(line, "1:40 6/8 steps  x");
    }

    #[test]
    fn clocks_read_as_people_write_them() {
        assert_eq!(clock(Duration::from_secs(7)), "0:07");
        assert_eq!(clock(Duration::from_secs(754)), "12:34");
        assert_eq!(clock(Duration::from_secs(3661)), "1:01:01");
    }
}
