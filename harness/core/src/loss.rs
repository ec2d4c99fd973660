//! Losses from per-position costs: masked-diffusion losses (Eq. 7) in their aggregations, and
//! next-token loss.

use serde::{Deserialize, Serialize};

/// Costs of a batch. Arrays are `[b, t]` row-major, except `mask_rate`.
#[derive(Clone, Copy, Debug)]
pub struct MaskedCosts<'a> {
    /// Cross-entropy in nats of each position.
    pub ce: &'a [f64],
    /// 1 where the position was replaced by the mask token and counts.
    pub is_masked: &'a [u8],
    /// 1 at real tokens, 0 at padding.
    pub is_valid: &'a [u8],
    /// `[b]`: t, the mask rate of each row.
    pub mask_rate: &'a [f64],
}

/// Sums of a masked-diffusion loss, mergeable over batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DiffusionSums {
    pub n_rows: u64,
    pub n_masked: u64,
    /// Real tokens.
    pub n_valid: u64,
    /// Σ ce over masked positions.
    pub ce: f64,
    /// Σ over rows of (1/t) Σ ce.
    pub weighted_ce: f64,
}

/// A masked-diffusion loss in its aggregations, in nats. `None` where the denominator is 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiffusionLoss {
    /// Mean over rows of (1/t) Σ ce: Eq. 7 of a sequence.
    pub eq7_sum: Option<f64>,
    /// Σ (1/t) Σ ce over real tokens: Eq. 7 of a token.
    pub eq7_per_token: Option<f64>,
    /// Mean ce of the masked positions.
    pub masked_mean: Option<f64>,
    /// Σ (1/t) Σ ce over masked positions: the aggregation of the released evaluation.
    pub authors_weighted: Option<f64>,
}

/// Arrays of a batch that do not fit together.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LossError {
    /// Lengths differ.
    #[error(
        "costs of {ce} positions, masks of {is_masked}, validity of {is_valid}, for {rows} rows"
    )]
    Shape {
        /// Length of `ce`.
        ce: usize,
        /// Length of `is_masked`.
        is_masked: usize,
        /// Length of `is_valid`.
        is_valid: usize,
        rows: usize,
    },
    /// A mask rate outside (0, 1].
    #[error("mask rate {rate} of row {row} is not in (0, 1]")]
    MaskRate { row: usize, rate: f64 },
}

impl DiffusionSums {
    /// Sums of a batch.
    ///
    /// # Errors
    /// When the arrays do not fit together, or a mask rate is not in (0, 1].
    pub fn of(costs: &MaskedCosts<'_>) -> Result<DiffusionSums, LossError> {
        let rows = costs.mask_rate.len();
        let n = costs.ce.len();
        if n != costs.is_masked.len()
            || n != costs.is_valid.len()
            || (rows == 0) != (n == 0)
            || (rows > 0 && !n.is_multiple_of(rows))
        {
            return Err(LossError::Shape {
                ce: n,
                is_masked: costs.is_masked.len(),
                is_valid: costs.is_valid.len(),
                rows,
            });
        }
        let mut sums = DiffusionSums::default();
        for (row, &rate) in costs.mask_rate.iter().enumerate() {
            let at = row * (n / rows)..(row + 1) * (n / rows);
            let masked = || {
                costs.ce[at.clone()]
                    .iter()
                    .zip(&costs.is_masked[at.clone()])
                    .filter(|(_, m)| **m != 0)
            };
            let ce = masked().map(|(c, _)| c).sum();
            let n_valid = costs.is_valid[at.clone()]
                .iter()
                .filter(|v| **v != 0)
                .count() as u64;
            sums = sums.merge(DiffusionSums::of_row(
                row,
                rate,
                ce,
                masked().count() as u64,
                n_valid,
            )?);
        }
        Ok(sums)
    }

    /// Sums of one row, from its summed cost.
    ///
    /// # Errors
    /// When the mask rate is not in (0, 1].
    pub fn of_row(
        row: usize,
        rate: f64,
        ce: f64,
        n_masked: u64,
        n_valid: u64,
    ) -> Result<DiffusionSums, LossError> {
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(LossError::MaskRate { row, rate });
        }
        Ok(DiffusionSums {
            n_rows: 1,
            n_masked,
            n_valid,
            ce,
            weighted_ce: ce / rate,
        })
    }

    /// The sums of both.
    pub fn merge(self, other: DiffusionSums) -> DiffusionSums {
        DiffusionSums {
            n_rows: self.n_rows + other.n_rows,
            n_masked: self.n_masked + other.n_masked,
            n_valid: self.n_valid + other.n_valid,
            ce: self.ce + other.ce,
            weighted_ce: self.weighted_ce + other.weighted_ce,
        }
    }

    /// The loss in its aggregations.
    pub fn finish(&self) -> DiffusionLoss {
        DiffusionLoss {
            eq7_sum: ratio(self.weighted_ce, self.n_rows),
            eq7_per_token: ratio(self.weighted_ce, self.n_valid),
            masked_mean: ratio(self.ce, self.n_masked),
            authors_weighted: ratio(self.weighted_ce, self.n_masked),
        }
    }
}

/// Sum and count of next-token costs, mergeable over batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NextTokenSums {
    /// Predicted tokens.
    pub n: u64,
    /// Σ ce.
    pub ce: f64,
}

impl NextTokenSums {
    /// Sums of a batch: `ce[b, i]` is the cost of token i under what precedes it, counted where
    /// token i and the one before it are real.
    ///
    /// - `ce`, `is_valid`: `[b, t]` row-major; `t` the row length
    ///
    /// # Errors
    /// When the lengths differ or are no multiple of `t`.
    pub fn of(ce: &[f64], is_valid: &[u8], t: usize) -> Result<NextTokenSums, LossError> {
        if t == 0 || ce.len() != is_valid.len() || !ce.len().is_multiple_of(t) {
            let rows = ce.len().checked_div(t).unwrap_or(0);
            return Err(LossError::Shape {
                ce: ce.len(),
                is_masked: ce.len(),
                is_valid: is_valid.len(),
                rows,
            });
        }
        let mut sums = NextTokenSums::default();
        for (ce, valid) in ce.chunks_exact(t).zip(is_valid.chunks_exact(t)) {
            for i in 1..t {
                if valid[i] != 0 && valid[i - 1] != 0 {
                    sums.n += 1;
                    sums.ce += ce[i];
                }
            }
        }
        Ok(sums)
    }

    /// The sums of both.
    pub fn merge(self, other: NextTokenSums) -> NextTokenSums {
        NextTokenSums {
            n: self.n + other.n,
            ce: self.ce + other.ce,
        }
    }

    /// Mean cost in nats (`next_token_mean`); `None` without predicted tokens.
    pub fn mean(&self) -> Option<f64> {
        ratio(self.ce, self.n)
    }

    /// exp of the mean cost; `None` without predicted tokens.
    pub fn perplexity(&self) -> Option<f64> {
        self.mean().map(f64::exp)
    }
}

fn ratio(sum: f64, n: u64) -> Option<f64> {
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_batch_by_hand() {
        let sums = DiffusionSums::of(&MaskedCosts {
            ce: &[1.0, 2.0, 9.0, 4.0, 9.0, 9.0],
            is_masked: &[1, 1, 0, 1, 0, 0],
            is_valid: &[1, 1, 1, 1, 1, 0],
            mask_rate: &[0.5, 0.25],
        })
        .unwrap();
        let loss = sums.finish();
        assert_eq!(loss.eq7_sum, Some((3.0 / 0.5 + 4.0 / 0.25) / 2.0));
        assert_eq!(loss.eq7_per_token, Some(22.0 / 5.0));
        assert_eq!(loss.masked_mean, Some(7.0 / 3.0));
        assert_eq!(loss.authors_weighted, Some(22.0 / 3.0));
        assert_eq!(DiffusionSums::default().finish().masked_mean, None);
    }

    #[test]
    fn next_tokens_after_padding_do_not_count() {
        let sums =
            NextTokenSums::of(&[9.0, 9.0, 3.0, 9.0, 1.0, 2.0], &[0, 1, 1, 1, 1, 1], 3).unwrap();
        assert_eq!((sums.n, sums.mean()), (3, Some(2.0)));
        assert_eq!(NextTokenSums::default().perplexity(), None);
    }

    #[test]
    fn bad_arrays_are_refused() {
        let costs = MaskedCosts {
            ce: &[1.0],
            is_masked: &[1, 0],
            is_valid: &[1],
            mask_rate: &[0.5],
        };
        assert!(matches!(
            DiffusionSums::of(&costs),
            Err(LossError::Shape { .. })
        ));
        for rate in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(matches!(
                DiffusionSums::of_row(3, rate, 1.0, 1, 1),
                Err(LossError::MaskRate { row: 3, .. })
            ));
        }
    }

    /// The reference's aggregations from its own row sums, base model and every splice.
    #[test]
    fn aggregations_equal_the_reference() {
        let mut checked = 0;
        for family in ["dream", "llada"] {
            let path = format!(
                "{}/../../tests/parity/{family}/golden/manifest.json",
                env!("CARGO_MANIFEST_DIR")
            );
            let manifest: Value =
                serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            for (case, loss) in manifest["loss"].as_object().unwrap() {
                let splices = loss["splice"].as_object().unwrap().values();
                for want in splices.chain([&loss["base"]]) {
                    let mut sums = DiffusionSums::default();
                    for (row, ce) in want["per_sequence_sum"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .enumerate()
                    {
                        let t = loss["t"][row].as_f64().unwrap();
                        let n = |name: &str| want[name][row].as_u64().unwrap();
                        let one = DiffusionSums::of_row(
                            row,
                            t,
                            ce.as_f64().unwrap(),
                            n("n_masked"),
                            n("n_valid"),
                        );
                        sums = sums.merge(one.unwrap());
                    }
                    let got = sums.finish();
                    for (name, got) in [
                        ("eq7_sum", got.eq7_sum),
                        ("eq7_per_token", got.eq7_per_token),
                        ("masked_mean", got.masked_mean),
                        ("authors_weighted", got.authors_weighted),
                    ] {
                        let want = want[name].as_f64().unwrap();
                        // Sums of f32 costs in another order: relative 1e-6.
                        assert!(
                            (got.unwrap() - want).abs() <= 1e-6 * want.abs(),
                            "{family} {case} {name}: {got:?} {want}"
                        );
                        checked += 1;
                    }
                }
            }
        }
        assert!(checked >= 32, "{checked}");
    }
}
