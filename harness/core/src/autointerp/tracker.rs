//! One latent while a text comes by.

use super::{
    ActWindow, Histogram, Origin, Places, Split, WindowRules,
    draw::{WeightedDraw, draws},
    peaks::Peaks,
    window::{capture, split},
};

/// What one pass over a text remembers of a latent. Memory does not grow with the text.
///
/// What it finds depends on the seed, the latent, the rows and the activations alone: how the rows were batched changes nothing, and
/// [`super::reference::windows`] finds the same.
#[derive(Clone, Debug)]
pub struct LatentTracker {
    latent: u32,
    seed: u64,
    rules: WindowRules,
    n_active: u64,
    max_act: f32,
    histogram: Histogram,
    peaks: Peaks,
    weighted: WeightedDraw,
    random: RandomDraw,
}

impl LatentTracker {
    /// A latent before the first row.
    ///
    /// - `places`: those of the text, whose rows are then pushed
    pub fn new(latent: u32, seed: u64, rules: WindowRules, places: &Places) -> LatentTracker {
        let WindowRules {
            buffer,
            n_top,
            n_weighted,
            weight_power,
            ..
        } = rules;
        let draws = draws(seed, latent);
        LatentTracker {
            latent,
            seed,
            rules,
            n_active: 0,
            max_act: 0.0,
            histogram: Histogram::default(),
            peaks: Peaks::new(n_top, buffer),
            weighted: WeightedDraw::new(n_weighted, n_top, buffer, weight_power, draws),
            random: RandomDraw::new(places.draw(seed, latent, rules.n_random), buffer),
        }
    }

    /// Takes in a row. Rows come in ascending order; those on which the latent is nowhere active may be left out.
    ///
    /// - `len`: tokens of the row
    /// - `acts`: position and activation where it is above 0, ascending by position
    pub fn push_row(&mut self, row: u64, len: usize, acts: &[(u32, f32)]) {
        self.n_active += acts.len() as u64;
        for &(_, act) in acts {
            self.max_act = self.max_act.max(act);
            self.histogram.add(act);
        }
        let inner = inner(acts, len, self.rules.buffer);
        let floor = self.peaks.smallest();
        if inner.iter().any(|(_, act)| *act > floor) {
            self.peaks.push_row(row, acts, inner);
        }
        self.weighted
            .push_row(row, acts, inner, self.peaks.smallest());
        self.random.push_row(row, acts);
    }

    /// The latent.
    pub fn latent(&self) -> u32 {
        self.latent
    }

    /// Positions on which it is active.
    pub fn n_active(&self) -> u64 {
        self.n_active
    }

    /// Largest activation; 0 for one that never fired.
    pub fn max_act(&self) -> f32 {
        self.max_act
    }

    /// Activations by size.
    pub fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// Whether it has all windows of the rules.
    pub fn has_windows(&self) -> bool {
        let n_random = self.rules.n_random as usize;
        self.peaks.is_full() && self.weighted.is_full() && self.random.windows.len() == n_random
    }

    /// Its windows after the last row; `None` when there are fewer than the rules want.
    pub fn windows(&self) -> Option<Split> {
        split(
            &self.rules,
            self.seed,
            self.latent,
            self.peaks.windows(),
            self.weighted.windows(),
            self.random.in_order_of_draws(),
        )
    }

    /// Candidates of the weighted sample that are held.
    #[cfg(test)]
    pub(super) fn n_held(&self) -> usize {
        self.weighted.n_held()
    }
}

/// Those of `acts` with a whole window in a row of `len` tokens.
pub(super) fn inner(acts: &[(u32, f32)], len: usize, buffer: u32) -> &[(u32, f32)] {
    let end = (len as u64).saturating_sub(u64::from(buffer));
    let from = acts.partition_point(|(position, _)| *position < buffer);
    let to = acts.partition_point(|(position, _)| u64::from(*position) < end);
    &acts[from..to.max(from)]
}

/// Windows at places that were drawn before the first row.
#[derive(Clone, Debug)]
struct RandomDraw {
    buffer: u32,
    /// Ascending by place, each with the number of its draw.
    windows: Vec<(usize, ActWindow)>,
    /// The first that later rows may lie in.
    next: usize,
}

impl RandomDraw {
    fn new(places: Vec<(u64, u32)>, buffer: u32) -> RandomDraw {
        let mut windows: Vec<(usize, ActWindow)> = places
            .into_iter()
            .map(|(row, position)| ActWindow {
                origin: Origin::Random,
                row,
                position,
                acts: vec![0.0; 2 * buffer as usize + 1],
            })
            .enumerate()
            .collect();
        windows.sort_by_key(|(_, window)| (window.row, window.position));
        RandomDraw {
            buffer,
            windows,
            next: 0,
        }
    }

    fn push_row(&mut self, row: u64, acts: &[(u32, f32)]) {
        while let Some((_, window)) = self.windows.get_mut(self.next) {
            if window.row > row {
                break;
            }
            if window.row == row {
                window.acts = capture(window.position, self.buffer, acts);
            }
            self.next += 1;
        }
    }

    fn in_order_of_draws(&self) -> Vec<ActWindow> {
        let mut windows = self.windows.clone();
        windows.sort_by_key(|(draw, _)| *draw);
        windows.into_iter().map(|(_, window)| window).collect()
    }
}
