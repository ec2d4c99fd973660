//! Adding a direction to the residual stream (Eq. 4, Eq. 13): `resid += coeff · m · v`.

use harness_kernels::readback;
use tch::{Kind, Tensor};

use super::{GenerateError, observe::Steered};
use crate::plugin::{Sae, SteerTensors, SteeringPolicy};

/// The `m` of Eq. 4.
pub enum Magnitude<'a> {
    /// The largest latent activation at the position, read from the unsteered residual of the same
    /// pass.
    PerPosition(&'a Sae),
    /// The same everywhere.
    Constant(f64),
}

/// A direction and a strength for each row of a batch, added at one layer in every pass of a run.
pub struct Steering<'a> {
    layer: usize,
    policy: &'a mut SteeringPolicy,
    amp_factor: f64,
    directions: Tensor, // [b, d_model] f32
    magnitude: Magnitude<'a>,
    latents: Option<(&'a Sae, Vec<i64>)>,
}

/// Where a pass stands.
#[derive(Clone, Copy)]
pub(super) struct PassState<'a> {
    pub(super) step: usize,
    pub(super) n_steps: usize,
    /// `[b, t]`, nonzero at real tokens.
    pub(super) is_valid: &'a Tensor,
    /// `[b, t]`, nonzero where the input is the mask token.
    pub(super) is_masked: &'a Tensor,
}

impl<'a> Steering<'a> {
    /// Steers row `r` along the decoder row of `latents[r]`, with the position's largest activation
    /// as magnitude.
    ///
    /// - `layer`: the block whose output is moved, counted from 0
    ///
    /// # Errors
    /// A latent that the SAE does not have.
    pub fn by_latents(
        layer: usize,
        policy: &'a mut SteeringPolicy,
        amp_factor: f64,
        sae: &'a Sae,
        latents: &[i64],
    ) -> Result<Self, GenerateError> {
        let directions = sae.decoder_rows(&Tensor::f_from_slice(latents)?)?; // [b, d_model]
        let magnitude = Magnitude::PerPosition(sae);
        Ok(Self {
            layer,
            policy,
            amp_factor,
            directions,
            magnitude,
            latents: Some((sae, latents.to_vec())),
        })
    }

    /// Steers row `r` along `directions[r]`; a policy that reads a latent's activation needs
    /// [`Self::reading`] too.
    ///
    /// - `directions: [b, d_model] f32`
    #[must_use]
    pub fn along(
        layer: usize,
        policy: &'a mut SteeringPolicy,
        amp_factor: f64,
        directions: Tensor,
        magnitude: Magnitude<'a>,
    ) -> Self {
        Self {
            layer,
            policy,
            amp_factor,
            directions,
            magnitude,
            latents: None,
        }
    }

    /// Lets the policy read the activation of `latents[r]` in row `r`.
    #[must_use]
    pub fn reading(mut self, sae: &'a Sae, latents: &[i64]) -> Self {
        self.latents = Some((sae, latents.to_vec()));
        self
    }

    /// The block whose output is moved.
    #[must_use]
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// Checks that it fits a batch of `b` rows of a model.
    pub(super) fn check(
        &self,
        b: usize,
        d_model: usize,
        n_layers: usize,
    ) -> Result<(), GenerateError> {
        if self.layer >= n_layers {
            return Err(GenerateError::request(format!(
                "steering at layer {}: the model has {n_layers} blocks, 0 to {}",
                self.layer,
                n_layers - 1
            )));
        }
        if self.directions.size() != [b as i64, d_model as i64] {
            return Err(GenerateError::request(format!(
                "steering directions have shape {:?}, the batch takes [{b}, {d_model}]",
                self.directions.size()
            )));
        }
        match &self.latents {
            Some((_, latents)) if latents.len() != b => Err(GenerateError::request(format!(
                "{} steered latents for {b} rows",
                latents.len()
            ))),
            None if self.policy.reads_latent_act() => Err(GenerateError::request(
                "the steering policy reads the activation of a latent, and no latents were given",
            )),
            _ => Ok(()),
        }
    }

    /// Moves `resid: [b, t, d_model]`. Where the policy's coefficient is 0 no bit of it changes.
    pub(super) fn apply(
        &mut self,
        resid: &mut Tensor,
        state: PassState<'_>,
        keep: bool,
    ) -> Result<Option<Steered>, GenerateError> {
        let latent_act = match self.policy.reads_latent_act() {
            true => Some(self.latent_act(resid)?),
            false => None,
        };
        let coeff = self.policy.plan(&SteerTensors {
            step: state.step,
            n_steps: state.n_steps,
            amp_factor: self.amp_factor,
            is_valid: state.is_valid,
            is_masked: state.is_masked,
            latent_act: latent_act.as_ref(),
        })?; // [b, t]
        let before = match keep {
            true => Some(resid.f_detach_copy()?),
            false => None,
        };
        // On the host as the policy made it: no device is asked how many they are.
        let chosen: Vec<i64> = Vec::<f32>::try_from(&coeff.f_view([-1])?)?
            .iter()
            .zip(0..)
            .filter_map(|(coeff, i)| (*coeff != 0.0).then_some(i))
            .collect();
        if !chosen.is_empty() {
            let device = resid.device();
            let chosen = Tensor::f_from_slice(&chosen)?.f_to_device(device)?; // [n]
            let scale = self.scale(resid, &coeff, &chosen)?; // [b, t]
            let directions = self.directions.f_to_device(device)?;
            harness_kernels::steer_add(resid, &coeff.f_to_device(device)?, &scale, &directions)?;
        }
        match before {
            Some(before) => Ok(Some(Steered {
                before,
                coeff,
                after: resid.f_detach_copy()?,
            })),
            None => Ok(None),
        }
    }

    /// The magnitudes, computed at the `chosen` flat positions only. `[b, t] f32`
    fn scale(
        &self,
        resid: &Tensor,
        coeff: &Tensor,
        chosen: &Tensor,
    ) -> Result<Tensor, GenerateError> {
        let shape = coeff.size();
        let options = (Kind::Float, resid.device());
        let sae = match &self.magnitude {
            Magnitude::Constant(m) => return Ok(Tensor::f_full(shape, *m, options)?),
            Magnitude::PerPosition(sae) => sae,
        };
        let d_model = resid.size()[2];
        // The SAE computes in f32 here whatever the model does, as the authors' steering code.
        let rows = resid
            .f_view([-1, d_model])?
            .f_index_select(0, chosen)?
            .f_to_kind(Kind::Float)?; // [n, d_model]
        let largest = sae.encode(&rows)?.acts.f_select(1, 0)?.f_contiguous()?; // [n]
        let scale = Tensor::f_zeros([shape[0] * shape[1]], options)?;
        Ok(scale
            .f_index_copy(0, chosen, &largest)?
            .f_view(shape.as_slice())?)
    }

    /// `ReLU(p)` of each row's latent. `[b, t] f32`
    fn latent_act(&self, resid: &Tensor) -> Result<Tensor, GenerateError> {
        let [b, t, d_model] = resid.size()[..] else {
            return Err(GenerateError::request(format!(
                "a residual of shape {:?}",
                resid.size()
            )));
        };
        let Some((sae, latents)) = &self.latents else {
            return Err(GenerateError::request(
                "no latents to read the activation of",
            ));
        };
        let mut distinct = latents.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let column: Vec<i64> = latents
            .iter()
            .map(|latent| distinct.partition_point(|other| other < latent) as i64)
            .collect();
        let acts = sae.latent_acts(
            &resid.f_view([b * t, d_model])?.f_to_kind(Kind::Float)?,
            &Tensor::f_from_slice(&distinct)?,
        )?; // [b·t, m]
        // The policy reads one number a position: the others stay where they are.
        let acts = acts.f_view([b, t, distinct.len() as i64])?;
        let column = Tensor::f_from_slice(&column)?
            .f_to_device(acts.device())?
            .f_view([b, 1, 1])?
            .f_expand([b, t, 1], false)?;
        let own = acts.f_gather(2, &column, false)?.f_squeeze_dim(2)?; // [b, t]
        Ok(readback::to_host(&own)?)
    }
}
