use serde::{Deserialize, Serialize};

/// What a run may spend on a judge, all its workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Questions sent at most.
    pub max_calls: Option<u64>,
    pub max_usd: Option<f64>,
}

/// What was spent, or is reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Questions sent.
    pub calls: u64,
    /// USD; 0 where no price is known.
    pub usd: f64,
}

impl Budget {
    /// How many of the next questions fit, given what each costs in the worst case in USD.
    pub fn fitting(&self, spent: Spent, worst_usd: impl IntoIterator<Item = f64>) -> usize {
        let mut after = spent;
        worst_usd
            .into_iter()
            .take_while(|usd| {
                after.calls += 1;
                after.usd += usd;
                self.max_calls.is_none_or(|most| after.calls <= most)
                    && self.max_usd.is_none_or(|most| after.usd <= most)
            })
            .count()
    }

    /// Why the next question does not fit.
    pub fn exceeded(&self, spent: Spent, next_usd: f64) -> String {
        match self.max_calls {
            Some(most) if spent.calls >= most => {
                format!("the judge's budget of {most} calls (--max-calls) is used up")
            }
            _ => format!(
                "the judge's budget of ${} (--max-cost) does not cover another question: ${:.6} are spent or reserved, and \
                 the next may cost ${next_usd:.6}",
                self.max_usd.unwrap_or(0.0),
                spent.usd
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is sent, the worst case never exceeds the budget, and what fits is not held
        /// back.
        #[test]
        fn what_fits_never_exceeds_the_budget(
            calls in 0_u64..5, usd in 0.0..2.0_f64,
            max_calls in prop::option::of(0_u64..8), max_usd in prop::option::of(0.0..4.0_f64),
            costs in prop::collection::vec(0.0..1.0_f64, 0..8),
        ) {
            let budget = Budget { max_calls, max_usd };
            let spent = Spent { calls, usd };
            let n = budget.fitting(spent, costs.iter().copied());
            let fits = |n: usize| {
                let total = costs[..n].iter().fold(usd, |sum, cost| sum + cost);
                max_calls.is_none_or(|most| calls + n as u64 <= most)
                    && max_usd.is_none_or(|most| total <= most)
            };
            prop_assert!(n == 0 || fits(n));
            prop_assert!(n == costs.len() || !fits(n + 1));
        }
    }

    #[test]
    fn the_message_names_the_limit_that_was_met() {
        let budget = Budget {
            max_calls: Some(3),
            max_usd: Some(0.5),
        };
        let spent = |calls, usd| Spent { calls, usd };
        assert!(budget.exceeded(spent(3, 0.0), 0.1).contains("3 calls"));
        assert!(budget.exceeded(spent(2, 0.45), 0.1).contains("$0.5"));
    }
}
