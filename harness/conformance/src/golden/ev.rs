//! Explained variance of the model's own residuals under both SAEs, for every recorded scope.

use harness_core::{dtype::Dtype, policy::Policy, units::UnitSums};
use harness_engine::eval::{Batch, Candidate, Explained, Place, Replacement};
use harness_engine::plugin::Sae;
use serde_json::Value;
use tch::Device;

use super::compare::{self, Tolerance};
use super::forward::Failed;
use super::index::Tolerances;
use super::report::Recorder;

/// One recorded scope of one SAE.
struct Wanted<'a> {
    label: String,
    sae: &'a Sae,
    policy: Policy,
    want: &'a Value,
}

/// The recorded scopes of a case: `ev.<scope>` and `ev_rescaled_all`.
pub(super) struct Variances<'a> {
    wanted: Vec<Wanted<'a>>,
}

impl<'a> Variances<'a> {
    /// What the manifest asks for.
    pub(super) fn read(
        key: &str,
        about: &'a Value,
        sae: &'a Sae,
        rescaled: Option<&'a Sae>,
        record: &mut Recorder<'_>,
    ) -> Result<Self, Failed> {
        let mut wanted = Vec::new();
        let scopes = about["ev"].as_object();
        for (name, want) in scopes.into_iter().flatten() {
            let policy = match name.as_str() {
                "all" => Policy::Clean,
                "masked" => Policy::Mask,
                "unmasked" => Policy::Unmask,
                _ => {
                    return Err(
                        format!("ev scope {name:?}: all, masked and unmasked are known").into(),
                    );
                }
            };
            wanted.push(Wanted {
                label: format!("ev/{key}.{name}"),
                sae,
                policy,
                want,
            });
        }
        let label = format!("ev/{key}.rescaled_all");
        match (about.get("ev_rescaled_all"), rescaled) {
            (Some(want), Some(sae)) => wanted.push(Wanted {
                label,
                sae,
                policy: Policy::Clean,
                want,
            }),
            (Some(_), None) => {
                record.failed(&label, "the folder has no SAE with rescaled decoder rows");
            }
            (None, _) => {}
        }
        Ok(Self { wanted })
    }

    /// Candidates that are reconstructed and put nowhere; they follow the case's own first
    /// candidate.
    pub(super) fn candidates(&self, layer: usize) -> impl Iterator<Item = Candidate<'a>> {
        self.wanted.iter().map(move |wanted| Candidate {
            layer,
            with: Replacement::Sae(wanted.sae),
            at: Vec::new(),
        })
    }

    /// Sums of the case. Its tokens count as one row, because the reference forms the mean over all
    /// of them.
    pub(super) fn explained(
        &self,
        layer: usize,
        d_model: usize,
        batch: &Batch,
        device: Device,
    ) -> Result<Explained, Failed> {
        let places: Vec<Option<Place>> = std::iter::once(None)
            .chain(self.wanted.iter().map(|wanted| {
                Some(Place {
                    layer,
                    policy: wanted.policy,
                })
            }))
            .collect();
        let one_row = Batch {
            b: 1,
            t: batch.b * batch.t,
            ..batch.clone()
        }
        .checked()?;
        let mut explained = Explained::new(&places, d_model);
        explained.begin(&one_row, &[0], device)?;
        Ok(explained)
    }

    /// Compares every value that was recorded.
    pub(super) fn compare(
        &self,
        explained: &Explained,
        tolerances: &Tolerances,
        record: &mut Recorder<'_>,
    ) -> Result<(), Failed> {
        for (i, wanted) in self.wanted.iter().enumerate() {
            let found = explained.finish(i + 1, &mut UnitSums::default())?;
            let ev = found.all.finish(Dtype::F32);
            let tolerance = tolerances.ev;
            // An error is not a ratio: its size is that of the residuals, so it gets the losses'
            // relative part.
            let rtol = tolerance.rtol.max(tolerances.loss.rtol);
            let mse = Tolerance { rtol, ..tolerance };
            let values = [
                ("n", ev.map(|ev| ev.n as f64), Tolerance::EXACT),
                ("ev_mse", ev.map(|ev| ev.ev_mse), tolerance),
                ("ev_var", ev.map(|ev| ev.ev_var), tolerance),
                ("ev_token_mean", found.token_mean, tolerance),
                ("mse", ev.map(|ev| ev.mse), mse),
            ];
            for (name, got, tolerance) in values {
                if let Some(want) = wanted.want.get(name) {
                    let outcome = compare::scalar(got, want.as_f64(), tolerance);
                    record.compared(&format!("{}.{name}", wanted.label), outcome);
                }
            }
        }
        Ok(())
    }
}
