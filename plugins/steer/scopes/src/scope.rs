use harness_sdk::{Error, Result, SteerNeeds, SteerStep, SteeringPolicy, Value};
use serde::Deserialize;

use crate::select::largest_first;

/// Configuration of `topk-tokens`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TopK {
    /// Number of steered positions a row (`k_scope`).
    k: usize,
}

impl Default for TopK {
    fn default() -> Self {
        Self { k: 5 }
    }
}

/// The other scopes have no settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoSettings {}

/// Where the direction is added (Eq. 14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every valid position.
    All,
    /// Valid positions that hold the mask token.
    Masked,
    /// The `k` valid positions of largest `latent_act`, chosen anew in every pass; positions where
    /// the latent is 0 are taken when there are no others, and of equal ones those that the
    /// reference's selection takes.
    TopK {
        /// Positions a row.
        k: usize,
    },
}

impl SteeringPolicy for Scope {
    fn new(name: &str, config: &Value) -> Result<Self> {
        if !config.is_object() {
            return Err(Error::config(format!(
                "scope `{name}`: {config} is not an object of settings"
            )));
        }
        let wrong = |error: serde_json::Error| Error::config(format!("scope `{name}`: {error}"));
        match name {
            "topk-tokens" => {
                let TopK { k } = serde_json::from_value(config.clone()).map_err(wrong)?;
                if k == 0 {
                    return Err(Error::config("scope `topk-tokens`: k is 0")
                        .hint("k counts the steered positions of a row"));
                }
                Ok(Self::TopK { k })
            }
            "all-tokens" | "update-tokens" => {
                let NoSettings {} = serde_json::from_value(config.clone()).map_err(wrong)?;
                Ok(if name == "all-tokens" {
                    Self::All
                } else {
                    Self::Masked
                })
            }
            other => Err(Error::unsupported(format!("no scope named `{other}`"))),
        }
    }

    fn needs(&self) -> SteerNeeds {
        match self {
            Self::TopK { .. } => SteerNeeds::LATENT_ACT,
            _ => SteerNeeds::NONE,
        }
    }

    fn plan(&mut self, step: &SteerStep<'_>, coeff: &mut [f32]) -> Result<()> {
        let amp_factor = step.amp_factor as f32;
        if !amp_factor.is_finite() {
            return Err(Error::invalid(format!(
                "amp_factor {} is not a finite f32",
                step.amp_factor
            )));
        }
        for row in 0..step.batch {
            let span = row * step.len..(row + 1) * step.len;
            let is_valid = &step.is_valid[span.clone()]; // [t]
            let is_masked = &step.is_masked[span.clone()]; // [t]
            let latent_act = &step.latent_act[span.clone()]; // [t]
            let coeff = &mut coeff[span]; // [t]
            match *self {
                Self::All => fill(coeff, amp_factor, |i| is_valid[i] == 1),
                Self::Masked => fill(coeff, amp_factor, |i| is_valid[i] == 1 && is_masked[i] == 1),
                Self::TopK { k } => {
                    for position in most_active(is_valid, latent_act, k) {
                        coeff[position] = amp_factor;
                    }
                }
            }
        }
        Ok(())
    }
}

fn fill(coeff: &mut [f32], amp_factor: f32, chosen: impl Fn(usize) -> bool) {
    for (i, out) in coeff.iter_mut().enumerate() {
        if chosen(i) {
            *out = amp_factor;
        }
    }
}

/// The `k` valid positions of largest activation, fewer where fewer are valid; NaN counts as
/// inactive.
fn most_active(is_valid: &[u8], latent_act: &[f32], k: usize) -> Vec<usize> {
    let mut ranked: Vec<(f32, usize)> = (0..is_valid.len())
        .filter(|&i| is_valid[i] == 1)
        .map(|i| {
            (
                if latent_act[i] > 0.0 {
                    latent_act[i]
                } else {
                    0.0
                },
                i,
            )
        })
        .collect();
    let k = k.min(ranked.len());
    if k > 0 {
        largest_first(&mut ranked, k);
    }
    ranked.truncate(k);
    ranked.into_iter().map(|(_, position)| position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const VALID: [u8; 12] = [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0];
    const MASKED: [u8; 12] = [1, 0, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1];
    const ACT: [f32; 12] = [9.0, 1.0, 3.0, 3.0, 0.0, 2.0, 0.0, 0.0, 0.5, 0.0, 0.5, 9.0];

    fn plan(name: &str, config: Value, amp_factor: f64) -> Vec<f32> {
        let mut scope = Scope::new(name, &config).unwrap();
        let mut coeff = vec![0.0; 12];
        let step = SteerStep {
            step: 0,
            n_steps: 1,
            batch: 2,
            len: 6,
            amp_factor,
            is_valid: &VALID,
            is_masked: &MASKED,
            latent_act: &ACT,
        };
        scope.plan(&step, &mut coeff).unwrap();
        coeff
    }

    fn chosen(coeff: &[f32]) -> Vec<usize> {
        (0..12).filter(|&i| coeff[i] != 0.0).collect()
    }

    #[test]
    fn each_scope_takes_its_positions() {
        let all = plan("all-tokens", json!({}), 2.0);
        assert_eq!(chosen(&all), (1..11).collect::<Vec<_>>());
        assert!(all.iter().all(|&c| c == 0.0 || c == 2.0));
        assert_eq!(
            chosen(&plan("update-tokens", json!({}), -1.5)),
            [3, 5, 9, 10]
        );
        // Row 0: 3.0 at 2 and 3; row 1: 0.5 at 8 and 10.
        assert_eq!(
            chosen(&plan("topk-tokens", json!({"k": 2}), 1.0)),
            [2, 3, 8, 10]
        );
        let one = chosen(&plan("topk-tokens", json!({"k": 1}), 1.0));
        assert!(
            one == [2, 8] || one == [2, 10] || one == [3, 8] || one == [3, 10],
            "{one:?}"
        );
        assert_eq!(
            chosen(&plan("topk-tokens", json!({}), 1.0)),
            (1..11).collect::<Vec<_>>(),
            "the default k is 5"
        );
    }

    #[test]
    fn amp_factor_0_is_no_steering() {
        for name in ["all-tokens", "update-tokens", "topk-tokens"] {
            let coeff = plan(name, json!({}), 0.0);
            assert!(coeff.iter().all(|c| c.to_bits() == 0));
        }
    }

    #[test]
    fn only_topk_reads_the_latent() {
        let needs = |name| Scope::new(name, &json!({})).unwrap().needs();
        assert_eq!(needs("topk-tokens"), SteerNeeds::LATENT_ACT);
        assert_eq!(needs("all-tokens"), SteerNeeds::NONE);
        assert_eq!(needs("update-tokens"), SteerNeeds::NONE);
    }

    #[test]
    fn configuration_is_checked() {
        for (name, config) in [
            ("topk-tokens", json!({"k": 0})),
            ("topk-tokens", json!({"k": -1})),
            ("topk-tokens", json!({"K": 3})),
            ("all-tokens", json!({"k": 3})),
            ("update-tokens", json!("x")),
            ("topk-tokens", json!([3])),
        ] {
            let error = Scope::new(name, &config).unwrap_err();
            assert_eq!(error.code(), harness_sdk::ErrorCode::CONFIG, "{config}");
        }
    }
}
