//! What one pass over a corpus remembers of each latent.

/// Tokens on either side of a peak in a window (SAEBench's buffer).
pub(super) const BUFFER: usize = 10;
/// Windows kept for each latent.
pub(super) const WINDOWS: usize = 12;
/// Peaks kept while the pass runs; those that overlap a larger one are dropped at its end.
const PEAKS: usize = 4 * WINDOWS;

/// An activation at a place in the corpus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Peak {
    pub(super) act: f32,
    pub(super) row: usize,
    pub(super) position: usize,
}

/// One latent's activity.
#[derive(Clone, Debug, Default)]
pub(super) struct LatentActivity {
    /// Tokens on which it is active.
    pub(super) n_active: u64,
    peaks: Vec<Peak>,
}

impl LatentActivity {
    /// Takes in an activation above 0. Places come in the order of the corpus, so that of equal activations the
    /// earlier is kept.
    pub(super) fn push(&mut self, peak: Peak) {
        self.n_active += 1;
        if self.peaks.len() == PEAKS {
            match self.peaks.last() {
                Some(least) if least.act >= peak.act => return,
                _ => {
                    self.peaks.pop();
                }
            }
        }
        let at = self.peaks.partition_point(|kept| kept.act >= peak.act);
        self.peaks.insert(at, peak);
    }

    /// Largest activation; 0 for a latent that never fired.
    pub(super) fn max_act(&self) -> f64 {
        self.peaks.first().map_or(0.0, |peak| f64::from(peak.act))
    }

    /// The largest peaks whose windows do not overlap, largest first.
    pub(super) fn windows(&self) -> Vec<Peak> {
        let mut kept: Vec<Peak> = Vec::with_capacity(WINDOWS);
        for peak in &self.peaks {
            let apart = |other: &Peak| {
                other.row != peak.row || other.position.abs_diff(peak.position) > 2 * BUFFER
            };
            if kept.iter().all(apart) {
                kept.push(*peak);
                if kept.len() == WINDOWS {
                    break;
                }
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peak(act: f32, row: usize, position: usize) -> Peak {
        Peak { act, row, position }
    }

    #[test]
    fn windows_are_the_largest_that_do_not_overlap() {
        let mut activity = LatentActivity::default();
        for (act, row, position) in [
            (1.0, 0, 5),
            (3.0, 0, 10),
            (2.0, 0, 30),
            (2.5, 0, 31),
            (3.0, 1, 0),
        ] {
            activity.push(peak(act, row, position));
        }
        assert_eq!(activity.n_active, 5);
        assert_eq!(activity.max_act(), 3.0);
        assert_eq!(
            activity.windows(),
            [peak(3.0, 0, 10), peak(3.0, 1, 0), peak(2.5, 0, 31)]
        );
    }

    #[test]
    fn many_activations_leave_the_largest() {
        let mut activity = LatentActivity::default();
        for i in 0..1000_usize {
            // A permutation of 0..1000.
            activity.push(peak(((i * 619) % 1000) as f32, i, 0));
        }
        let acts: Vec<f32> = activity.windows().iter().map(|peak| peak.act).collect();
        assert_eq!(
            acts,
            (988..1000).rev().map(|act| act as f32).collect::<Vec<_>>()
        );
    }
}
