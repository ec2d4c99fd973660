//! What the checks keep of a run while it goes on.

use tch::Tensor;

use super::fixture::Array;
use crate::generate::{GenerateError, Observer, Steered, StepReport, TokenGrid, Wants};
use crate::plugin::Sae;

/// What steering found, chose and left in the first forward pass.
pub(super) struct FirstPass {
    /// `[b, t, d_model]`
    pub before: Array<f64>,
    /// `[b, t]`, 1 where the coefficient is not 0
    pub selected: Array<i64>,
    /// `[b, t, d_model]`
    pub after: Array<f64>,
}

/// A scope that picks the `k` positions of largest activation of a latent.
///
/// Where the k-th and the next largest are equal (inactive positions are all 0) the rule leaves the choice open: the reference's is an accident
/// of its selection algorithm, and what follows is no longer comparable.
pub(super) struct Ranking<'a> {
    pub sae: &'a Sae,
    pub latent: i64,
    pub k: usize,
}

impl Ranking<'_> {
    /// Whether the choice of some row of this pass is left open. `resid: [b, t, d_model]` before steering.
    fn is_open(
        &self,
        resid: &Tensor,
        grid: &TokenGrid,
        start: usize,
    ) -> Result<bool, GenerateError> {
        let [b, t, d_model] = resid.size()[..] else {
            return Ok(false);
        };
        let rows = resid.f_contiguous()?.f_view([-1, d_model])?;
        let acts = self
            .sae
            .latent_acts(&rows, &Tensor::f_from_slice(&[self.latent])?)?; // [b·t, 1]
        let acts = Vec::<f32>::try_from(
            &acts
                .f_to_device(tch::Device::Cpu)?
                .f_contiguous()?
                .f_view([-1])?,
        )?;
        let (b, t) = (b as usize, t as usize);
        let open = |r: usize| {
            let valid = (0..t).filter(|c| grid.is_valid(r * grid.t() + start + c));
            let mut ranked: Vec<f32> = valid.map(|c| acts[r * t + c]).collect();
            ranked.sort_by(|a, b| b.total_cmp(a));
            self.k > 0 && self.k < ranked.len() && ranked[self.k - 1] == ranked[self.k]
        };
        Ok((0..b).any(open))
    }
}

/// Keeps the sequences, what steering did in the first pass, and the first pass whose selection is left open.
#[derive(Default)]
pub(super) struct Watch<'a> {
    pub states: Vec<TokenGrid>,
    /// Positions filled by each step. `[n_steps][b, t]`
    pub revealed: Vec<Vec<bool>>,
    pub first: Option<FirstPass>,
    pub first_open: Option<usize>,
    steering: bool,
    ranking: Option<Ranking<'a>>,
}

impl<'a> Watch<'a> {
    /// Watches a steered run.
    pub fn steered(ranking: Option<Ranking<'a>>) -> Self {
        Self {
            steering: true,
            ranking,
            ..Self::default()
        }
    }

    fn look(&mut self, report: &StepReport<'_>, steered: &Steered) -> Result<(), GenerateError> {
        if self.first.is_none() {
            self.first = Some(FirstPass {
                before: Array::of(&steered.before)?,
                selected: Array::of_ids(&steered.coeff.f_ne(0.0)?)?,
                after: Array::of(&steered.after)?,
            });
        }
        if let (None, Some(ranking)) = (self.first_open, &self.ranking)
            && ranking.is_open(&steered.before, report.before, report.start)?
        {
            self.first_open = Some(report.step);
        }
        Ok(())
    }
}

impl Observer for Watch<'_> {
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
        match report.steered {
            Some(steered) => self.look(report, steered),
            None => Ok(()),
        }
    }
}
