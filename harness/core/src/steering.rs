//! Concept improvement, perplexity reduction and steering score (Eq. 17–19), from judged pairs and
//! perplexities.

use crate::stats::{Bootstrap, Estimate};

/// Scores of one feature.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SteeringScores {
    /// C = (mean after - mean before) / 100 over the judged prefixes (Eq. 17).
    pub concept_improvement: Option<f64>,
    /// P = (mean before - mean after) / mean before, means over prefixes first (Eq. 18).
    pub perplexity_reduction: Option<f64>,
    /// S = C + lambda · P (Eq. 19).
    pub steering_score: Option<f64>,
}

/// What features that are not valid count as in the means over an SAE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidFeatures {
    /// The means are over the valid features. Where none is, C and P are each over the features
    /// that have it, and S is missing.
    LeftOut,
    /// 0 in all three means, as the authors count them (PROTOCOL §10, item 8).
    Zero,
}

/// Means over the features of an SAE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SaeScores {
    /// C.
    pub concept_improvement: Estimate,
    /// P.
    pub perplexity_reduction: Estimate,
    /// S.
    pub steering_score: Estimate,
    /// Features, valid or not.
    pub n_features: usize,
    /// Features with C.
    pub n_judged: usize,
    /// Features that are valid.
    pub n_valid: usize,
}

/// Means over features. A feature is valid that has both C and P, or C alone where no text has a
/// perplexity. S = C + lambda · P holds for the means too wherever all three are there.
pub fn sae_scores(
    features: &[SteeringScores],
    has_perplexities: bool,
    invalid: InvalidFeatures,
    bootstrap: Bootstrap,
) -> SaeScores {
    let is_valid = |f: &SteeringScores| match has_perplexities {
        true => f.steering_score.is_some(),
        false => f.concept_improvement.is_some(),
    };
    let n_valid = features.iter().filter(|f| is_valid(f)).count();
    let mean = |of: fn(&SteeringScores) -> Option<f64>| {
        let values: Vec<f64> = match invalid {
            InvalidFeatures::LeftOut => (features.iter())
                .filter(|f| is_valid(f) || n_valid == 0)
                .filter_map(of)
                .collect(),
            InvalidFeatures::Zero => (features.iter())
                .map(|f| of(f).filter(|_| is_valid(f)).unwrap_or(0.0))
                .collect(),
        };
        Estimate::of_mean(&values, bootstrap)
    };
    SaeScores {
        concept_improvement: mean(|f| f.concept_improvement),
        perplexity_reduction: mean(|f| f.perplexity_reduction),
        steering_score: mean(|f| f.steering_score),
        n_features: features.len(),
        n_judged: (features.iter())
            .filter(|f| f.concept_improvement.is_some())
            .count(),
        n_valid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A feature with these C and P.
    fn feature(
        concept_improvement: Option<f64>,
        perplexity_reduction: Option<f64>,
    ) -> SteeringScores {
        SteeringScores {
            concept_improvement,
            perplexity_reduction,
            steering_score: concept_improvement
                .zip(perplexity_reduction)
                .map(|(c, p)| c + 0.3 * p),
        }
    }

    #[test]
    fn means_are_over_the_features_that_have_both_values() {
        let whole = feature(Some(0.4), Some(0.5));
        let unjudged = feature(None, Some(0.25));
        let unread = feature(Some(0.2), None);
        let of = |invalid| {
            let sae = sae_scores(
                &[whole, unjudged, unread],
                true,
                invalid,
                Bootstrap::default(),
            );
            assert_eq!((sae.n_features, sae.n_valid), (3, 1));
            assert_eq!(sae.n_judged, 2);
            let n = match invalid {
                InvalidFeatures::LeftOut => 1,
                InvalidFeatures::Zero => 3,
            };
            assert_eq!(sae.steering_score.n, Some(n));
            [
                sae.concept_improvement,
                sae.perplexity_reduction,
                sae.steering_score,
            ]
            .map(|mean| mean.value.unwrap())
        };
        let near = |got: [f64; 3], want: [f64; 3]| {
            let is_near = got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12);
            assert!(is_near, "{got:?}, expected {want:?}");
        };
        near(of(InvalidFeatures::LeftOut), [0.4, 0.5, 0.55]);
        near(
            of(InvalidFeatures::Zero),
            [0.4 / 3.0, 0.5 / 3.0, 0.55 / 3.0],
        );
        // Without a judgement the perplexities are still there.
        let left_out = |features: &[SteeringScores], has_perplexities| {
            let bootstrap = Bootstrap::default();
            sae_scores(
                features,
                has_perplexities,
                InvalidFeatures::LeftOut,
                bootstrap,
            )
        };
        let alone = left_out(&[unjudged], true);
        assert_eq!(alone.perplexity_reduction.value, Some(0.25));
        assert_eq!(alone.perplexity_reduction.n, Some(1));
        assert_eq!(
            (alone.concept_improvement.value, alone.steering_score.value),
            (None, None)
        );
        let mean = left_out(&[], true).concept_improvement;
        assert_eq!((mean.value, mean.std_err), (None, None));
        // Where no text is read, C alone decides.
        let unread_all = left_out(&[unread, feature(None, None)], false);
        assert_eq!(
            (unread_all.concept_improvement.value, unread_all.n_valid),
            (Some(0.2), 1)
        );
        assert_eq!(unread_all.steering_score.value, None);
    }

    proptest! {
        #[test]
        fn means_keep_eq_19(scores in prop::collection::vec((prop::option::of(-1f64..1.0), prop::option::of(-9f64..1.0)), 1..20)) {
            let features: Vec<_> = scores.iter().map(|&(c, p)| feature(c, p)).collect();
            for invalid in [InvalidFeatures::Zero, InvalidFeatures::LeftOut] {
                let sae = sae_scores(&features, true, invalid, Bootstrap { resamples: 20, seed: 0 });
                let (c, p) = (sae.concept_improvement.value, sae.perplexity_reduction.value);
                let s = sae.steering_score.value;
                prop_assert_eq!(s.is_some(), invalid == InvalidFeatures::Zero || sae.n_valid > 0);
                if let Some(s) = s {
                    prop_assert!((s - c.unwrap() - 0.3 * p.unwrap()).abs() < 1e-12);
                }
            }
        }
    }
}
