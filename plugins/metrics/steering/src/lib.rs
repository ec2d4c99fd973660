//! The paper's steering metrics over the prefixes of one feature (Eq. 17-19).
//!
//! | component | inputs, one value a prefix | value |
//! |---|---|---|
//! | `concept_improvement` | `score_before`, `score_after` in [0, 100] | C = (mean after - mean before) / 100 |
//! | `perplexity_reduction` | `ppl_before`, `ppl_after` above 0 | P = (mean before - mean after) / mean before |
//! | `steering_score` | all four | S = C + λ·P |
//!
//! A prefix with a value that is missing (NaN or infinite) on either side of a pair is left out of
//! that pair's means; `n` is the number of prefixes that count. Without any the value is missing.
//! Standard errors are over prefixes: exact for C, by the delta method for P and S, with their
//! covariance over the prefixes that have both; they need two prefixes.

mod metric;
mod moments;

pub use metric::Steering;
pub use moments::Moments;

harness_sdk::export_plugin! {
    id: "steering-metrics",
    components: [
        metric "concept_improvement" => Steering: "C of Eq. 17: gain of the judge's score, in [-1, 1]",
        metric "perplexity_reduction" => Steering: "P of Eq. 18: relative fall of perplexity, at most 1",
        metric "steering_score" => Steering: "S of Eq. 19: C + lambda P",
    ]
}
