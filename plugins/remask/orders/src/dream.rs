//! Dream's orders. Time runs from 1 to `eps`; at each step the share `1 - t[i+1] / t[i]` of a row's
//! masks is due.

use harness_sdk::{Error, RemaskNeeds, Remasker, Result, Step, Value};
use schedule::{DreamSchedule, ScheduleError, check_eps, count, reveal_largest};
use serde::Deserialize;

/// Configuration of Dream's orders.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Last time point.
    eps: f32,
    /// Temperature of sampling positions instead of taking the best ones; none or 0 takes the best.
    alg_temp: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            eps: 1e-3,
            alg_temp: None,
        }
    }
}

/// What the positions are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Draw,
    Probability,
    Margin,
    Entropy,
}

/// `origin`, `maskgit_plus`, `topk_margin` or `entropy`.
///
/// With `alg_temp` positions are drawn without replacement with weights softmax(statistic /
/// alg_temp). Adding Gumbel noise to the log-weights and taking the largest has that distribution
/// and needs one draw a position.
#[derive(Debug)]
pub struct Dream {
    order: Order,
    eps: f32,
    alg_temp: Option<f64>,
    schedule: DreamSchedule,
}

impl Remasker for Dream {
    fn new(name: &str, config: &Value) -> Result<Self> {
        let order = match name {
            "origin" => Order::Draw,
            "maskgit_plus" => Order::Probability,
            "topk_margin" => Order::Margin,
            "entropy" => Order::Entropy,
            other => return Err(Error::unsupported(format!("no order named `{other}`"))),
        };
        if !config.is_object() {
            return Err(Error::config(format!(
                "order `{name}`: {config} is not an object of settings"
            )));
        }
        let config: Config = serde_json::from_value(config.clone())
            .map_err(|error| Error::config(format!("order `{name}`: {error}")))?;
        check_eps(config.eps).map_err(|error| Error::config(format!("order `{name}`: {error}")))?;
        if let Some(alg_temp) = config.alg_temp
            && !(alg_temp >= 0.0 && alg_temp.is_finite())
        {
            return Err(Error::config(format!(
                "order `{name}`: alg_temp {alg_temp} is not a finite number from 0 up"
            )));
        }
        if order == Order::Draw && config.alg_temp.is_some_and(|alg_temp| alg_temp > 0.0) {
            return Err(Error::config(
                "order `origin`: alg_temp has no meaning where every position has its own draw",
            ));
        }
        Ok(Self {
            order,
            eps: config.eps,
            alg_temp: config.alg_temp.filter(|&alg_temp| alg_temp > 0.0),
            schedule: DreamSchedule::default(),
        })
    }

    fn needs(&self) -> RemaskNeeds {
        let statistic = match self.order {
            Order::Draw => RemaskNeeds::UNIFORM,
            Order::Probability => RemaskNeeds::CONFIDENCE,
            Order::Margin => RemaskNeeds::MARGIN,
            Order::Entropy => RemaskNeeds::NEG_ENTROPY,
        };
        match self.alg_temp {
            Some(_) => RemaskNeeds(statistic.0 | RemaskNeeds::UNIFORM.0),
            None => statistic,
        }
    }

    fn begin(&mut self, n_steps: usize, _batch: usize) -> Result<()> {
        self.schedule = DreamSchedule::new(n_steps, self.eps).map_err(invalid)?;
        Ok(())
    }

    fn select(&mut self, step: &Step<'_>, reveal: &mut [u8]) -> Result<()> {
        let due = self.schedule.at(step.step).map_err(invalid)?;
        for row in 0..step.batch {
            let span = row * step.len..(row + 1) * step.len;
            let eligible = &step.eligible[span.clone()]; // [t]
            let uniform = &step.uniform[span.clone()]; // [t]
            let statistic = match self.order {
                Order::Draw => uniform,
                Order::Probability => &step.confidence[span.clone()],
                Order::Margin => &step.margin[span.clone()],
                Order::Entropy => &step.neg_entropy[span.clone()],
            }; // [t]
            let reveal = &mut reveal[span]; // [t]
            if self.order == Order::Draw {
                for ((out, &is), &draw) in reveal.iter_mut().zip(eligible).zip(uniform) {
                    *out = u8::from(is == 1 && (due.is_last || draw < due.share));
                }
                continue;
            }
            let n = due.of(count(eligible));
            reveal_largest(eligible, reveal, n, |i| {
                let statistic = f64::from(statistic[i]);
                match self.alg_temp {
                    Some(alg_temp) => [statistic / alg_temp + gumbel(uniform[i])],
                    None => [statistic],
                }
            });
        }
        Ok(())
    }
}

/// A step or a run that the schedule does not have, as the host is told.
fn invalid(error: ScheduleError) -> Error {
    Error::invalid(error.to_string())
}

/// Standard Gumbel noise from a draw in [0, 1).
fn gumbel(uniform: f32) -> f64 {
    -(-f64::from(uniform).ln()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Runs `order` over rows of masks and returns what each step reveals, per row.
    fn run(
        order: &mut Dream,
        masks: &[usize],
        n_steps: usize,
        draw: impl Fn(usize, usize) -> f32,
    ) -> Vec<Vec<usize>> {
        let len = masks.iter().copied().max().unwrap_or(0);
        let n = masks.len() * len;
        let mut eligible: Vec<u8> = masks
            .iter()
            .flat_map(|&m| (0..len).map(move |i| u8::from(i < m)))
            .collect();
        order.begin(n_steps, masks.len()).unwrap();
        let mut revealed = Vec::new();
        for step in 0..n_steps {
            let uniform: Vec<f32> = (0..n).map(|i| draw(step, i)).collect();
            let mut reveal = vec![0; n];
            let view = Step {
                step,
                n_steps,
                batch: masks.len(),
                len,
                tokens: &vec![0; n],
                eligible: &eligible,
                candidate: &vec![0; n],
                confidence: &uniform,
                margin: &uniform,
                neg_entropy: &uniform,
                uniform: &uniform,
            };
            order.select(&view, &mut reveal).unwrap();
            assert!(reveal.iter().zip(&eligible).all(|(r, e)| r <= e));
            revealed.push(reveal.chunks(len).map(count).collect());
            for (e, r) in eligible.iter_mut().zip(&reveal) {
                *e -= r;
            }
        }
        assert!(eligible.iter().all(|&e| e == 0), "masks are left");
        revealed
    }

    fn draw(step: usize, i: usize) -> f32 {
        ((step * 7919 + i * 104_729) % 1009) as f32 / 1009.0
    }

    #[test]
    fn counts_equal_the_reference_schedules() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../tests/parity/units/schedules.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        for case in all["dream_schedule"].as_array().unwrap() {
            let n = |name: &str| case[name].as_u64().unwrap() as usize;
            let mut order = Dream::new("entropy", &json!({"eps": case["eps"]})).unwrap();
            let got: Vec<usize> = run(&mut order, &[n("masks")], n("steps"), draw)
                .into_iter()
                .map(|rows| rows[0])
                .collect();
            assert_eq!(json!(got), case["transfer"], "{case}");
        }
        for (steps, want) in all["dream_p_transfer"].as_object().unwrap() {
            let n_steps = steps.parse().unwrap();
            let schedule = DreamSchedule::new(n_steps, 1e-3).unwrap();
            // The reference table states the last step as 1: everything left.
            let share = |due: schedule::Due| if due.is_last { 1.0 } else { due.share };
            let got: Vec<f32> = (0..n_steps)
                .map(|step| share(schedule.at(step).unwrap()))
                .collect();
            let want: Vec<f32> = serde_json::from_value(want.clone()).unwrap();
            assert_eq!(got, want, "{steps} steps");
        }
    }

    #[test]
    fn as_many_steps_as_masks_reveal_none_at_first_and_two_at_last() {
        for name in ["maskgit_plus", "topk_margin", "entropy"] {
            let mut order = Dream::new(name, &json!({})).unwrap();
            let counts = run(&mut order, &[30], 30, draw);
            assert_eq!((counts[0][0], counts[29][0]), (0, 2));
            assert!(counts[1..29].iter().all(|rows| rows[0] == 1));
        }
    }

    #[test]
    fn a_row_is_scheduled_by_its_own_masks() {
        for name in ["origin", "maskgit_plus", "topk_margin", "entropy"] {
            let alone = |masks| {
                let mut order = Dream::new(name, &json!({})).unwrap();
                run(&mut order, &[masks, 30], 12, |step, i| draw(step, i % 30))
            };
            let both = alone(17);
            let mut order = Dream::new(name, &json!({})).unwrap();
            let single = run(&mut order, &[30], 12, |step, i| draw(step, i % 30));
            for step in 0..12 {
                assert_eq!(both[step][1], single[step][0], "{name} step {step}");
            }
        }
    }

    #[test]
    fn origin_reveals_by_the_draw() {
        let mut order = Dream::new("origin", &json!({})).unwrap();
        order.begin(4, 1).unwrap();
        let p = 1.0 - (1.0 + (1e-3_f32 - 1.0) / 4.0);
        let uniform = [p - 1e-3, p + 1e-3, 0.0, 0.999];
        let mut reveal = [0; 4];
        let view = Step {
            step: 0,
            n_steps: 4,
            batch: 1,
            len: 4,
            tokens: &[0; 4],
            eligible: &[1, 1, 0, 1],
            candidate: &[0; 4],
            confidence: &[0.0; 4],
            margin: &[0.0; 4],
            neg_entropy: &[0.0; 4],
            uniform: &uniform,
        };
        order.select(&view, &mut reveal).unwrap();
        assert_eq!(reveal, [1, 0, 0, 0]);
        order
            .select(&Step { step: 3, ..view }, &mut reveal)
            .unwrap();
        assert_eq!(reveal, [1, 1, 0, 1]);
    }

    #[test]
    fn alg_temp_draws_by_softmax_weights() {
        let mut order = Dream::new("maskgit_plus", &json!({"alg_temp": 0.5})).unwrap();
        assert_eq!(order.needs(), RemaskNeeds(1 | 8));
        order.begin(2, 1).unwrap();
        let confidence = [0.1_f32, 0.3, 0.5, 0.7];
        let weights = confidence.map(|c| (f64::from(c) / 0.5).exp());
        let total: f64 = weights.iter().sum();
        let mut hits = [0_u32; 4];
        let n = 40_000;
        let mut state = 1_u64;
        for _ in 0..n {
            let uniform: [f32; 4] = std::array::from_fn(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1_u64 << 24) as f32
            });
            let mut reveal = [0; 4];
            let view = Step {
                step: 0,
                n_steps: 2,
                batch: 1,
                len: 4,
                tokens: &[0; 4],
                eligible: &[1; 4],
                candidate: &[0; 4],
                confidence: &confidence,
                margin: &[0.0; 4],
                neg_entropy: &[0.0; 4],
                uniform: &uniform,
            };
            order.select(&view, &mut reveal).unwrap();
            // 4 masks in 2 steps: trunc(4 · 0.4995) = 1.
            assert_eq!(count(&reveal), 1);
            for (hit, r) in hits.iter_mut().zip(reveal) {
                *hit += u32::from(r);
            }
        }
        for (hit, weight) in hits.iter().zip(weights) {
            let (got, want) = (f64::from(*hit) / f64::from(n), weight / total);
            // Four standard errors of a share of 40,000 draws are at most 0.01.
            assert!((got - want).abs() < 0.01, "{got} {want}");
        }
    }

    #[test]
    fn configuration_is_checked() {
        let code = |name: &str, config| Dream::new(name, &config).unwrap_err();
        assert!(
            code("entropy", json!({"epz": 1}))
                .message()
                .contains("`epz`")
        );
        for config in [
            json!({"eps": 0.0}),
            json!({"eps": 1.5}),
            json!({"alg_temp": -1.0}),
            json!([1]),
        ] {
            assert_eq!(
                code("entropy", config).code(),
                harness_sdk::ErrorCode::CONFIG
            );
        }
        assert_eq!(
            code("origin", json!({"alg_temp": 0.5})).code(),
            harness_sdk::ErrorCode::CONFIG
        );
        assert!(Dream::new("entropy", &json!({"alg_temp": null})).is_ok());
        assert_eq!(
            code("nothing", json!({})).code(),
            harness_sdk::ErrorCode::UNSUPPORTED
        );
    }
}
