//! The largest activations of a latent that are apart from each other.

use super::{ActWindow, Origin, window::capture};

/// The `n` largest inner activations of which two of a row are more than `buffer` positions apart,
/// chosen greedily: the largest first, of equal ones the earlier row, then the earlier position.
///
/// One row at a time is enough. Activations of different rows never exclude each other, so choosing
/// over the whole text chooses in each row what choosing in that row alone does, and takes the `n`
/// largest of all of it.
#[derive(Clone, Debug)]
pub(super) struct Peaks {
    n: usize,
    buffer: u32,
    /// Descending.
    kept: Vec<Peak>,
}

#[derive(Clone, Debug)]
struct Peak {
    act: f32,
    window: ActWindow,
}

impl Peaks {
    pub(super) fn new(n: u32, buffer: u32) -> Peaks {
        Peaks {
            n: n as usize,
            buffer,
            kept: Vec::new(),
        }
    }

    /// Smallest of the peaks; 0 while there are fewer than wanted. It never falls.
    pub(super) fn smallest(&self) -> f32 {
        match self.kept.last() {
            _ if self.n == 0 => f32::INFINITY,
            Some(least) if self.kept.len() == self.n => least.act,
            _ => 0.0,
        }
    }

    /// Takes in a row: all its activations, and those of them with a window. True when
    /// [`Peaks::smallest`] grew.
    pub(super) fn push_row(&mut self, row: u64, acts: &[(u32, f32)], inner: &[(u32, f32)]) -> bool {
        let before = self.smallest();
        loop {
            // What does not beat the smallest is not kept, and neither is anything it would
            // exclude.
            let floor = self.smallest();
            let mut best: Option<(u32, f32)> = None;
            for &(position, act) in inner {
                if act > best.map_or(floor, |(_, best)| best) && self.is_free(row, position) {
                    best = Some((position, act));
                }
            }
            let Some((position, act)) = best else {
                break;
            };
            let window = ActWindow {
                origin: Origin::Top,
                row,
                position,
                acts: capture(position, self.buffer, acts),
            };
            if self.kept.len() == self.n {
                self.kept.pop();
            }
            let at = self.kept.partition_point(|kept| kept.act >= act);
            self.kept.insert(at, Peak { act, window });
        }
        self.smallest() > before
    }

    /// Whether no peak of the row is within the buffer. Peaks of the row under way are larger than
    /// what is still looked at, so that none of them has been pushed out.
    fn is_free(&self, row: u64, position: u32) -> bool {
        let excludes = |peak: &Peak| {
            peak.window.row == row && peak.window.position.abs_diff(position) <= self.buffer
        };
        !self.kept.iter().any(excludes)
    }

    /// Largest first.
    pub(super) fn windows(&self) -> Vec<ActWindow> {
        self.kept.iter().map(|peak| peak.window.clone()).collect()
    }

    pub(super) fn is_full(&self) -> bool {
        self.kept.len() == self.n
    }
}
