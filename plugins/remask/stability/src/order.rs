//! The two orders.

use harness_sdk::{Error, Features, RemaskNeeds, Remasker, Result, Step, Value};
use schedule::{DreamSchedule, ScheduleError, count, reveal_largest};

use crate::{settings::Settings, track::Track};

/// `sae-stability` or `sae-stability-early`.
///
/// Every row is scheduled by its own masks and ordered by its own features, so that a batch changes
/// nothing.
#[derive(Debug)]
pub struct SaeStability {
    settings: Settings,
    schedule: DreamSchedule,
    track: Track,
}

impl Remasker for SaeStability {
    fn new(name: &str, config: &Value) -> Result<Self> {
        Ok(Self {
            settings: Settings::new(name, config)?,
            schedule: DreamSchedule::default(),
            track: Track::default(),
        })
    }

    fn needs(&self) -> RemaskNeeds {
        RemaskNeeds(RemaskNeeds::FEATURES.0 | RemaskNeeds::NEG_ENTROPY.0)
    }

    fn begin(&mut self, n_steps: usize, batch: usize) -> Result<()> {
        self.schedule = DreamSchedule::new(n_steps, self.settings.eps).map_err(invalid)?;
        self.track = Track::begin(batch);
        Ok(())
    }

    fn features(&mut self, features: &Features<'_>) -> Result<()> {
        self.track.update(features, &self.settings)
    }

    fn select(&mut self, step: &Step<'_>, reveal: &mut [u8]) -> Result<()> {
        let due = self.schedule.at(step.step).map_err(invalid)?;
        let positions = self.track.at(step.step, step.batch, step.len)?; // [b, t]
        for row in 0..step.batch {
            let span = row * step.len..(row + 1) * step.len;
            let eligible = &step.eligible[span.clone()]; // [t]
            let neg_entropy = &step.neg_entropy[span.clone()]; // [t]
            let positions = &positions[span.clone()]; // [t]
            let reveal = &mut reveal[span]; // [t]
            reveal_largest(eligible, reveal, due.of(count(eligible)), |i| {
                let stability = positions[i].value.unwrap_or(f64::NAN);
                [stability, f64::from(neg_entropy[i])]
            });
            if let Some(early) = self.settings.early {
                for ((out, &is), position) in reveal.iter_mut().zip(eligible).zip(positions) {
                    *out |= u8::from(is == 1 && position.streak >= early.patience);
                }
            }
        }
        Ok(())
    }
}

/// A step or a run that the schedule does not have, as the host is told.
fn invalid(error: ScheduleError) -> Error {
    Error::invalid(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_sdk::ErrorCode;
    use serde_json::json;

    const NAN: f32 = f32::NAN;

    /// One row decoded to its end with one encoded layer.
    struct Row {
        order: SaeStability,
        eligible: Vec<u8>,
        n_steps: usize,
        step: usize,
    }

    impl Row {
        fn new(name: &str, config: Value, masks: usize, n_steps: usize) -> Self {
            let mut order = SaeStability::new(name, &config).unwrap();
            order.begin(n_steps, 1).unwrap();
            let eligible = vec![1; masks];
            Self {
                order,
                eligible,
                n_steps,
                step: 0,
            }
        }

        /// Positions that the next step fills.
        fn next(&mut self, jaccard: &[f32], neg_entropy: &[f32]) -> Vec<usize> {
            let filled = step(
                &mut self.order,
                (self.step, self.n_steps),
                &self.eligible,
                1,
                jaccard,
                neg_entropy,
            );
            for &position in &filled {
                self.eligible[position] = 0;
            }
            self.step += 1;
            filled
        }
    }

    /// What a step of a batch fills, of a step and its run's steps.
    fn step(
        order: &mut SaeStability,
        (step, n_steps): (usize, usize),
        eligible: &[u8],
        batch: usize,
        jaccard: &[f32],
        neg_entropy: &[f32],
    ) -> Vec<usize> {
        let n = eligible.len();
        let features = Features {
            step,
            layers: &[3],
            batch,
            len: n / batch,
            jaccard,
            top1_same: jaccard,
        };
        order.features(&features).unwrap();
        let mut reveal = vec![0; n];
        let view = view((step, n_steps), batch, eligible, neg_entropy);
        order.select(&view, &mut reveal).unwrap();
        (0..n).filter(|&i| reveal[i] == 1).collect()
    }

    fn view<'a>(
        (step, n_steps): (usize, usize),
        batch: usize,
        eligible: &'a [u8],
        neg_entropy: &'a [f32],
    ) -> Step<'a> {
        Step {
            step,
            n_steps,
            batch,
            len: eligible.len() / batch,
            tokens: &[],
            eligible,
            candidate: &[],
            confidence: &[],
            margin: &[],
            neg_entropy,
            uniform: &[],
        }
    }

    #[test]
    fn the_most_stable_are_filled_first_and_entropy_decides_where_nothing_else_does() {
        // eps 0.2 in 4 steps: of 9 masks 9/5, of 8 masks 8/4, of 6 masks 6/3 and then the rest are
        // filled.
        let config = json!({"eps": 0.2});
        let mut row = Row::new("sae-stability", config, 9, 4);
        // No feature has a value in the first pass: position 7 has the least entropy.
        let entropy = [-3.0, -2.0, -2.5, -1.5, -2.2, -4.0, -5.0, -0.1, -6.0];
        assert_eq!(row.next(&[NAN; 9], &entropy), [7]);
        // Position 6 is the most stable; 0, 2 and 5 follow with equal stability, 2 of less entropy.
        let jaccard = [0.5, 0.1, 0.5, 0.2, 0.3, 0.5, 0.9, 1.0, 0.0];
        assert_eq!(row.next(&jaccard, &entropy), [2, 6]);
        // Only 8 and 0 have a value, whatever their entropy.
        let jaccard = [0.01, NAN, 1.0, NAN, NAN, NAN, 1.0, 1.0, 0.0];
        assert_eq!(row.next(&jaccard, &entropy), [0, 8]);
        assert_eq!(row.next(&[0.5; 9], &entropy), [1, 3, 4, 5]);
        assert_eq!(row.eligible, [0; 9]);
    }

    #[test]
    fn without_values_the_order_is_that_of_entropy() {
        let mut row = Row::new("sae-stability", json!({"eps": 0.2}), 6, 2);
        // t = 1, 0.6, 0.2: 6 · 0.4 = 2.4 and then the rest.
        let entropy = [-1.0, -3.0, NAN, -0.5, -1.0, -7.0];
        assert_eq!(row.next(&[NAN; 6], &entropy), [0, 3]);
        assert_eq!(row.next(&[NAN; 6], &[NAN; 6]), [1, 2, 4, 5]);
    }

    #[test]
    fn smoothing_remembers() {
        let entropy = [-1.0; 4];
        let filled = |config| {
            // t = 1, 0.7, 0.4, 0.1: 4 · 0.3, 3 · 0.43 and the rest.
            let mut row = Row::new("sae-stability", config, 4, 3);
            let first = row.next(&[0.9, 0.8, 0.1, 0.2], &entropy);
            (first, row.next(&[0.0, 0.3, 0.5, 0.4], &entropy))
        };
        // Position 1 has 0.5 · 0.8 + 0.5 · 0.3 = 0.55, position 2 only 0.3, though it is the more
        // stable of this pass.
        let smoothed = filled(json!({"eps": 0.1, "smoothing": 0.5}));
        assert_eq!(smoothed, (vec![0], vec![1]));
        assert_eq!(filled(json!({"eps": 0.1})), (vec![0], vec![2]));
    }

    #[test]
    fn early_fills_what_was_stable_long_enough_and_ends_before_the_last_step() {
        let entropy = [-1.0, -2.0, -3.0, -4.0];
        let passes = [
            [NAN; 4],
            [0.95, 0.9, 1.0, 0.5],
            [0.9, 0.9, 0.1, 0.95],
            [1.0; 4],
        ];
        // In 8 steps with eps 0.001 four masks are due as 0, 0, 0, 0, 1, ...: what comes before is
        // early.
        let mut row = Row::new("sae-stability-early", json!({}), 4, 8);
        let filled = passes.map(|jaccard| row.next(&jaccard, &entropy));
        // After the third pass 0 and 1 were stable twice; after the fourth 3 was, and 2 once only.
        assert_eq!(filled, [vec![], vec![], vec![0, 1], vec![3]]);
        assert_eq!(row.next(&[1.0; 4], &entropy), [2]);
        assert_eq!(row.eligible, [0; 4], "done in 5 of 8 steps");

        let mut patient = Row::new("sae-stability", json!({}), 4, 8);
        let filled = passes.map(|jaccard| patient.next(&jaccard, &entropy));
        assert_eq!(filled.map(|f| f.len()), [0; 4]);

        let config = json!({"patience": 1, "threshold": 1.0});
        let mut hasty = Row::new("sae-stability-early", config, 4, 8);
        let filled = passes.map(|jaccard| hasty.next(&jaccard, &entropy));
        assert_eq!(filled, [vec![], vec![2], vec![], vec![0, 1, 3]]);
    }

    #[test]
    fn a_row_is_decoded_as_if_it_were_alone() {
        let noise = |i: usize| ((i * 7919) % 101) as f32 / 101.0;
        for name in ["sae-stability", "sae-stability-early"] {
            let config = json!({"smoothing": 0.3});
            let decode = |rows: &[usize]| -> Vec<Vec<usize>> {
                let mut order = SaeStability::new(name, &config).unwrap();
                order.begin(6, rows.len()).unwrap();
                // Row r has its masks from position r on.
                let mut eligible: Vec<u8> = rows
                    .iter()
                    .flat_map(|&row| (0..10).map(move |i| u8::from(i >= row)))
                    .collect();
                (0..6)
                    .map(|at| {
                        let draw = |salt: usize| -> Vec<f32> {
                            let place =
                                |row: usize, i: usize| noise(salt + at * 1000 + row * 10 + i);
                            rows.iter()
                                .flat_map(|&row| (0..10).map(move |i| place(row, i)))
                                .collect()
                        };
                        let (jaccard, entropy) = (draw(0), draw(77));
                        let n = (at, 6);
                        let filled = step(&mut order, n, &eligible, rows.len(), &jaccard, &entropy);
                        for &i in &filled {
                            eligible[i] = 0;
                        }
                        filled.into_iter().filter(|&i| i < 10).collect()
                    })
                    .collect()
            };
            assert_eq!(decode(&[4, 0, 2]), decode(&[4]), "{name}");
            assert_eq!(decode(&[4]).concat().len(), 6, "{name}: none is left");
        }
    }

    #[test]
    fn a_step_without_its_features_is_an_error_that_says_so() {
        let mut order = SaeStability::new("sae-stability", &json!({})).unwrap();
        let needs = order.needs().0;
        assert_eq!(needs, RemaskNeeds::FEATURES.0 | RemaskNeeds::NEG_ENTROPY.0);
        order.begin(4, 1).unwrap();
        let entropy = [-1.0; 2];
        let missed = |order: &mut SaeStability, at: usize| {
            let error = order
                .select(&view((at, 4), 1, &[1, 1], &entropy), &mut [0; 2])
                .unwrap_err();
            assert_eq!(error.code(), ErrorCode::INVALID_ARGUMENT);
            let says = format!("no SAE features came for step {at}");
            assert!(error.message().contains(&says), "{}", error.message());
        };
        missed(&mut order, 0);
        step(&mut order, (0, 4), &[1, 1], 1, &[0.5; 2], &entropy);
        // Those of one step do not serve twice, nor the next, nor the next run.
        missed(&mut order, 0);
        missed(&mut order, 1);
        step(&mut order, (1, 4), &[1, 1], 1, &[0.5; 2], &entropy);
        order.begin(4, 1).unwrap();
        missed(&mut order, 0);
    }

    #[test]
    fn a_step_out_of_the_run_is_refused() {
        let mut order = SaeStability::new("sae-stability", &json!({})).unwrap();
        assert!(order.begin(0, 1).is_err());
        order.begin(2, 1).unwrap();
        let outside = view((2, 2), 1, &[1], &[-1.0]);
        assert!(order.select(&outside, &mut [0]).is_err());
    }
}
