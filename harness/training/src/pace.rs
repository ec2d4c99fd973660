//! How long the rest of a run takes.

/// What a unit of work takes: as measured, else as expected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    seconds: f64,
    units: f64,
    expected: Option<f64>,
}

impl Rate {
    /// A rate of which so many seconds a unit are expected, where anything is known.
    pub(crate) fn expected(seconds: Option<f64>) -> Rate {
        Rate {
            expected: seconds,
            ..Rate::default()
        }
    }

    /// So many units took so long.
    pub(crate) fn add(&mut self, units: f64, seconds: f64) {
        self.units += units;
        self.seconds += seconds;
    }

    /// Seconds a unit.
    fn of_one(&self) -> Option<f64> {
        match self.units > 0.0 {
            true => Some(self.seconds / self.units),
            false => self.expected,
        }
    }
}

/// The two kinds of work of a run. Buffers are filled and used up in turns, so what was done so far
/// says little of what is left unless the kinds are told apart.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Tokens through the model and into the buffers.
    pub tokens: Rate,
    /// Optimiser steps of a policy.
    pub steps: Rate,
    /// What a step takes beside a token, by their operations: until a step was made.
    pub step_in_tokens: f64,
}

impl Pace {
    /// Seconds for what is left; `None` before anything was measured.
    pub(crate) fn left(&self, tokens: f64, steps: f64) -> Option<f64> {
        let token = self.tokens.of_one();
        let step = match self.steps.of_one() {
            Some(step) => step,
            None => token? * self.step_in_tokens,
        };
        let tokens = match tokens > 0.0 {
            true => tokens * token?,
            false => 0.0,
        };
        Some(tokens + steps * step)
    }
}

/// What a step takes beside a token: the operations of an encoder's product, once forward and half
/// as much for the rest, beside those of the blocks that a token goes through.
pub(crate) fn step_in_tokens(rows: f64, encoder_numbers: f64, block_numbers: f64) -> f64 {
    1.5 * rows * encoder_numbers / block_numbers.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filling_and_training_are_told_apart() {
        let mut pace = Pace {
            step_in_tokens: 50.0,
            ..Pace::default()
        };
        assert_eq!(pace.left(1000.0, 10.0), None);
        // Filling the first buffer: a step is expected to take as long as 50 tokens.
        pace.tokens.add(100.0, 2.0);
        assert_eq!(pace.left(1000.0, 10.0), Some(20.0 + 10.0));
        // Steps turn out to be slower; a second buffer's worth of both is left.
        pace.steps.add(5.0, 10.0);
        assert_eq!(pace.left(1000.0, 10.0), Some(20.0 + 20.0));
        assert_eq!(pace.left(0.0, 1.0), Some(2.0));
    }

    #[test]
    fn a_run_that_goes_on_knows_its_steps() {
        let mut pace = Pace {
            steps: Rate::expected(Some(0.5)),
            ..Pace::default()
        };
        assert_eq!(pace.left(10.0, 4.0), None);
        assert_eq!(pace.left(0.0, 4.0), Some(2.0));
        pace.tokens.add(10.0, 1.0);
        assert_eq!(pace.left(10.0, 4.0), Some(3.0));
    }
}
