//! LLaDA's orders: a block's masks are shared out equally over its steps.

use harness_sdk::{Error, RemaskNeeds, Remasker, Result, Step, Value};
use schedule::{count, reveal_largest};
use serde::Deserialize;

/// LLaDA's orders have no settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {}

/// `low_confidence` (largest probability first) or `random` (largest draw first).
///
/// A row's count per step is fixed at the first step of the block: `masks / steps` each, and one
/// more for the first `masks % steps` steps. The last step takes whatever is left.
#[derive(Debug)]
pub struct Llada {
    by_draw: bool,
    n_steps: usize,
    /// Masks of each row at the block's first step; empty before it. `[b]`
    masks: Vec<usize>,
}

impl Remasker for Llada {
    fn new(name: &str, config: &Value) -> Result<Self> {
        let by_draw = match name {
            "low_confidence" => false,
            "random" => true,
            other => return Err(Error::unsupported(format!("no order named `{other}`"))),
        };
        if !config.is_object() {
            return Err(Error::config(format!(
                "order `{name}`: {config} is not an object of settings"
            )));
        }
        let Config {} = serde_json::from_value(config.clone())
            .map_err(|error| Error::config(format!("order `{name}`: {error}")))?;
        Ok(Self {
            by_draw,
            n_steps: 0,
            masks: Vec::new(),
        })
    }

    fn needs(&self) -> RemaskNeeds {
        if self.by_draw {
            RemaskNeeds::UNIFORM
        } else {
            RemaskNeeds::CONFIDENCE
        }
    }

    fn begin(&mut self, n_steps: usize, _batch: usize) -> Result<()> {
        if n_steps == 0 {
            return Err(Error::invalid("a block of 0 steps reveals nothing"));
        }
        self.n_steps = n_steps;
        self.masks.clear();
        Ok(())
    }

    fn select(&mut self, step: &Step<'_>, reveal: &mut [u8]) -> Result<()> {
        if step.step >= self.n_steps {
            return Err(Error::invalid(format!(
                "step {} of a block of {} steps",
                step.step, self.n_steps
            )));
        }
        if step.step == 0 {
            self.masks = (0..step.batch)
                .map(|row| count(&step.eligible[row * step.len..(row + 1) * step.len]))
                .collect();
        }
        if self.masks.len() != step.batch {
            return Err(Error::invalid(format!(
                "step {} has {} rows, the block's first step had {}",
                step.step,
                step.batch,
                self.masks.len()
            )));
        }
        let statistic = if self.by_draw {
            step.uniform
        } else {
            step.confidence
        }; // [b, t]
        for (row, &masks) in self.masks.iter().enumerate() {
            let span = row * step.len..(row + 1) * step.len;
            let due = if step.step + 1 == self.n_steps {
                step.len
            } else {
                masks / self.n_steps + usize::from(step.step < masks % self.n_steps)
            };
            let statistic = &statistic[span.clone()]; // [t]
            reveal_largest(&step.eligible[span.clone()], &mut reveal[span], due, |i| {
                [f64::from(statistic[i])]
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(name: &str, masks: &[usize], n_steps: usize) -> Vec<Vec<usize>> {
        let len = masks.iter().copied().max().unwrap_or(0);
        let n = masks.len() * len;
        let mut eligible: Vec<u8> = masks
            .iter()
            .flat_map(|&m| (0..len).map(move |i| u8::from(i < m)))
            .collect();
        let key: Vec<f32> = (0..n).map(|i| ((i * 37) % 101) as f32 / 101.0).collect();
        let mut order = Llada::new(name, &json!({})).unwrap();
        order.begin(n_steps, masks.len()).unwrap();
        let mut revealed = Vec::new();
        for step in 0..n_steps {
            let mut reveal = vec![0; n];
            let view = Step {
                step,
                n_steps,
                batch: masks.len(),
                len,
                tokens: &vec![0; n],
                eligible: &eligible,
                candidate: &vec![0; n],
                confidence: &key,
                margin: &vec![0.0; n],
                neg_entropy: &vec![0.0; n],
                uniform: &key,
            };
            order.select(&view, &mut reveal).unwrap();
            // The best of what was left: no remaining position has a larger key.
            for row in 0..masks.len() {
                let at = |wanted: u8, i: usize| eligible[i] == 1 && reveal[i] == wanted;
                let span = row * len..(row + 1) * len;
                let worst = span.clone().filter(|&i| at(1, i)).map(|i| key[i]);
                let left = span.filter(|&i| at(0, i)).map(|i| key[i]);
                assert!(left.fold(f32::MIN, f32::max) <= worst.fold(f32::MAX, f32::min));
            }
            revealed.push(reveal.chunks(len).map(count).collect());
            for (e, r) in eligible.iter_mut().zip(&reveal) {
                *e -= r;
            }
        }
        assert!(eligible.iter().all(|&e| e == 0), "masks are left");
        revealed
    }

    #[test]
    fn counts_equal_the_reference_schedules() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../tests/parity/units/schedules.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        for case in all["llada_schedule"].as_array().unwrap() {
            let n = |name: &str| case[name].as_u64().unwrap() as usize;
            let got: Vec<usize> = run("low_confidence", &[n("masks")], n("steps"))
                .into_iter()
                .map(|rows| rows[0])
                .collect();
            assert_eq!(json!(got), case["transfer"], "{case}");
        }
    }

    #[test]
    fn rows_are_counted_apart() {
        for name in ["low_confidence", "random"] {
            let counts = run(name, &[15, 30, 7], 8);
            let row = |r: usize| counts.iter().map(|step| step[r]).collect::<Vec<_>>();
            assert_eq!(row(0), [2, 2, 2, 2, 2, 2, 2, 1]);
            assert_eq!(row(1), [4, 4, 4, 4, 4, 4, 3, 3]);
            assert_eq!(row(2), [1, 1, 1, 1, 1, 1, 1, 0]);
        }
    }

    #[test]
    fn a_step_out_of_the_block_and_a_stray_key_are_refused() {
        let mut order = Llada::new("random", &json!({})).unwrap();
        assert!(order.begin(0, 1).is_err());
        assert!(Llada::new("random", &json!({"eps": 0.1})).is_err());
        order.begin(2, 1).unwrap();
        let view = Step {
            step: 1,
            n_steps: 2,
            batch: 1,
            len: 1,
            tokens: &[0],
            eligible: &[1],
            candidate: &[0],
            confidence: &[0.5],
            margin: &[0.0],
            neg_entropy: &[0.0],
            uniform: &[0.5],
        };
        // The block's first step was never seen.
        assert!(order.select(&view, &mut [0]).is_err());
        assert!(order.select(&Step { step: 2, ..view }, &mut [0]).is_err());
    }
}
