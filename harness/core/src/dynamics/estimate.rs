use super::{DynamicsError, DynamicsSums, Metric, PromptSums, Sums};
use crate::stats::{Bootstrap, Estimate};

/// Which layers a value is formed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// One layer, by its place in [`DynamicsSums::layers`].
    Layer(usize),
    /// All layers: their mean, since a transition counts in every layer or in none.
    AllLayers,
}

/// Which steps or positions a value is formed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Transitions `first..end` (k counted from 0). A count is that of one transition, on average.
    Steps {
        first: usize,
        /// One beyond the last.
        end: usize,
    },
    /// One generated position; `drift_post` is Eq. 21. A count is that of the whole run.
    Position(usize),
    /// The whole run; `drift_post` is Eq. 21, averaged over positions. A count is that of one
    /// transition, on average.
    Run,
}

/// A numerator and a denominator as sums of a unit.
type Ratio = (f64, f64);

impl DynamicsSums {
    /// Values with their standard errors over resampled prompts; all values see the same draws.
    /// What they are formed from is transitions of positions (one layer's) for shares, positions
    /// for Eq. 21, prompts for counts.
    ///
    /// # Errors
    /// Units that are ragged.
    pub fn estimates(
        &self,
        asked: &[(Metric, View, Cut)],
        bootstrap: Bootstrap,
    ) -> Result<Vec<Estimate>, DynamicsError> {
        self.check()?;
        // [unit][asked]
        let parts: Vec<Vec<Ratio>> = self
            .units
            .iter()
            .map(|unit| asked.iter().map(|what| self.part(unit, *what)).collect())
            .collect();
        let n = parts.len();
        let total = |drawn: &[usize]| {
            let mut times = vec![0_u32; n];
            for &unit in drawn {
                times[unit] += 1;
            }
            let mut totals: Vec<Ratio> = vec![(0.0, 0.0); asked.len()];
            for (part, times) in parts.iter().zip(times).filter(|(_, times)| *times > 0) {
                let weight = f64::from(times);
                for (total, part) in totals.iter_mut().zip(part) {
                    total.0 += weight * part.0;
                    total.1 += weight * part.1;
                }
            }
            totals
        };
        let found = bootstrap.estimates("units", n, |drawn| {
            total(drawn).into_iter().map(quotient).collect()
        });
        // Denominators of shares are counts of each layer, all of them the same.
        let count = |(metric, view, _): &(Metric, View, Cut), below: f64| match (metric, view) {
            (Metric::FlipCount, _) => self.n_prompts(),
            (_, View::Layer(_)) => below.round() as u64,
            (_, View::AllLayers) => (below / self.layers.len().max(1) as f64).round() as u64,
        };
        let below = total(&(0..n).collect::<Vec<_>>());
        let estimate = |((what, (_, below)), found)| Estimate {
            n: Some(count(what, below)),
            ..found
        };
        Ok(asked.iter().zip(below).zip(found).map(estimate).collect())
    }

    /// Numerator and denominator of one unit.
    fn part(&self, unit: &PromptSums, (metric, view, cut): (Metric, View, Cut)) -> Ratio {
        let is_eq21 = metric == Metric::DriftPost && !matches!(cut, Cut::Steps { .. });
        let by_position = matches!(cut, Cut::Position(_)) || is_eq21;
        let (sums, width) = match by_position {
            true => (&unit.by_position, self.n_positions),
            false => (&unit.by_step, self.n_steps),
        };
        let range = match cut {
            Cut::Steps { first, end } => first.min(width)..end.min(width),
            Cut::Position(i) => i.min(width)..(i + 1).min(width),
            Cut::Run => 0..width,
        };
        let layers = match view {
            View::Layer(l) => l..l + 1,
            View::AllLayers => 0..self.layers.len(),
        };
        let over = |value: &dyn Fn(&Sums, usize) -> f64| -> f64 {
            layers
                .clone()
                .flat_map(|l| range.clone().map(move |w| l * width + w))
                .map(|at| value(sums, at))
                .sum()
        };
        let n_layers = layers.len() as f64;
        let count = |list: &[u64]| list[range.clone()].iter().sum::<u64>() as f64 * n_layers;
        match metric {
            Metric::JaccardPre => (over(&|s, at| s.jaccard_pre[at]), count(&sums.n_pre)),
            Metric::DriftPost => (over(&|s, at| s.drift_post[at]), count(&sums.n_post)),
            Metric::LockRate => (over(&|s, at| s.locked[at] as f64), count(&sums.n_pre)),
            Metric::FlipCount => {
                // The first pass is no transition.
                let transitions = match cut {
                    Cut::Steps { .. } => range.end.saturating_sub(range.start.max(1)),
                    Cut::Run => self.n_steps.saturating_sub(1),
                    Cut::Position(_) => 1,
                };
                let prompts = unit.n_prompts as f64 * n_layers * transitions as f64;
                (over(&|s, at| s.flipped[at] as f64), prompts)
            }
        }
    }
}

fn quotient((above, below): Ratio) -> Option<f64> {
    (below != 0.0).then_some(above / below)
}
