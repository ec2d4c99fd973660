//! Decoding orders by the stability of SAE features: positions whose features have stopped changing
//! are filled first.
//!
//! | component | schedule | order |
//! |---|---|---|
//! | `sae-stability` | Dream, counts | largest pre-mask stability first |
//! | `sae-stability-early` | the same, and every position that was stable in the last passes | the same |
//!
//! A position's stability in a pass is the mean over layers of the Jaccard index between its most
//! active latents in this pass and in the pass before (Eq. 20), while it is masked. It may be
//! smoothed over passes. Positions without a stability (all of them in the first pass of a run,
//! mask tokens of the prompt in every pass) come after those that have one, and are ordered among
//! themselves by negative entropy, largest first; equal stabilities are ordered so too. Equal
//! entropies go to the lower position.
//!
//! Settings:
//!
//! | key | default | |
//! |---|---|---|
//! | `eps` | 0.001 | last time point of the schedule |
//! | `smoothing` | 0 | s in [0, 1): the stability is s · the last one + (1 - s) · this pass's |
//! | `layers` | all that the host encodes | blocks whose outputs count |
//! | `threshold` | 0.9 | early only: stability from which a position counts as stable |
//! | `patience` | 2 | early only: passes in a row, this one included, in which it must be stable |
//!
//! The host must be given SAEs: without their features a step is an error.

mod order;
mod settings;
mod track;

pub use order::SaeStability;

harness_sdk::export_plugin! {
    id: "stability",
    components: [
        remasker "sae-stability" => SaeStability: "Dream's schedule: the most stable SAE features first",
        remasker "sae-stability-early" => SaeStability: "the same, and besides what has been stable long enough",
    ]
}
