//! Windows of one latent's activations, and their split into those that are shown and those that
//! are predicted.

use super::{Origin, WindowRules};
use crate::rng::Stream;

/// A window around a position with the activations of one latent.
#[derive(Clone, Debug, PartialEq)]
pub struct ActWindow {
    /// How it was found.
    pub origin: Origin,
    /// Row of the text, from 0.
    pub row: u64,
    /// Position of its middle in the row.
    pub position: u32,
    /// `[2 · buffer + 1]`: activation on each token.
    pub acts: Vec<f32>,
}

impl ActWindow {
    pub fn max_act(&self) -> f32 {
        self.acts.iter().copied().fold(0.0, f32::max)
    }

    /// Whether one of its activations is above a threshold.
    pub fn is_active(&self, threshold: f32) -> bool {
        self.acts.iter().any(|act| *act > threshold)
    }
}

/// Windows of a latent, split.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Activation above which a token is active.
    pub threshold: f32,
    /// Windows to explain it by, strongest first.
    pub shown: Vec<ActWindow>,
    /// Windows to predict, shuffled.
    pub scored: Vec<ActWindow>,
}

/// Activations `[2 · buffer + 1]` around an inner position; `acts` are those of its row above 0,
/// ascending by position.
pub(super) fn capture(position: u32, buffer: u32, acts: &[(u32, f32)]) -> Vec<f32> {
    let start = position - buffer;
    let mut out = vec![0.0; 2 * buffer as usize + 1];
    let from = acts.partition_point(|(at, _)| *at < start);
    for (at, act) in &acts[from..] {
        match out.get_mut((at - start) as usize) {
            Some(slot) => *slot = *act,
            None => break,
        }
    }
    out
}

/// Splits the windows of a latent by permutations drawn for it. `None` when there are fewer than
/// the rules want.
pub(super) fn split(
    rules: &WindowRules,
    seed: u64,
    latent: u32,
    top: Vec<ActWindow>,
    weighted: Vec<ActWindow>,
    random: Vec<ActWindow>,
) -> Option<Split> {
    let enough = top.len() == rules.n_top as usize
        && weighted.len() == rules.n_weighted as usize
        && random.len() == rules.n_random as usize;
    if !enough {
        return None;
    }
    let largest = top.iter().map(ActWindow::max_act).fold(0.0, f32::max);
    let threshold = (rules.act_threshold * f64::from(largest)) as f32;
    let draws = Stream::new(seed, "split").item(u64::from(latent));
    let (mut shown, mut scored) = (Vec::new(), Vec::new());
    let parts = [
        (top, rules.n_top_shown, "top"),
        (weighted, rules.n_weighted_shown, "weighted"),
    ];
    for (windows, n_shown, label) in parts {
        let windows = permuted(windows, &draws.label(label));
        for (i, window) in windows.into_iter().enumerate() {
            let part = if i < n_shown as usize {
                &mut shown
            } else {
                &mut scored
            };
            part.push(window);
        }
    }
    scored.extend(random);
    shown.sort_by(|a, b| {
        let strength = b.max_act().total_cmp(&a.max_act());
        strength.then((a.row, a.position).cmp(&(b.row, b.position)))
    });
    Some(Split {
        threshold,
        shown,
        scored: permuted(scored, &draws.label("scored")),
    })
}

fn permuted<T>(items: Vec<T>, draws: &Stream) -> Vec<T> {
    let order = draws.sample_indices(items.len(), items.len());
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|i| items[i].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_the_activations_around_their_middle() {
        let acts = [(0, 9.0), (3, 1.0), (5, 2.0), (7, 3.0), (8, 4.0)];
        assert_eq!(capture(5, 2, &acts), [1.0, 0.0, 2.0, 0.0, 3.0]);
        assert_eq!(capture(2, 2, &acts), [9.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(capture(20, 1, &acts), [0.0; 3]);
    }
}
