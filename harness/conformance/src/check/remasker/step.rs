//! Made-up steps for the laws of remaskers.

use harness_engine::plugin::{FeatureTensors, PluginFailure, RemaskNeeds, Remasker, StepTensors};
use tch::{Kind, Tensor};

use super::super::data::{integers, uniform};

/// Statistics of one step, `[b, t]`; row `r` of a run is row `first + r` of the same endless batch.
pub(super) struct Step {
    pub(super) tokens: Tensor,
    pub(super) candidate: Tensor,
    pub(super) confidence: Tensor,
    pub(super) margin: Tensor,
    pub(super) neg_entropy: Tensor,
    pub(super) uniform: Tensor,
    pub(super) jaccard: Tensor,   // [l, b, t]
    pub(super) top1_same: Tensor, // [l, b, t]
}

/// Blocks whose outputs the made-up SAEs encode.
const LAYERS: [i64; 3] = [1, 4, 6];

impl Step {
    pub(super) fn new(step: usize, rows: &[usize], len: i64) -> Self {
        let each = |what: &str, make: &dyn Fn(&str) -> Tensor| {
            let made: Vec<Tensor> = rows
                .iter()
                .map(|row| make(&format!("remasker/{what}/{step}/{row}")))
                .collect();
            Tensor::stack(&made, 0)
        };
        let draw = |purpose: &str| uniform(purpose, &[len]);
        let n_layers = LAYERS.len() as i64;
        let missing = |purpose: &str| {
            let share = if step == 0 { 1.1 } else { 0.1 };
            uniform(&format!("{purpose}/missing"), &[n_layers, len]).lt(share)
        };
        // Few distinct values, so that positions tie. [l, t]
        let counted = |purpose: &str, levels: u64| {
            let counts = integers(purpose, levels, &[n_layers, len]).to_kind(Kind::Float);
            (counts / (levels - 1) as f64).masked_fill(&missing(purpose), f64::NAN)
        };
        Self {
            jaccard: each("jaccard", &|purpose| counted(purpose, 9)).transpose(0, 1),
            top1_same: each("top1_same", &|purpose| counted(purpose, 2)).transpose(0, 1),
            tokens: each("tokens", &|purpose| integers(purpose, 100, &[len])),
            candidate: each("candidate", &|purpose| integers(purpose, 100, &[len])),
            confidence: each("confidence", &draw),
            margin: each("margin", &draw),
            neg_entropy: each("neg_entropy", &draw) * -3.0,
            uniform: each("uniform", &draw),
        }
    }

    pub(super) fn view<'a>(
        &'a self,
        step: usize,
        n_steps: usize,
        eligible: &'a Tensor,
    ) -> StepTensors<'a> {
        StepTensors {
            step,
            n_steps,
            tokens: &self.tokens,
            eligible,
            candidate: &self.candidate,
            confidence: Some(&self.confidence),
            margin: Some(&self.margin),
            neg_entropy: Some(&self.neg_entropy),
            uniform: Some(&self.uniform),
        }
    }

    pub(super) fn features(&self, step: usize) -> FeatureTensors<'_> {
        FeatureTensors {
            step,
            layers: &LAYERS,
            jaccard: &self.jaccard,
            top1_same: &self.top1_same,
        }
    }
}

pub(super) fn reads_features(remasker: &Remasker) -> bool {
    remasker.reads(RemaskNeeds::FEATURES)
}

/// One step as the host does it: the features first, where they are asked for.
pub(super) fn select(
    remasker: &mut Remasker,
    from: &Step,
    view: &StepTensors<'_>,
) -> Result<Tensor, PluginFailure> {
    if reads_features(remasker) {
        remasker.features(&from.features(view.step))?;
    }
    remasker.select(view)
}

/// Masks of some rows at the start: row `r` holds them at every position from `r` on. `[b, t] u8`
pub(super) fn masks(rows: &[usize], len: i64) -> Tensor {
    let rows: Vec<Tensor> = rows
        .iter()
        .map(|&row| {
            let row = row as i64;
            Tensor::arange(len, (Kind::Int64, tch::Device::Cpu))
                .ge(row)
                .to_kind(Kind::Uint8)
        })
        .collect();
    Tensor::stack(&rows, 0)
}
