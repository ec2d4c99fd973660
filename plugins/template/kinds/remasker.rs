//! A remasker: reveals masked positions from left to right, equally many at each step.
//!
//! Rows are independent, only eligible positions are revealed, and the last step leaves none.

use harness_sdk::{Error, RemaskNeeds, Remasker, Result, Step, Value};

struct LeftToRight {
    n_steps: usize,
}

impl Remasker for LeftToRight {
    fn new(_name: &str, config: &Value) -> Result<Self> {
        if config.as_object().is_none_or(|keys| !keys.is_empty()) {
            return Err(Error::config(format!(
                "this order takes no settings, not {config}"
            )));
        }
        Ok(Self { n_steps: 0 })
    }

    fn needs(&self) -> RemaskNeeds {
        // For example CONFIDENCE, MARGIN, NEG_ENTROPY or UNIFORM; what is not asked for holds
        // zeros. With FEATURES the host calls `features` before each `select`, where it is given
        // SAEs; a step without them must be an error.
        RemaskNeeds::NONE
    }

    fn begin(&mut self, n_steps: usize, _batch: usize) -> Result<()> {
        if n_steps == 0 {
            return Err(Error::invalid("a run of 0 steps reveals nothing"));
        }
        self.n_steps = n_steps;
        Ok(())
    }

    fn select(&mut self, step: &Step<'_>, reveal: &mut [u8]) -> Result<()> {
        if step.step >= self.n_steps {
            return Err(Error::invalid(format!(
                "step {} of a run of {} steps",
                step.step, self.n_steps
            )));
        }
        for row in 0..step.batch {
            let span = row * step.len..(row + 1) * step.len;
            let left = step.eligible[span.clone()].iter().filter(|&&e| e == 1);
            let due = left.count().div_ceil(self.n_steps - step.step);
            let eligible = span.filter(|&i| step.eligible[i] == 1);
            for position in eligible.take(due) {
                reveal[position] = 1;
            }
        }
        Ok(())
    }
}

harness_sdk::export_plugin! {
    id: "template",
    components: [ remasker "template" => LeftToRight: "from left to right" ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_positions_are_revealed_in_order() {
        let mut order = LeftToRight::new("template", &serde_json::json!({})).unwrap();
        order.begin(3, 1).unwrap();
        let mut eligible = [0_u8, 1, 1, 1, 1, 1];
        let mut counts = Vec::new();
        for step in 0..3 {
            let mut reveal = [0; 6];
            let view = Step {
                step,
                n_steps: 3,
                batch: 1,
                len: 6,
                tokens: &[0; 6],
                eligible: &eligible,
                candidate: &[0; 6],
                confidence: &[0.0; 6],
                margin: &[0.0; 6],
                neg_entropy: &[0.0; 6],
                uniform: &[0.0; 6],
            };
            order.select(&view, &mut reveal).unwrap();
            counts.push(reveal.iter().filter(|&&r| r == 1).count());
            for (e, r) in eligible.iter_mut().zip(reveal) {
                *e -= r;
            }
        }
        assert_eq!((counts, eligible), (vec![2, 2, 1], [0; 6]));
    }
}
