//! Explained variance of the model's own residuals under both SAEs, for every recorded scope.

use harness_core::ev::{EvMoments, ev_token_mean};
use serde_json::Value;
use tch::Tensor;

use super::compare::{self, Tolerance};
use super::forward::Failed;
use super::index::Tolerances;
use super::report::Recorder;
use crate::eval::{Batch, Scope, reconstruct_where};
use crate::plugin::Sae;

/// One case of `manifest.loss` with its residuals.
pub(super) struct Explained<'a> {
    pub key: &'a str,
    pub about: &'a Value,
    pub batch: &'a Batch,
    /// `[b, t, d_model]`
    pub resid: &'a Tensor,
    pub sae: &'a Sae,
    /// The SAE whose decoder rows are rescaled.
    pub rescaled: Option<&'a Sae>,
    pub tolerances: &'a Tolerances,
}

impl Explained<'_> {
    /// Compares `ev.<scope>` and `ev_rescaled_all`.
    pub fn run(&self, record: &mut Recorder<'_>) -> Result<(), Failed> {
        let key = self.key;
        let scopes = self.about.get("ev").and_then(Value::as_object);
        for (name, want) in scopes.into_iter().flatten() {
            let unknown = || format!("ev scope {name:?}: all, masked and unmasked are known");
            let scope = Scope::named(name).ok_or_else(unknown)?;
            self.by(record, &format!("ev/{key}.{name}"), self.sae, scope, want)?;
        }
        let label = format!("ev/{key}.rescaled_all");
        match (self.about.get("ev_rescaled_all"), self.rescaled) {
            (Some(want), Some(sae)) => self.by(record, &label, sae, Scope::All, want),
            (Some(_), None) => {
                record.failed(&label, "the folder has no SAE with rescaled decoder rows");
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    fn by(
        &self,
        record: &mut Recorder<'_>,
        label: &str,
        sae: &Sae,
        scope: Scope,
        want: &Value,
    ) -> Result<(), Failed> {
        let positions = self.batch.positions(scope);
        let (x, x_hat, _) = reconstruct_where(self.resid, sae, &positions)?; // [n, d_model]
        let d_model = x.size()[1] as usize;
        let values = |t: &Tensor| Vec::<f32>::try_from(&t.f_contiguous()?.f_reshape([-1])?);
        let (x, x_hat) = (values(&x)?, values(&x_hat)?);
        let mut moments = EvMoments::new(d_model);
        moments.update(&x, &x_hat)?;
        let ev = moments.finish();
        let tolerance = self.tolerances.ev;
        // An error is not a ratio: its size is that of the residuals, so it gets the losses' relative part.
        let rtol = tolerance.rtol.max(self.tolerances.loss.rtol);
        let mse = Tolerance { rtol, ..tolerance };
        let token_mean = ev_token_mean(&x, &x_hat, d_model)?;
        let values = [
            ("n", ev.map(|ev| ev.n as f64), Tolerance::EXACT),
            ("ev_mse", ev.map(|ev| ev.ev_mse), tolerance),
            ("ev_var", ev.map(|ev| ev.ev_var), tolerance),
            ("ev_token_mean", token_mean, tolerance),
            ("mse", ev.map(|ev| ev.mse), mse),
        ];
        for (name, got, tolerance) in values {
            if let Some(want) = want.get(name) {
                let outcome = compare::scalar(got, want.as_f64(), tolerance);
                record.compared(&format!("{label}.{name}"), tolerance, outcome);
            }
        }
        Ok(())
    }
}
