//! Dream's schedule. Time runs from 1 to `eps`; at each step the share `1 - t[i+1] / t[i]` of a
//! row's masks is due.

/// What a schedule cannot be made of or asked for.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// The last time point lies outside the run.
    #[error("eps {0} is not between 0 and 1")]
    Eps(f32),
    /// There would be no step to fill anything at.
    #[error("a run of 0 steps reveals nothing")]
    NoSteps,
    /// A step that the run does not have.
    #[error("step {step} of a run of {n_steps} steps")]
    Step {
        /// The step, from 0.
        step: usize,
        /// Steps of the run.
        n_steps: usize,
    },
}

/// Checks a last time point.
///
/// # Errors
/// One that is not between 0 and 1.
pub fn check_eps(eps: f32) -> Result<(), ScheduleError> {
    if eps > 0.0 && eps < 1.0 {
        Ok(())
    } else {
        Err(ScheduleError::Eps(eps))
    }
}

/// The shares of one run; the default is a run that has not begun.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DreamSchedule {
    shares: Vec<f32>, // [n_steps]
}

/// What is due at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Due {
    /// Share of the masks, in [0, 1).
    pub share: f32,
    /// Whether everything left is due.
    pub is_last: bool,
}

impl DreamSchedule {
    /// The schedule of a run of `n_steps` steps whose last time point is `eps`.
    ///
    /// # Errors
    /// No steps, or an `eps` that [`check_eps`] refuses.
    pub fn new(n_steps: usize, eps: f32) -> Result<Self, ScheduleError> {
        check_eps(eps)?;
        if n_steps == 0 {
            return Err(ScheduleError::NoSteps);
        }
        Ok(Self {
            shares: shares(n_steps, eps),
        })
    }

    /// What is due at a step.
    ///
    /// # Errors
    /// A step that the run does not have.
    pub fn at(&self, step: usize) -> Result<Due, ScheduleError> {
        let n_steps = self.shares.len();
        match self.shares.get(step) {
            Some(&share) => Ok(Due {
                share,
                is_last: step + 1 == n_steps,
            }),
            None => Err(ScheduleError::Step { step, n_steps }),
        }
    }
}

impl Due {
    /// Of a row's `masks`, how many are due.
    #[must_use]
    pub fn of(self, masks: usize) -> usize {
        if self.is_last {
            masks
        } else {
            // In f32 as the reference: 30 masks in 30 steps give 0 at the first step and 2 at the
            // last.
            (masks as f32 * self.share) as usize
        }
    }
}

/// Share of the masks that is due at each step, `1 - t[i+1] / t[i]` in f32. `[n_steps]`
fn shares(n_steps: usize, eps: f32) -> Vec<f32> {
    let step = (eps - 1.0) / n_steps as f32;
    // Time points as the reference's linspace: each half counts from its own end, rounded once.
    let time = |i: usize| {
        if i < n_steps.div_ceil(2) {
            step.mul_add(i as f32, 1.0)
        } else {
            (-step).mul_add((n_steps - i) as f32, eps)
        }
    };
    (0..n_steps).map(|i| 1.0 - time(i + 1) / time(i)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_truncated_and_the_last_step_takes_the_rest() {
        // eps 0.2 in 4 steps: t = 1, 0.8, 0.6, 0.4, 0.2, so 1/5, 1/4, 1/3 and 1/2 of the masks
        // would be due.
        let schedule = DreamSchedule::new(4, 0.2).unwrap();
        let mut left = 11;
        let mut filled = Vec::new();
        for step in 0..4 {
            let due = schedule.at(step).unwrap().of(left);
            filled.push(due);
            left -= due;
        }
        // 11/5, 9/4, 7/3 and all of 5.
        assert_eq!(filled, [2, 2, 2, 5]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for eps in [0.0, 1.0, -0.1, f32::NAN] {
            assert!(DreamSchedule::new(3, eps).is_err(), "{eps}");
        }
        assert_eq!(DreamSchedule::new(0, 0.1), Err(ScheduleError::NoSteps));
        let outside = ScheduleError::Step {
            step: 3,
            n_steps: 3,
        };
        assert_eq!(DreamSchedule::new(3, 0.1).unwrap().at(3), Err(outside));
        assert!(DreamSchedule::default().at(0).is_err(), "not begun");
    }
}
