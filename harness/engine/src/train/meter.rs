//! The progress line.

use std::time::{Duration, Instant};

use harness_plan::jobs::Event;

use super::{
    checkpoint::Checkpoints,
    grid::{Grid, Learner, Tail},
    settings::Settings,
};
/// Time between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Counts steps and tells of them.
pub(super) struct Meter {
    started: Instant,
    told: Option<Instant>,
    /// Tokens through the model.
    pub tokens: u64,
    done: u64,
    total: u64,
}

impl Meter {
    pub(super) fn new<L: Learner>(
        settings: &Settings,
        grids: &[Grid<L>],
        checkpoints: &Checkpoints,
    ) -> Self {
        let finished = settings
            .policies
            .iter()
            .filter(|p| checkpoints.saved(**p).is_some_and(|s| s.finished.is_some()));
        let done = finished.count() as u64 * settings.steps
            + grids.iter().map(|g| g.progress.steps).sum::<u64>();
        let total = settings.policies.len() as u64 * settings.steps;
        Self {
            started: Instant::now(),
            told: None,
            tokens: 0,
            done,
            total,
        }
    }

    pub(super) fn step<L: Learner>(
        &mut self,
        grid: &Grid<L>,
        settings: &Settings,
        sink: &mut dyn FnMut(Event),
    ) {
        self.done += 1;
        let due = self.told.is_none_or(|t| t.elapsed() >= PROGRESS_EVERY);
        if !due && self.done != self.total {
            return;
        }
        self.told = Some(Instant::now());
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
        let rate = self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        let text = format!(
            "steps · {} {}/{} · loss {:.4} · EV {:.3} (lowest {:.3}) · {dead:.0} dead in {} SAEs · {rate:.0} tokens/s",
            grid.policy,
            grid.progress.steps,
            settings.steps,
            mean(|t| t.loss),
            mean(|t| t.ev),
            lowest,
            tails.len(),
        );
        sink(Event::Progress {
            done: self.done,
            total: self.total,
            text,
        });
    }
}
