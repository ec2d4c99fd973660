use super::{PromptSums, Sums};

/// What the features of one layer did at one position from one pass to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition {
    /// Jaccard index of the two sets of latents.
    pub jaccard: f64,
    /// Whether the most active latent is the same.
    pub same_top1: bool,
}

/// Adds up one prompt while it is generated. It keeps numbers of layers × steps and layers ×
/// positions, nothing of each pass.
#[derive(Clone, Debug)]
pub struct PromptTrace {
    n_layers: usize,
    n_steps: usize,
    n_positions: usize,
    /// Passes seen.
    passes: usize,
    was_masked: Vec<bool>,
    by_step: Sums,
    by_position: Sums,
    /// Sum of one minus the Jaccard index since decoding. `[l, positions]`
    drift: Vec<f64>,
    /// Transitions since decoding. `[positions]`
    n_drift: Vec<u64>,
}

impl PromptTrace {
    /// Nothing seen yet of a run of `n_steps` passes over `n_positions` generated positions.
    pub fn new(n_layers: usize, n_steps: usize, n_positions: usize) -> PromptTrace {
        PromptTrace {
            n_layers,
            n_steps,
            n_positions,
            passes: 0,
            was_masked: vec![true; n_positions],
            by_step: Sums::zeros(n_layers, n_steps),
            by_position: Sums::zeros(n_layers, n_positions),
            drift: vec![0.0; n_layers * n_positions],
            n_drift: vec![0; n_positions],
        }
    }

    /// Adds the next pass. `transition(layer, position)` is asked for what has changed since the
    /// pass before, from the second pass on and only where it counts; layers are counted from 0 in
    /// the order of the run.
    ///
    /// - `is_masked: [n_positions]`: which positions are masks in the sequence the pass reads
    ///
    /// # Panics
    /// When `is_masked` has another length, or after `n_steps` passes.
    pub fn pass(
        &mut self,
        is_masked: &[bool],
        mut transition: impl FnMut(usize, usize) -> Transition,
    ) {
        assert_eq!(is_masked.len(), self.n_positions, "positions of a pass");
        assert!(self.passes < self.n_steps, "a pass beyond the last");
        let k = self.passes;
        self.passes += 1;
        for (i, &masked) in is_masked.iter().enumerate() {
            let was_masked = std::mem::replace(&mut self.was_masked[i], masked);
            // The transition in which a position is decoded belongs to neither side.
            if k == 0 || was_masked != masked {
                continue;
            }
            if masked {
                self.by_step.n_pre[k] += 1;
                self.by_position.n_pre[i] += 1;
            } else {
                self.by_step.n_post[k] += 1;
                self.n_drift[i] += 1;
            }
            for l in 0..self.n_layers {
                let found = transition(l, i);
                let (at_step, at_position) = (l * self.n_steps + k, l * self.n_positions + i);
                if masked {
                    self.by_step.jaccard_pre[at_step] += found.jaccard;
                    self.by_position.jaccard_pre[at_position] += found.jaccard;
                    let same = u64::from(found.same_top1);
                    self.by_step.locked[at_step] += same;
                    self.by_position.locked[at_position] += same;
                } else {
                    self.by_step.drift_post[at_step] += 1.0 - found.jaccard;
                    self.drift[at_position] += 1.0 - found.jaccard;
                    let other = u64::from(!found.same_top1);
                    self.by_step.flipped[at_step] += other;
                    self.by_position.flipped[at_position] += other;
                }
            }
        }
    }

    /// The sums of the prompt, with `D_post` of the positions that have one (Eq. 21).
    pub fn finish(mut self) -> PromptSums {
        for (i, &n) in self.n_drift.iter().enumerate().filter(|(_, n)| **n > 0) {
            self.by_position.n_post[i] = 1;
            for l in 0..self.n_layers {
                let at = l * self.n_positions + i;
                self.by_position.drift_post[at] = self.drift[at] / n as f64;
            }
        }
        PromptSums {
            n_prompts: 1,
            by_step: self.by_step,
            by_position: self.by_position,
        }
    }
}
