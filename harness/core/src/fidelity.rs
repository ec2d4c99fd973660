//! From the sums of one SAE to its values: losses and their differences (Eq. 16), loss recovered,
//! KL, explained variance (Eq. 15) in its definitions.
//!
//! | metric | variants | definition |
//! |---|---|---|
//! | `clean_loss` | `<logits>-<weight>` | Σ cost of the unmodified model over the counted tokens / their number |
//! | `spliced_loss` | `<logits>-<weight>-<splice>` | the same with the residual replaced by its reconstruction |
//! | `delta_lm_loss` | as `spliced_loss` | spliced minus clean: Eq. 16; positive is worse |
//! | `loss_recovered` | `aligned-<weight>-<splice>` | (zero − spliced) / (zero − clean), `zero` the loss with a residual of zeros |
//! | `kl` | `aligned-plain-<splice>` | mean over counted tokens of KL(clean ‖ spliced) of the predictions, in nats |
//! | `ev` | `ev_var`, `ev_mse`, `ev_token_mean`, `ev_var_robust` | over the tokens of the SAE's policy, see below |
//!
//! * logits: `aligned` (the model's own alignment), `paper_code` (never shifted, as the authors'
//!   loss script);
//! * weight: `plain` (nats a counted token), `weighted` (Σ over rows of (1/t) Σ cost / counted
//!   tokens: the paper's scale; masked diffusion only);
//! * splice: `all` (every real token), `policy` (the tokens the SAE was trained on).
//!
//! Counted tokens are the masked ones of a diffusion model, and those after a real token for an
//! autoregressive one.
//!
//! * `ev_var` = 1 − Σ|r − mean r|² / Σ|x − mean x|², the authors' definition, from summed moments
//!   of all tokens;
//! * `ev_mse` = 1 − Σ|r|² / Σ|x − mean x|²;
//! * `ev_token_mean` = mean over tokens of 1 − |r|² / |x − m|² with m the mean over the policy's
//!   tokens of the token's own row; rows with fewer than two such tokens do not count, and neither
//!   do tokens that are their row's mean but for rounding;
//! * `ev_var_robust` = `ev_var` without massive activations: a token is left out when its |x|² is
//!   more than [`MASSIVE`] times the median |x|² of the policy's tokens of its row.
//!
//! Where the residual varies by no more than the rounding of its number format (a constant text)
//! there is nothing to explain, and none of these has a value; [`Dtype::rounding`] says how much
//! that is.

use crate::{
    dtype::Dtype,
    ev::EvMoments,
    stats::Bootstrap,
    units::{Resampled, Totals, UnitSums, UnitsError},
};

/// Multiple of a row's median |x|² above which a token is a massive activation.
pub const MASSIVE: f64 = 100.0;

/// Resampling units of a shard.
pub const UNITS: usize = 64;

/// Sums of a splice: costs by logits and weight, KL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpliceKind {
    /// Every real token.
    All,
    /// The tokens of the SAE's policy.
    Policy,
    /// Zeros at every real token.
    Zero,
}

impl SpliceKind {
    pub const fn name(self) -> &'static str {
        match self {
            SpliceKind::All => "all",
            SpliceKind::Policy => "policy",
            SpliceKind::Zero => "zero",
        }
    }
}

/// Which logits score a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Logits {
    /// Those the model means for it.
    Aligned,
    /// Those at its own position.
    PaperCode,
}

impl Logits {
    pub const fn name(self) -> &'static str {
        match self {
            Logits::Aligned => "aligned",
            Logits::PaperCode => "paper_code",
        }
    }
}

/// Column of a cost: `clean.aligned.ce`, `all.paper_code.weighted`, …; `splice` is `None` for the
/// unmodified model.
pub fn cost_column(splice: Option<SpliceKind>, logits: Logits, weighted: bool) -> String {
    let pass = splice.map_or("clean", SpliceKind::name);
    let weight = if weighted { "weighted" } else { "ce" };
    format!("{pass}.{}.{weight}", logits.name())
}

/// Column of a KL divergence: `all.kl`, `policy.kl`.
pub fn kl_column(splice: SpliceKind) -> String {
    format!("{}.kl", splice.name())
}

/// Counted tokens.
pub const COUNTED: &str = "counted";
/// Tokens of the policy, their spread Σ|x − mean x|², error about its mean Σ|r − mean r|² and raw
/// error Σ|r|², means being those of the shard.
pub const EV_COLUMNS: [&str; 4] = ["ev.tokens", "ev.spread", "ev.error", "ev.raw_error"];
/// The first three of [`EV_COLUMNS`] without massive activations.
pub const EV_ROBUST_COLUMNS: [&str; 3] =
    ["ev_robust.tokens", "ev_robust.spread", "ev_robust.error"];
/// Tokens of rows with two or more, and Σ (1 − |r|² / |x − m|²).
pub const EV_TOKEN_COLUMNS: [&str; 2] = ["ev_token.tokens", "ev_token.sum"];

/// One value of an SAE.
#[derive(Clone, Debug, PartialEq)]
pub struct FidelityValue {
    pub metric: &'static str,
    pub variant: String,
    /// Value and error.
    pub estimate: Resampled,
    /// Tokens it is formed from.
    pub n: u64,
    /// Whether there is no value because the residual hardly varies at these tokens.
    pub is_constant: bool,
}

/// A function of totals, `None` where it is undefined.
type OfTotals = Box<dyn Fn(&Totals<'_>) -> Option<f64>>;

/// One statistic of totals.
struct Statistic {
    metric: &'static str,
    variant: String,
    /// Column with the number of tokens.
    tokens: &'static str,
    of: OfTotals,
}

/// All values whose sums are there, in a fixed order.
///
/// The values of `ev_var`, `ev_mse` and `ev_var_robust` come from the moments, which are exact over
/// shards; their errors come from the units. Where residuals vary by the rounding of their format
/// alone, no kind of explained variance has a value.
///
/// # Errors
/// Damaged sums.
pub fn values(
    units: &UnitSums,
    moments: &EvMoments,
    robust: &EvMoments,
    dtype: Dtype,
    bootstrap: Bootstrap,
) -> Result<Vec<FidelityValue>, UnitsError> {
    let statistics = statistics(units);
    let found = units.bootstrap(bootstrap, |totals| {
        statistics.iter().map(|s| (s.of)(totals)).collect()
    })?;
    let totals: Vec<u64> = statistics
        .iter()
        .map(|s| {
            let column = units.column(s.tokens);
            column.map_or(0, |c| units.total(c) as u64)
        })
        .collect();
    let (all, robust_only) = (moments.finish(dtype), robust.finish(dtype));
    Ok(statistics
        .into_iter()
        .zip(found)
        .zip(totals)
        .map(|((s, found), n)| {
            let value = match s.variant.as_str() {
                "ev_var" => all.map(|ev| ev.ev_var),
                "ev_mse" => all.map(|ev| ev.ev_mse),
                "ev_var_robust" => robust_only.map(|ev| ev.ev_var),
                "ev_token_mean" => found.value.filter(|_| all.is_some()),
                _ => found.value,
            };
            FidelityValue {
                metric: s.metric,
                is_constant: s.metric == "ev" && moments.n() > 0 && value.is_none(),
                estimate: Resampled {
                    value,
                    std_err: found.std_err.filter(|_| value.is_some()),
                },
                variant: s.variant,
                n,
            }
        })
        .collect())
}

fn statistics(units: &UnitSums) -> Vec<Statistic> {
    let mut out = Vec::new();
    let has = |column: &str| units.column(column).is_some();
    let mut ev = |variant: &str, tokens, of: OfTotals| {
        if has(tokens) {
            out.push(Statistic {
                metric: "ev",
                variant: variant.to_owned(),
                tokens,
                of,
            });
        }
    };
    let explained = |error, spread| {
        Box::new(move |t: &Totals<'_>| t.ratio(error, spread).map(|fvu| 1.0 - fvu)) as OfTotals
    };
    ev(
        "ev_var",
        EV_COLUMNS[0],
        explained(EV_COLUMNS[2], EV_COLUMNS[1]),
    );
    ev(
        "ev_mse",
        EV_COLUMNS[0],
        explained(EV_COLUMNS[3], EV_COLUMNS[1]),
    );
    ev(
        "ev_token_mean",
        EV_TOKEN_COLUMNS[0],
        Box::new(|t| t.ratio(EV_TOKEN_COLUMNS[1], EV_TOKEN_COLUMNS[0])),
    );
    ev(
        "ev_var_robust",
        EV_ROBUST_COLUMNS[0],
        explained(EV_ROBUST_COLUMNS[2], EV_ROBUST_COLUMNS[1]),
    );
    for logits in [Logits::Aligned, Logits::PaperCode] {
        for weighted in [true, false] {
            let clean = cost_column(None, logits, weighted);
            if !has(&clean) {
                continue;
            }
            let weight = if weighted { "weighted" } else { "plain" };
            let name = format!("{}-{weight}", logits.name());
            out.push(counted("clean_loss", name.clone(), {
                let clean = clean.clone();
                move |t| t.ratio(&clean, COUNTED)
            }));
            let zero = cost_column(Some(SpliceKind::Zero), logits, weighted);
            if has(&zero) {
                let zero = zero.clone();
                out.push(counted("zero_loss", name.clone(), move |t| {
                    t.ratio(&zero, COUNTED)
                }));
            }
            for splice in [SpliceKind::All, SpliceKind::Policy] {
                let spliced = cost_column(Some(splice), logits, weighted);
                if !has(&spliced) {
                    continue;
                }
                let variant = format!("{name}-{}", splice.name());
                out.push(counted("spliced_loss", variant.clone(), {
                    let spliced = spliced.clone();
                    move |t| t.ratio(&spliced, COUNTED)
                }));
                out.push(counted("delta_lm_loss", variant.clone(), {
                    let (clean, spliced) = (clean.clone(), spliced.clone());
                    move |t| Some(t.ratio(&spliced, COUNTED)? - t.ratio(&clean, COUNTED)?)
                }));
                // Of misaligned logits nothing is lost, so nothing can be recovered.
                if has(&zero) && logits == Logits::Aligned {
                    let (clean, zero) = (clean.clone(), zero.clone());
                    out.push(counted("loss_recovered", variant, move |t| {
                        let (clean, spliced, zero) =
                            (t.get(&clean)?, t.get(&spliced)?, t.get(&zero)?);
                        (zero != clean).then(|| (zero - spliced) / (zero - clean))
                    }));
                }
            }
        }
    }
    for splice in [SpliceKind::All, SpliceKind::Policy] {
        let kl = kl_column(splice);
        if has(&kl) {
            let variant = format!("aligned-plain-{}", splice.name());
            out.push(counted("kl", variant, move |t| t.ratio(&kl, COUNTED)));
        }
    }
    out
}

fn counted(
    metric: &'static str,
    variant: String,
    of: impl Fn(&Totals<'_>) -> Option<f64> + 'static,
) -> Statistic {
    Statistic {
        metric,
        variant,
        tokens: COUNTED,
        of: Box::new(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(columns: &[(&str, [f64; 2])]) -> UnitSums {
        let mut sums = UnitSums::new(columns.iter().map(|(c, _)| (*c).to_owned()).collect());
        for (i, (_, values)) in columns.iter().enumerate() {
            for (unit, value) in values.iter().enumerate() {
                sums.add(unit, i, *value);
            }
        }
        sums
    }

    fn value(found: &[FidelityValue], metric: &str, variant: &str) -> Option<f64> {
        found
            .iter()
            .find(|v| v.metric == metric && v.variant == variant)
            .unwrap_or_else(|| panic!("no {metric} {variant}"))
            .estimate
            .value
    }

    /// Two rows of 2 and 4 masked tokens: clean 3 + 5 nats, spliced 4 + 8, zeros 6 + 14; rates 0.5
    /// and 0.25.
    #[test]
    fn losses_by_hand() {
        let sums = units(&[
            (COUNTED, [2.0, 4.0]),
            ("clean.aligned.ce", [3.0, 5.0]),
            ("clean.aligned.weighted", [6.0, 20.0]),
            ("all.aligned.ce", [4.0, 8.0]),
            ("all.aligned.weighted", [8.0, 32.0]),
            ("zero.aligned.ce", [6.0, 14.0]),
            ("all.kl", [0.5, 1.0]),
        ]);
        let none = EvMoments::new(1);
        let found = values(&sums, &none, &none, Dtype::F32, Bootstrap::default()).unwrap();
        let of = |metric, variant| value(&found, metric, variant).unwrap();
        assert_eq!(of("clean_loss", "aligned-plain"), 8.0 / 6.0);
        assert_eq!(of("spliced_loss", "aligned-weighted-all"), 40.0 / 6.0);
        assert_eq!(
            of("delta_lm_loss", "aligned-plain-all"),
            12.0 / 6.0 - 8.0 / 6.0
        );
        assert_eq!(
            of("delta_lm_loss", "aligned-weighted-all"),
            40.0 / 6.0 - 26.0 / 6.0
        );
        assert_eq!(
            of("loss_recovered", "aligned-plain-all"),
            (20.0 - 12.0) / (20.0 - 8.0)
        );
        assert_eq!(of("kl", "aligned-plain-all"), 1.5 / 6.0);
        assert!(
            found
                .iter()
                .all(|v| v.n == 6 && !v.variant.contains("policy"))
        );
        assert!(found.iter().all(|v| v.metric != "ev"));
    }

    #[test]
    fn paired_differences_have_small_errors() {
        let mut sums = UnitSums::new(vec![
            COUNTED.into(),
            "clean.aligned.ce".into(),
            "all.aligned.ce".into(),
        ]);
        // Costs vary by row, the difference hardly does.
        for row in 0..40 {
            let clean = f64::from(row % 7);
            for (column, value) in [1.0, clean, clean + 0.1].into_iter().enumerate() {
                sums.add(row as usize, column, value);
            }
        }
        let none = EvMoments::new(1);
        let found = values(&sums, &none, &none, Dtype::F32, Bootstrap::default()).unwrap();
        let error = |metric: &str| {
            let found = found.iter().find(|v| v.metric == metric).unwrap();
            found.estimate.std_err.unwrap()
        };
        assert!(error("clean_loss") > 0.1 && error("delta_lm_loss") < 1e-9);
    }
}
