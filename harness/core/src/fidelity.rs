//! From the sums of one SAE to its values: losses and their differences (Eq. 16), loss recovered,
//! KL, explained variance (Eq. 15) in its definitions: [`MEASURES`].
//!
//! Variants of losses are `<logits>-<weight>-<splice>`.
//! * logits: `aligned` (the model's own alignment), `paper_code` (never shifted, as the authors'
//!   loss script);
//! * weight: `plain` (nats a counted token), `weighted` (Σ over rows of (1/t) Σ cost / counted
//!   tokens: the paper's scale; masked diffusion only);
//! * splice: `all` (every real token), `policy` (the tokens the SAE was trained on).
//!
//! Counted tokens are the masked ones of a diffusion model, and those after a real token for an
//! autoregressive one.
//!
//! Explained variance is over the tokens of the SAE's policy. Of `ev_token_mean` rows with fewer
//! than two such tokens do not count, and neither do tokens that are their row's mean but for
//! rounding. Where the residual varies by no more than the rounding of its number format (a
//! constant text) there is nothing to explain, and no kind of explained variance has a value;
//! [`Dtype::rounding`] says how much that is.

use std::iter;

use crate::{
    dtype::Dtype,
    ev::EvMoments,
    measure::Measure,
    stats::{Bootstrap, Estimate},
    units::{Totals, UnitSums, UnitsError},
};

pub const CLEAN_LOSS: Measure = Measure {
    name: "clean_loss",
    variant: "<logits>-<weight>",
    unit: "nats",
    definition: "Σ cost of the unmodified model over the counted tokens / their number",
};
pub const SPLICED_LOSS: Measure = Measure {
    name: "spliced_loss",
    variant: "<logits>-<weight>-<splice>",
    unit: "nats",
    definition: "the same with the residual replaced by its reconstruction",
};
pub const ZERO_LOSS: Measure = Measure {
    name: "zero_loss",
    variant: "<logits>-<weight>",
    unit: "nats",
    definition: "the same with a residual of zeros",
};
pub const DELTA_LM_LOSS: Measure = Measure {
    name: "delta_lm_loss",
    variant: "<logits>-<weight>-<splice>",
    unit: "nats",
    definition: "spliced minus clean, Eq. 16; positive is worse",
};
pub const LOSS_RECOVERED: Measure = Measure {
    name: "loss_recovered",
    variant: "aligned-<weight>-<splice>",
    unit: "share",
    definition: "(zero − spliced) / (zero − clean)",
};
pub const KL: Measure = Measure {
    name: "kl",
    variant: "aligned-plain-<splice>",
    unit: "nats",
    definition: "mean over counted tokens of KL(clean ‖ spliced) of the predictions",
};
pub const EV_VAR: Measure = Measure {
    name: "ev",
    variant: "ev_var",
    unit: "share",
    definition: "1 − Σ|r − mean r|² / Σ|x − mean x|², r = x − x̂: the authors' definition, \
                 Eq. 15, from summed moments",
};
pub const EV_MSE: Measure = Measure {
    variant: "ev_mse",
    definition: "1 − Σ|r|² / Σ|x − mean x|²",
    ..EV_VAR
};
pub const EV_TOKEN_MEAN: Measure = Measure {
    variant: "ev_token_mean",
    definition: "mean over tokens of 1 − |r|² / |x − m|², m the mean of the policy's tokens of \
                 the token's own row",
    ..EV_VAR
};
/// [`MASSIVE`] says which tokens are left out.
pub const EV_VAR_ROBUST: Measure = Measure {
    variant: "ev_var_robust",
    definition: "`ev_var` without massive activations: tokens with |x|² above 100 times the \
                 median of their row",
    ..EV_VAR
};

/// All measures.
pub const MEASURES: &[Measure] = &[
    CLEAN_LOSS,
    SPLICED_LOSS,
    ZERO_LOSS,
    DELTA_LM_LOSS,
    LOSS_RECOVERED,
    KL,
    EV_VAR,
    EV_MSE,
    EV_TOKEN_MEAN,
    EV_VAR_ROBUST,
];

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

/// Names of the sums of one SAE. `splices` are those it is measured with, the passes of zeros
/// included, and `logits` those that score a token; `kl` says whether divergences are summed.
pub fn sum_columns(
    splices: &[SpliceKind],
    logits: &[Logits],
    is_diffusion: bool,
    kl: bool,
) -> Vec<String> {
    let mut columns = vec![COUNTED.to_owned()];
    for splice in iter::once(None).chain(splices.iter().copied().map(Some)) {
        for logits in logits {
            columns.push(cost_column(splice, *logits, false));
            if is_diffusion {
                columns.push(cost_column(splice, *logits, true));
            }
        }
        if let Some(splice @ (SpliceKind::All | SpliceKind::Policy)) = splice
            && kl
        {
            columns.push(kl_column(splice));
        }
    }
    let ev = EV_COLUMNS
        .iter()
        .chain(&EV_ROBUST_COLUMNS)
        .chain(&EV_TOKEN_COLUMNS);
    columns.extend(ev.map(|column| (*column).to_owned()));
    columns
}

/// One value of an SAE.
#[derive(Clone, Debug, PartialEq)]
pub struct FidelityValue {
    pub measure: Measure,
    pub variant: String,
    /// The value, with the tokens it is formed from.
    pub estimate: Estimate,
    /// Whether there is no value because the residual hardly varies at these tokens.
    pub is_constant: bool,
}

/// A function of totals, `None` where it is undefined.
type OfTotals = Box<dyn Fn(&Totals<'_>) -> Option<f64>>;

/// One statistic of totals.
struct Statistic {
    measure: Measure,
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
            let value = match s.measure {
                EV_VAR => all.map(|ev| ev.ev_var),
                EV_MSE => all.map(|ev| ev.ev_mse),
                EV_VAR_ROBUST => robust_only.map(|ev| ev.ev_var),
                EV_TOKEN_MEAN => found.value.filter(|_| all.is_some()),
                _ => found.value,
            };
            FidelityValue {
                measure: s.measure,
                is_constant: s.measure.name == EV_VAR.name && moments.n() > 0 && value.is_none(),
                estimate: Estimate {
                    value,
                    std_err: found.std_err.filter(|_| value.is_some()),
                    n: Some(n),
                },
                variant: s.variant,
            }
        })
        .collect())
}

fn statistics(units: &UnitSums) -> Vec<Statistic> {
    let mut out = Vec::new();
    let has = |column: &str| units.column(column).is_some();
    let explained = |error, spread| {
        Box::new(move |t: &Totals<'_>| t.ratio(error, spread).map(|fvu| 1.0 - fvu)) as OfTotals
    };
    let [tokens, spread, error, raw_error] = EV_COLUMNS;
    let [robust_tokens, robust_spread, robust_error] = EV_ROBUST_COLUMNS;
    let [row_tokens, row_sum] = EV_TOKEN_COLUMNS;
    let mean = Box::new(move |t: &Totals<'_>| t.ratio(row_sum, row_tokens));
    for (measure, tokens, of) in [
        (EV_VAR, tokens, explained(error, spread)),
        (EV_MSE, tokens, explained(raw_error, spread)),
        (EV_TOKEN_MEAN, row_tokens, mean as OfTotals),
        (
            EV_VAR_ROBUST,
            robust_tokens,
            explained(robust_error, robust_spread),
        ),
    ] {
        if has(tokens) {
            out.push(Statistic {
                measure,
                variant: measure.variant.to_owned(),
                tokens,
                of,
            });
        }
    }
    for logits in [Logits::Aligned, Logits::PaperCode] {
        for weighted in [true, false] {
            let clean = cost_column(None, logits, weighted);
            if !has(&clean) {
                continue;
            }
            let weight = if weighted { "weighted" } else { "plain" };
            let name = format!("{}-{weight}", logits.name());
            out.push(counted(CLEAN_LOSS, name.clone(), {
                let clean = clean.clone();
                move |t| t.ratio(&clean, COUNTED)
            }));
            let zero = cost_column(Some(SpliceKind::Zero), logits, weighted);
            if has(&zero) {
                let zero = zero.clone();
                out.push(counted(ZERO_LOSS, name.clone(), move |t| {
                    t.ratio(&zero, COUNTED)
                }));
            }
            for splice in [SpliceKind::All, SpliceKind::Policy] {
                let spliced = cost_column(Some(splice), logits, weighted);
                if !has(&spliced) {
                    continue;
                }
                let variant = format!("{name}-{}", splice.name());
                out.push(counted(SPLICED_LOSS, variant.clone(), {
                    let spliced = spliced.clone();
                    move |t| t.ratio(&spliced, COUNTED)
                }));
                out.push(counted(DELTA_LM_LOSS, variant.clone(), {
                    let (clean, spliced) = (clean.clone(), spliced.clone());
                    move |t| Some(t.ratio(&spliced, COUNTED)? - t.ratio(&clean, COUNTED)?)
                }));
                // Of misaligned logits nothing is lost, so nothing can be recovered.
                if has(&zero) && logits == Logits::Aligned {
                    let (clean, zero) = (clean.clone(), zero.clone());
                    out.push(counted(LOSS_RECOVERED, variant, move |t| {
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
            out.push(counted(KL, variant, move |t| t.ratio(&kl, COUNTED)));
        }
    }
    out
}

fn counted(
    measure: Measure,
    variant: String,
    of: impl Fn(&Totals<'_>) -> Option<f64> + 'static,
) -> Statistic {
    Statistic {
        measure,
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
            .find(|v| v.measure.name == metric && v.variant == variant)
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
                .all(|v| v.estimate.n == Some(6) && !v.variant.contains("policy"))
        );
        assert!(found.iter().all(|v| v.measure.name != "ev"));
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
            let found = found.iter().find(|v| v.measure.name == metric).unwrap();
            found.estimate.std_err.unwrap()
        };
        assert!(error("clean_loss") > 0.1 && error("delta_lm_loss") < 1e-9);
    }
}
