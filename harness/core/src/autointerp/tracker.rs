//! One latent while a text comes by.

use super::{
    ActWindow, Histogram, Origin, Places, Split, WindowRules,
    draw::{WeightedDraw, draws},
    peaks::Peaks,
    window::{capture, split},
};

/// What one pass over a text remembers of a latent. Memory does not grow with the text.
///
/// What it finds depends on the seed, the latent, the rows and the activations alone: how the rows
/// were batched changes nothing, and [`super::reference::windows`] finds the same.
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

    /// Takes in a row. Rows come in ascending order; those on which the latent is nowhere active
    /// may be left out.
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

    /// Windows around its largest activations, largest first: `n_top` of them, or as many as there
    /// are.
    pub fn peaks(&self) -> Vec<ActWindow> {
        self.peaks.windows()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_read_before_there_are_enough_and_draw_nothing() {
        let places = Places::new([9, 9], 2);
        let mut tracker = LatentTracker::new(3, 1, WindowRules::peaks(2, 3), &places);
        let middles = |tracker: &LatentTracker| -> Vec<(u64, u32)> {
            let peaks = tracker.peaks();
            peaks.iter().map(|p| (p.row, p.position)).collect()
        };
        // Position 4 is within the buffer of 3; position 0 has no window.
        tracker.push_row(0, 9, &[(0, 9.0), (3, 2.0), (4, 1.5), (6, 1.0)]);
        assert_eq!(middles(&tracker), [(0, 3), (0, 6)]);
        assert!(!tracker.has_windows());
        tracker.push_row(1, 9, &[(2, 3.0), (5, 1.2)]);
        assert_eq!(middles(&tracker), [(1, 2), (0, 3), (1, 5)]);
        assert!(tracker.has_windows());
        assert_eq!((tracker.n_active(), tracker.max_act()), (6, 9.0));
        assert_eq!(tracker.peaks()[1].acts, [0.0, 0.0, 2.0, 1.5, 0.0]);
        assert_eq!(tracker.n_held(), 0);
    }
}
