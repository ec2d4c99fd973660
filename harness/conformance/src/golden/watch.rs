//! What the checks keep of a run while it goes on.

use harness_engine::generate::{GenerateError, Observer, StepReport, TokenGrid, Wants};

use super::fixture::Array;

/// What steering found, chose and left in the first forward pass.
pub(super) struct FirstPass {
    /// `[b, t, d_model]`
    pub before: Array<f64>,
    /// `[b, t]`, 1 where the coefficient is not 0
    pub selected: Array<i64>,
    /// `[b, t, d_model]`
    pub after: Array<f64>,
}

/// Keeps the sequences, and what steering did in the first pass.
#[derive(Default)]
pub(super) struct Watch {
    pub states: Vec<TokenGrid>,
    /// Positions filled by each step. `[n_steps][b, t]`
    pub revealed: Vec<Vec<bool>>,
    pub first: Option<FirstPass>,
    steering: bool,
}

impl Watch {
    /// Watches a steered run.
    pub fn steered() -> Self {
        Self {
            steering: true,
            ..Self::default()
        }
    }
}

impl Observer for Watch {
    fn wants(&self) -> Wants {
        Wants {
            steering: self.steering,
            ..Wants::default()
        }
    }

    fn step(&mut self, report: &StepReport<'_>) -> Result<(), GenerateError> {
        if self.states.is_empty() {
            self.states.push(report.before.clone());
        }
        self.states.push(report.after.clone());
        self.revealed.push(report.revealed.to_vec());
        if let (None, Some(steered)) = (&self.first, report.steered) {
            self.first = Some(FirstPass {
                before: Array::of(&steered.before)?,
                selected: Array::of_ids(&steered.coeff.f_ne(0.0)?)?,
                after: Array::of(&steered.after)?,
            });
        }
        Ok(())
    }
}
