//! How far a run is, and how long the rest takes, as events. Times are those of a clock that begins
//! with the run's work.

use std::time::Duration;

use harness_contract::jobs::Event;

use super::{
    checkpoint::Checkpoints,
    grid::{Grid, Learner, Tail},
    pace::{Pace, Rate},
    settings::Settings,
};

/// Time between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Counts tokens and steps, and tells of them.
pub(super) struct Meter {
    told: Option<Duration>,
    pace: Pace,
    /// Tokens through the model in this process.
    tokens: u64,
    done: u64,
    total: u64,
}

/// An event that says what is under way before there is anything to count.
pub(super) fn stage(settings: &Settings, text: &str) -> Event {
    Event::Progress {
        done: 0,
        total: settings.all_steps(),
        text: format!("steps · {text}"),
        seconds_left: None,
    }
}

impl Meter {
    /// A meter of a run, new or gone on with. A step is expected to take as long as
    /// `step_in_tokens` tokens, until one was made in this process or an earlier one.
    pub(super) fn new<L: Learner>(
        settings: &Settings,
        grids: &[Grid<L>],
        checkpoints: &Checkpoints,
        step_in_tokens: f64,
    ) -> Self {
        let finished = settings
            .policies
            .iter()
            .filter(|p| checkpoints.saved(**p).is_some_and(|s| s.finished.is_some()));
        let made: u64 = grids.iter().map(|g| g.progress.steps).sum();
        let spent: f64 = (grids.iter().flat_map(|g| &g.spent.steps).flatten()).sum();
        let step = (made > 0 && spent > 0.0).then(|| spent / made as f64);
        Self {
            told: None,
            pace: Pace {
                tokens: Rate::default(),
                steps: Rate::expected(step),
                step_in_tokens,
            },
            tokens: 0,
            done: finished.count() as u64 * settings.steps + made,
            total: settings.all_steps(),
        }
    }

    /// Tokens through the model in this process.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// A pass of so many tokens has gone through the model, in so many seconds.
    pub(super) fn passed(&mut self, tokens: usize, seconds: f64) {
        self.tokens += tokens as u64;
        self.pace.tokens.add(tokens as f64, seconds);
    }

    /// A policy has made a step, in so many seconds.
    pub(super) fn stepped(&mut self, seconds: f64) {
        self.done += 1;
        self.pace.steps.add(1.0, seconds);
    }

    /// The event that is due now, if one is: how far the buffers of `grids` are, all that are not
    /// done.
    pub(super) fn filling<L: Learner>(
        &mut self,
        now: Duration,
        grids: &[Grid<L>],
        settings: &Settings,
    ) -> Option<Event> {
        if !self.is_due(now) {
            return None;
        }
        let each: Vec<String> = (grids.iter())
            .map(|grid| {
                let (have, capacity) = grid.filled();
                format!("{} {have}/{capacity}", grid.policy)
            })
            .collect();
        let text = format!("filling the buffer: {} activations", each.join(" · "));
        Some(self.event(now, &text, self.left(grids.iter(), settings)))
    }

    /// The event that is due now, if one is: what the last step of `grid` measured. `others` are
    /// not done either.
    pub(super) fn training<L: Learner>(
        &mut self,
        now: Duration,
        grid: &Grid<L>,
        others: &[Grid<L>],
        settings: &Settings,
    ) -> Option<Event> {
        if !self.is_due(now) && self.done != self.total {
            return None;
        }
        let tails: Vec<&Tail> = grid.progress.tails.iter().flatten().collect();
        let mean = |of: fn(&Tail) -> f64| {
            tails
                .iter()
                .map(|t| of(t) / t.steps.max(1) as f64)
                .sum::<f64>()
                / tails.len().max(1) as f64
        };
        let lowest = tails
            .iter()
            .map(|t| t.ev / t.steps.max(1) as f64)
            .fold(f64::INFINITY, f64::min);
        let dead: f64 = tails.iter().map(|t| t.n_dead).sum();
        let text = format!(
            "{} {}/{} · loss {:.4} · EV {:.3} (lowest {:.3}) · {dead:.0} dead in {} SAEs",
            grid.policy,
            grid.progress.steps,
            settings.steps,
            mean(|t| t.loss),
            mean(|t| t.ev),
            lowest,
            tails.len(),
        );
        let left = self.left(others.iter().chain([grid]), settings);
        Some(self.event(now, &text, left))
    }

    fn is_due(&self, now: Duration) -> bool {
        (self.told).is_none_or(|told| now.saturating_sub(told) >= PROGRESS_EVERY)
    }

    fn event(&mut self, now: Duration, text: &str, seconds_left: Option<f64>) -> Event {
        self.told = Some(now);
        let rate = self.tokens as f64 / now.as_secs_f64().max(1e-9);
        Event::Progress {
            done: self.done,
            total: self.total,
            text: format!("steps · {text} · {rate:.0} tokens/s"),
            seconds_left,
        }
    }

    /// Seconds until all of `grids` are done. A pass serves all of them, so the one that needs most
    /// tokens counts.
    fn left<'g, L: Learner + 'g>(
        &self,
        grids: impl Iterator<Item = &'g Grid<L>>,
        settings: &Settings,
    ) -> Option<f64> {
        let (mut tokens, mut steps) = (0.0_f64, 0);
        for grid in grids {
            let rows = settings.rows().saturating_sub(grid.gathered());
            tokens = tokens.max(rows as f64 / settings.share(grid.policy));
            steps += settings.steps - grid.progress.steps;
        }
        self.pace.left(tokens, steps as f64)
    }
}
