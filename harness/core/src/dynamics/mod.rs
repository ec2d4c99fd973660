//! How SAE features change while a text is decoded: Eq. 20 to 24 of the paper.
//!
//! Passes of a denoising run are counted k = 0 … K-1; pass k reads the sequence x^k. `T_k(l, i)` is
//! the set of the `k_set` most active latents of layer l at position i in pass k, `f1_k(l, i)` the
//! most active one, `J` the Jaccard index. A transition is a pair of passes (k - 1, k); positions
//! are those that are generated, never the prompt.
//!
//! | metric | transition k of position i counts | one transition's part | value at (l, k) |
//! |---|---|---|---|
//! | `jaccard_pre` (Eq. 20) | i masked in x^(k-1) and x^k | `J(T_k, T_(k-1))` | mean over prompts and positions |
//! | `lock_rate` (Eq. 23) | the same | 1 where `f1_k = f1_(k-1)` | mean over prompts and positions |
//! | `drift_post` (Eq. 21) | i decoded in x^(k-1) and x^k | `1 - J(T_k, T_(k-1))` | mean over prompts and positions |
//! | `flip_count` (Eq. 24) | the same | 1 where `f1_k ≠ f1_(k-1)` | sum over positions, mean over prompts |
//!
//! With `d_i` the first k at which i is no mask, "decoded in both" is k > d_i. Eq. 21 itself,
//! `D_post(l, i)`, is the mean of a position's parts over k > d_i; it is the value by position, and
//! its mean over positions is the summary of a layer. A position filled in the last or last but one
//! pass has no such k, and no `D_post`.
//!
//! [`PromptTrace`] adds up one prompt while it is generated; [`DynamicsSums`] keeps prompts apart
//! as resampling units; [`DynamicsSums::estimates`] forms the values with bootstrap errors. A ratio
//! is one of sums, never a mean of ratios.

mod estimate;
mod sums;
#[cfg(test)]
mod tests;
mod trace;

pub use estimate::{Cut, View};
pub use sums::{DynamicsError, DynamicsSums, PromptSums, Sums};
pub use trace::{PromptTrace, Transition};

use crate::measure::Measure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Eq. 20.
    JaccardPre,
    /// Eq. 21.
    DriftPost,
    /// Eq. 23.
    LockRate,
    /// Eq. 24.
    FlipCount,
}

impl Metric {
    /// All of them, in the order of the equations.
    pub const ALL: [Metric; 4] = [
        Metric::JaccardPre,
        Metric::DriftPost,
        Metric::LockRate,
        Metric::FlipCount,
    ];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        self.measure().name
    }

    pub const fn measure(self) -> Measure {
        let (name, unit, definition) = match self {
            Metric::JaccardPre => (
                "jaccard_pre",
                "share",
                "mean over prompts and positions masked in x^(k−1) and x^k of \
                 |T_k ∩ T_(k−1)| / |T_k ∪ T_(k−1)|, 1 if both are empty; Eq. 20",
            ),
            Metric::DriftPost => (
                "drift_post",
                "share",
                "mean over prompts and positions decoded in x^(k−1) and x^k of 1 − that index: the \
                 terms of Eq. 21 at step k",
            ),
            Metric::LockRate => (
                "lock_rate",
                "share",
                "share of the positions masked in both with f1_k = f1_(k−1); Eq. 23",
            ),
            Metric::FlipCount => (
                "flip_count",
                "positions",
                "positions decoded in both with f1_k ≠ f1_(k−1), mean over prompts; Eq. 24",
            ),
        };
        Measure {
            name,
            variant: "",
            unit,
            definition,
        }
    }
}
