//! Drawing positions in proportion to activation, while the positions come by.

use super::{ActWindow, Origin, window::capture};
use crate::rng::Stream;

/// Draws of a latent's sample, by row.
pub(super) fn draws(seed: u64, latent: u32) -> Stream {
    Stream::new(seed, "weighted").item(u64::from(latent))
}

/// The key of an activation: the time of the first event of a process of rate `act^power`. The `n`
/// earliest of independent processes are `n` draws without replacement in proportion to the rates
/// (Efraimidis and Spirakis, 2006). `None` for a rate of 0.
///
/// - `draw`: uniform in [0, 1), of the activation's place
pub(super) fn key(draw: f64, act: f32, power: f64) -> Option<f64> {
    let key = -(-draw).ln_1p() / rate(act, power);
    key.is_finite().then_some(key)
}

fn rate(act: f32, power: f64) -> f64 {
    if power == 1.0 {
        f64::from(act)
    } else {
        f64::from(act).powf(power)
    }
}

/// An activation with its key.
#[derive(Clone, Debug)]
struct Drawn {
    key: f64,
    act: f32,
    window: ActWindow,
}

/// The `n` smallest keys among the inner activations below τ, the smallest of the peaks, which is
/// known at the end only.
///
/// τ never falls while the text comes by, so an activation below the τ of now is below the last
/// one: of those the `n` smallest keys are enough (`below`). One that is not below it may be in the
/// end. It is then drawn only if fewer than `n` activations no larger than it have smaller keys,
/// because these are below τ as soon as it is; `above` holds those of which that is still possible.
/// An inner activation above τ is within the buffer of a peak above τ, and there are fewer than
/// `n_top` of these. Of the activations equal to τ no more than `n` can still be drawn. So `above`
/// never needs more than `n_top · (2 · buffer + 1) + n` of them, and is cut down to that when it
/// has grown to twice as many.
#[derive(Clone, Debug)]
pub(super) struct WeightedDraw {
    n: usize,
    buffer: u32,
    power: f64,
    draws: Stream,
    /// τ of now.
    floor: f32,
    /// Ascending by key.
    below: Vec<Drawn>,
    above: Vec<Drawn>,
    most_above: usize,
    /// Keys from here on are not drawn.
    worst: f64,
}

impl WeightedDraw {
    pub(super) fn new(n: u32, n_top: u32, buffer: u32, power: f64, draws: Stream) -> WeightedDraw {
        let needed = n_top as usize * (2 * buffer as usize + 1) + n as usize;
        WeightedDraw {
            n: n as usize,
            buffer,
            power,
            draws,
            floor: if n_top == 0 { f32::INFINITY } else { 0.0 },
            below: Vec::new(),
            above: Vec::new(),
            most_above: 2 * needed,
            worst: if n == 0 {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            },
        }
    }

    /// Takes in a row: all its activations, and those of them with a window. `floor` is τ after
    /// this row.
    pub(super) fn push_row(
        &mut self,
        row: u64,
        acts: &[(u32, f32)],
        inner: &[(u32, f32)],
        floor: f32,
    ) {
        if floor > self.floor {
            self.raise(floor);
        }
        if inner.is_empty() || self.n == 0 {
            return;
        }
        let draws = self.draws.item(row);
        for &(position, act) in inner {
            let draw = draws.uniform_at(u64::from(position));
            // -ln(1 - u) is at least u, so most keys need no logarithm; the margin is more than
            // both roundings.
            if draw >= self.worst * rate(act, self.power) * (1.0 + 1e-9) {
                continue;
            }
            let Some(key) = key(draw, act, self.power) else {
                continue;
            };
            if key >= self.worst {
                continue;
            }
            let drawn = Drawn {
                key,
                act,
                window: ActWindow {
                    origin: Origin::Weighted,
                    row,
                    position,
                    acts: capture(position, self.buffer, acts),
                },
            };
            if act < self.floor {
                self.take(drawn);
            } else {
                self.above.push(drawn);
                if self.above.len() > self.most_above {
                    self.sweep();
                }
            }
        }
    }

    /// τ grew: what is below it now moves, and what cannot be drawn any more goes.
    fn raise(&mut self, floor: f32) {
        self.floor = floor;
        let (below, above) = std::mem::take(&mut self.above)
            .into_iter()
            .partition(|drawn| drawn.act < floor);
        self.above = above;
        for drawn in below {
            self.take(drawn);
        }
        self.above.retain(|drawn| drawn.key < self.worst);
    }

    /// Takes one below τ.
    fn take(&mut self, drawn: Drawn) {
        if drawn.key >= self.worst {
            return;
        }
        let at = self.below.partition_point(|kept| kept.key <= drawn.key);
        self.below.insert(at, drawn);
        self.below.truncate(self.n);
        if self.below.len() == self.n {
            self.worst = self.below.last().map_or(self.worst, |kept| kept.key);
        }
    }

    /// Drops those above τ that `n` no larger ones with smaller keys keep from ever being drawn.
    fn sweep(&mut self) {
        let n = self.n;
        let by_size = |a: &Drawn, b: &Drawn| a.act.total_cmp(&b.act).then(a.key.total_cmp(&b.key));
        self.above.sort_by(by_size);
        let mut best: Vec<f64> = self.below.iter().map(|kept| kept.key).collect();
        self.above.retain(|drawn| {
            let at = best.partition_point(|key| *key <= drawn.key);
            best.insert(at, drawn.key);
            best.truncate(n);
            at < n
        });
    }

    /// The sample, by key.
    pub(super) fn windows(&self) -> Vec<ActWindow> {
        self.below.iter().map(|kept| kept.window.clone()).collect()
    }

    pub(super) fn is_full(&self) -> bool {
        self.below.len() == self.n
    }

    /// Candidates held.
    #[cfg(test)]
    pub(super) fn n_held(&self) -> usize {
        self.below.len() + self.above.len()
    }
}
