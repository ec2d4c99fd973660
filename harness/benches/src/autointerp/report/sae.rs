//! The latents of one SAE with everything that was found out about them.

use std::{collections::BTreeMap, path::Path};

use harness_core::autointerp::n_correct;

use super::{ReportError, SaeCells, cells::output};
use harness_contract::outputs::{
    Chosen, ExplainOutput, Explanation, LabelLatent, LatentWindows, PredictOutput, Prediction,
    WindowsOutput,
};

/// An SAE, read.
pub(super) struct Sae<'a> {
    pub cells: &'a SaeCells,
    pub latents: Vec<Latent>,
    pub d_sae: u64,
    pub n_dead: u64,
    pub n_tokens: u64,
    pub n_masked: u64,
}

/// A latent with its windows, what a judge said of it and how well that predicts.
pub(super) struct Latent {
    pub windows: LatentWindows,
    /// `None` where nobody was asked.
    pub explanation: Option<Explanation>,
    /// `None` where nothing was predicted from the explanation.
    pub prediction: Option<Prediction>,
    pub score: Option<Score>,
    /// Labels it goes best with.
    pub labels: Vec<LabelLatent>,
}

/// How many windows were predicted right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Score {
    pub n_right: u64,
    pub n: u64,
}

impl Score {
    /// The scored windows on which prediction and activity agree; `None` without windows, or for a
    /// place that is none.
    ///
    /// `predicted`: places in `active`.
    pub fn of(active: &[bool], predicted: &[u32]) -> Option<Score> {
        let n_right = n_correct(predicted, active)?;
        (!active.is_empty()).then_some(Score {
            n_right,
            n: active.len() as u64,
        })
    }

    pub fn share(self) -> f64 {
        self.n_right as f64 / self.n as f64
    }
}

impl Latent {
    /// Whether each scored window is active.
    pub fn active(&self) -> Vec<bool> {
        self.windows.scored.iter().map(|w| w.active).collect()
    }

    /// Places of the scored windows predicted to be active.
    pub fn predicted(&self) -> Option<&[u32]> {
        self.prediction.as_ref()?.predicted.as_deref()
    }

    /// What it stands for.
    pub fn text(&self) -> Option<&str> {
        self.explanation.as_ref()?.explanation.as_deref()
    }
}

impl Sae<'_> {
    /// Read the cells of an SAE.
    pub fn read<'a>(dir: &Path, cells: &'a SaeCells) -> Result<Sae<'a>, ReportError> {
        let windows: WindowsOutput = output(dir, &cells.windows)?;
        let (mut explanations, mut predictions) = (BTreeMap::new(), BTreeMap::new());
        if let Some(judged) = &cells.judged {
            let explained: ExplainOutput = output(dir, &judged.explain)?;
            for explanation in explained.explanations {
                explanations.insert(explanation.latent, explanation);
            }
            if let Some(key) = &judged.predict {
                let predicted: PredictOutput = output(dir, key)?;
                for prediction in predicted.predictions {
                    predictions.insert(prediction.latent, prediction);
                }
            }
        }
        let latents = windows.latents.into_iter().map(|found| {
            let id = found.latent;
            let mut latent = Latent {
                windows: found,
                explanation: explanations.remove(&id),
                prediction: predictions.remove(&id),
                score: None,
                labels: windows
                    .labels
                    .iter()
                    .filter(|label| label.latent == id)
                    .cloned()
                    .collect(),
            };
            latent.score = latent
                .predicted()
                .and_then(|predicted| Score::of(&latent.active(), predicted));
            latent
        });
        Ok(Sae {
            cells,
            latents: latents.collect(),
            d_sae: windows.d_sae,
            n_dead: windows.n_dead,
            n_tokens: windows.n_tokens,
            n_masked: windows.n_masked,
        })
    }

    /// Mean score of the latents that count for the SAE, and how many they are.
    pub fn mean_score(&self) -> (Option<f64>, usize) {
        let scores: Vec<f64> = self
            .latents
            .iter()
            .filter(|latent| latent.windows.chosen != Chosen::Label)
            .filter_map(|latent| Some(latent.score?.share()))
            .collect();
        let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
        ((!scores.is_empty()).then_some(mean), scores.len())
    }
}
