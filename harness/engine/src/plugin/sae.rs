use std::{cell::Cell, path::Path};

use harness_abi::{DType, ErrorCode, SaeArchitectureBox, SaeBox, SaeTrainerBox};
use harness_core::grid::sae_flops;
use tch::{Kind, Tensor};

use super::{
    MetricValue, PluginFailure,
    failure::Origin,
    metric,
    sound::{self, Checks},
    tensors::{self, Lent},
};

/// What the host knows of a sparse autoencoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaeInfo {
    /// Input width.
    pub d_model: usize,
    /// Number of latents.
    pub d_sae: usize,
    /// Active budget per row.
    pub k: usize,
    /// Width `w` of `acts` and `latents`.
    pub max_active: usize,
    /// Block whose output it reads, where the file says so.
    pub layer: Option<usize>,
    /// Layout it was read from.
    pub format: String,
    /// `mask`, `unmask`, `clean`, or empty.
    pub policy: String,
    /// Model it was trained on, or empty.
    pub model: String,
}

pub struct SaeArchitecture {
    inner: SaeArchitectureBox,
    origin: Origin,
}

/// Active latents of `n` rows; unused slots hold act 0 and latent -1.
#[derive(Debug)]
pub struct Encoded {
    /// `[n, w] f32`, descending.
    pub acts: Tensor,
    /// `[n, w] i64`.
    pub latents: Tensor,
    /// `[n] i64`.
    pub n_active: Tensor,
}

/// A loaded sparse autoencoder.
pub struct Sae {
    inner: SaeBox,
    origin: Origin,
    info: SaeInfo,
    device: tch::Device,
    /// Its weights may hold NaN and infinity, and so may what it makes of them.
    allow_nan: bool,
    /// Whether it has said that it cannot decode activations without the input they are of.
    needs_input: Cell<bool>,
    /// Floating-point operations so far.
    flops: Cell<f64>,
}

pub struct SaeTrainer {
    inner: SaeTrainerBox,
    origin: Origin,
}

impl SaeArchitecture {
    pub(super) fn new(inner: SaeArchitectureBox, origin: Origin) -> Self {
        Self { inner, origin }
    }

    /// Name of the layout when `path` holds an SAE this architecture reads with certainty.
    ///
    /// # Errors
    /// A path that cannot be read.
    pub fn detect(&self, path: &Path) -> Result<Option<String>, PluginFailure> {
        let path = path.to_string_lossy();
        let found = self
            .origin
            .call("detect", || self.inner.detect(path.as_ref().into()))?;
        Ok(found.into_option().map(Into::into))
    }

    /// What a folder is to this architecture, as the JSON that its plugin writes; `None` where it
    /// is none of an SAE.
    ///
    /// # Errors
    /// A damaged SAE; [`ErrorCode::UNSUPPORTED`] from a plugin that does not answer this.
    pub fn inspect(&self, path: &Path) -> Result<Option<String>, PluginFailure> {
        let path = path.to_string_lossy();
        let found = self
            .origin
            .call("inspect", || self.inner.inspect(path.as_ref().into()))?;
        Ok(found.into_option().map(Into::into))
    }

    /// Reads an SAE.
    ///
    /// # Errors
    /// An unknown layout, damaged files, NaN or infinite weights unless allowed.
    pub fn load(
        &self,
        path: &Path,
        device: tch::Device,
        allow_nan: bool,
    ) -> Result<Sae, PluginFailure> {
        let text = path.to_string_lossy();
        let place = tensors::device(device)
            .ok_or_else(|| self.origin.host("load", format!("device {device:?}")))?;
        let load = || self.inner.load(text.as_ref().into(), place, allow_nan);
        let inner = self.origin.call("load", load)?;
        let info = self.origin.call("info", || inner.info())?;
        let size = |what: &str, value: u64| {
            usize::try_from(value)
                .ok()
                .filter(|&value| value > 0)
                .ok_or_else(|| {
                    self.origin
                        .broken("info", format!("SAE info: {what} is {value}"))
                })
        };
        let info = SaeInfo {
            d_model: size("d_model", info.d_model)?,
            d_sae: size("d_sae", info.d_sae)?,
            k: size("k", info.k)?,
            max_active: size("max_active", info.max_active)?,
            layer: match info.layer.into_option() {
                None => None,
                Some(layer) => usize::try_from(layer).ok(),
            },
            format: info.format.into(),
            policy: info.policy.into(),
            model: info.model.into(),
        };
        Ok(Sae {
            inner,
            origin: self.origin.clone(),
            info,
            device,
            allow_nan,
            needs_input: Cell::new(false),
            flops: Cell::new(0.0),
        })
    }

    /// A trainer; `config` is the architecture's own.
    ///
    /// # Errors
    /// A configuration it does not understand.
    pub fn trainer(
        &self,
        config: &serde_json::Value,
        device: tch::Device,
    ) -> Result<SaeTrainer, PluginFailure> {
        let place = tensors::device(device)
            .ok_or_else(|| self.origin.host("trainer", format!("device {device:?}")))?;
        let config = config.to_string();
        let inner = self.origin.call("trainer", || {
            self.inner.trainer(config.as_str().into(), place)
        })?;
        Ok(SaeTrainer {
            inner,
            origin: self.origin.clone(),
        })
    }
}

impl Sae {
    /// Its shape and provenance.
    #[must_use]
    pub fn info(&self) -> &SaeInfo {
        &self.info
    }

    /// Floating-point operations of encoding and decoding so far.
    #[must_use]
    pub fn flops(&self) -> f64 {
        self.flops.get()
    }

    /// Counts `n` rows against `d_sae` latents, and decoding from `k`.
    fn count(&self, n: i64, d_sae: u64, k: u64) {
        let more = sae_flops(n.unsigned_abs(), self.info.d_model as u64, d_sae, k);
        self.flops.set(self.flops.get() + more);
    }

    /// `x: [n, d_model]` → active latents. On a device they are not checked.
    ///
    /// # Errors
    /// Another width; an activation that is not finite, a latent or count out of range (checked on
    /// the CPU only).
    pub fn encode(&self, x: &Tensor) -> Result<Encoded, PluginFailure> {
        self.encoded(x, None)
    }

    /// [`Sae::encode`] with the checks of a device put off.
    ///
    /// # Errors
    /// As `encode`.
    pub fn encode_checked(
        &self,
        x: &Tensor,
        checks: &mut Checks,
    ) -> Result<Encoded, PluginFailure> {
        self.encoded(x, Some(checks))
    }

    fn encoded(
        &self,
        x: &Tensor,
        mut checks: Option<&mut Checks>,
    ) -> Result<Encoded, PluginFailure> {
        self.check_width("encode", x)?;
        let n = x.size()[0];
        let w = self.info.max_active as i64;
        let encoded = Encoded {
            acts: self.zeros("encode", &[n, w], Kind::Float)?,
            latents: self.zeros("encode", &[n, w], Kind::Int64)?,
            n_active: self.zeros("encode", &[n], Kind::Int64)?,
        };
        {
            let lent = self.lend("encode", x)?;
            let mut acts = self.lend_mut("encode", &encoded.acts)?;
            let mut latents = self.lend_mut("encode", &encoded.latents)?;
            let mut n_active = self.lend_mut("encode", &encoded.n_active)?;
            self.origin.call("encode", || {
                self.inner.encode(
                    lent.view(),
                    acts.view_mut(),
                    latents.view_mut(),
                    n_active.view_mut(),
                )
            })?;
        }
        self.check_active(&encoded, checks.as_deref_mut())?;
        self.check_finite("encode", "an activation", (&encoded.acts, x), checks)?;
        self.count(n, self.info.d_sae as u64, 0);
        Ok(encoded)
    }

    /// Checks the latents of active ones, and how many there are.
    fn check_active(
        &self,
        encoded: &Encoded,
        mut checks: Option<&mut Checks>,
    ) -> Result<(), PluginFailure> {
        let (origin, info) = (&self.origin, &self.info);
        let (latents, n_active) = (&encoded.latents, &encoded.n_active);
        sound::latents(origin, "encode", info.d_sae, latents, checks.as_deref_mut())?;
        sound::counts(origin, "encode", info.max_active, n_active, checks)
    }

    /// `acts: [n, w] f32`, `latents: [n, w] i64` → `x_hat: [n, d_model] f32`. A device is waited
    /// for, so that latents are checked.
    ///
    /// # Errors
    /// A latent out of range; a reconstruction that is not finite.
    pub fn decode(&self, acts: &Tensor, latents: &Tensor) -> Result<Tensor, PluginFailure> {
        let mut checks = Checks::default();
        if latents.device() != tch::Device::Cpu {
            let d_sae = self.info.d_sae;
            sound::latents(&self.origin, "decode", d_sae, latents, Some(&mut checks))?;
        }
        let x_hat = self.decoded(acts, latents, &mut checks)?;
        checks.settle_now()?;
        Ok(x_hat)
    }

    /// The reconstruction of latents whose range is checked elsewhere.
    fn decoded(
        &self,
        acts: &Tensor,
        latents: &Tensor,
        checks: &mut Checks,
    ) -> Result<Tensor, PluginFailure> {
        let x_hat = self.zeros(
            "decode",
            &[acts.size()[0], self.info.d_model as i64],
            Kind::Float,
        )?;
        let lent = self.lend("decode", acts)?;
        let latents = self.lend("decode", latents)?;
        let mut out = self.lend_mut("decode", &x_hat)?;
        self.origin.call("decode", || {
            self.inner
                .decode(lent.view(), latents.view(), out.view_mut())
        })?;
        self.check_finite("decode", "a reconstruction", (&x_hat, acts), Some(checks))?;
        let slots = acts.size();
        self.count(slots[0], 0, slots[1].unsigned_abs());
        Ok(x_hat)
    }

    /// Reconstruction of `x: [n, d_model]` → `[n, d_model] f32`: what is encoded is decoded. An SAE
    /// that needs its input back for that, as one that normalises each row, says so by an
    /// unsupported `decode` and is given the input. The checks of a device are put off.
    ///
    /// # Errors
    /// As `encode` and `decode`.
    pub fn reconstruct(&self, x: &Tensor, checks: &mut Checks) -> Result<Tensor, PluginFailure> {
        if !self.needs_input.get() {
            let encoded = self.encode_checked(x, checks)?;
            match self.decoded(&encoded.acts, &encoded.latents, checks) {
                Err(failure) if failure.code == ErrorCode::UNSUPPORTED => {
                    self.needs_input.set(true)
                }
                decoded => return decoded,
            }
        }
        self.check_width("reconstruct", x)?;
        let (n, d_model) = (x.size()[0], self.info.d_model as i64);
        let x_hat = self.zeros("reconstruct", &[n, d_model], Kind::Float)?;
        let lent = self.lend("reconstruct", x)?;
        let mut out = self.lend_mut("reconstruct", &x_hat)?;
        self.origin.call("reconstruct", || {
            self.inner.reconstruct(lent.view(), out.view_mut())
        })?;
        self.check_finite("reconstruct", "a reconstruction", (&x_hat, x), Some(checks))?;
        let slots = self.info.max_active as u64;
        self.count(n, self.info.d_sae as u64, slots);
        Ok(x_hat)
    }

    /// `ReLU(p)` of chosen latents: `x: [n, d_model]`, `latents: [m] i64` → `[n, m] f32`.
    ///
    /// # Errors
    /// A latent out of range.
    pub fn latent_acts(&self, x: &Tensor, latents: &Tensor) -> Result<Tensor, PluginFailure> {
        self.check_width("latent_acts", x)?;
        let acts = self.zeros(
            "latent_acts",
            &[x.size()[0], latents.size()[0]],
            Kind::Float,
        )?;
        let x = self.lend("latent_acts", x)?;
        self.check_chosen("latent_acts", latents)?;
        let latents = latents.to_device(self.device);
        let latents = self.lend("latent_acts", &latents)?;
        let mut out = self.lend_mut("latent_acts", &acts)?;
        self.origin.call("latent_acts", || {
            self.inner
                .latent_acts(x.view(), latents.view(), out.view_mut())
        })?;
        let shape = acts.size();
        self.count(shape[0], shape[1].unsigned_abs(), 0);
        Ok(acts)
    }

    /// Decoder rows: `latents: [m] i64` → `[m, d_model] f32`.
    ///
    /// # Errors
    /// A latent out of range.
    pub fn decoder_rows(&self, latents: &Tensor) -> Result<Tensor, PluginFailure> {
        let shape = [latents.size()[0], self.info.d_model as i64];
        let rows = self.zeros("decoder_rows", &shape, Kind::Float)?;
        let latents = latents.to_device(self.device);
        let latents = self.lend("decoder_rows", &latents)?;
        let mut out = self.lend_mut("decoder_rows", &rows)?;
        self.origin.call("decoder_rows", || {
            self.inner.decoder_rows(latents.view(), out.view_mut())
        })?;
        Ok(rows)
    }

    /// Latents that are on their way to a device are in range: a plugin would wait for the device
    /// to look at them.
    fn check_chosen(&self, method: &'static str, latents: &Tensor) -> Result<(), PluginFailure> {
        if self.device == tch::Device::Cpu {
            return Ok(()); // the plugin looks
        }
        let host = latents.f_to_device(tch::Device::Cpu).and_then(|latents| {
            Vec::<i64>::try_from(
                &latents
                    .f_to_kind(Kind::Int64)?
                    .f_contiguous()?
                    .f_view([-1])?,
            )
        });
        let d_sae = self.info.d_sae as i64;
        let latents = host.map_err(|error| self.origin.host(method, error))?;
        match latents.iter().find(|latent| !(0..d_sae).contains(*latent)) {
            Some(latent) => Err(self.origin.host(
                method,
                format!(
                    "latent {latent} is none of the SAE's {d_sae}, 0 to {}",
                    d_sae - 1
                ),
            )),
            None => Ok(()),
        }
    }

    fn check_finite(
        &self,
        method: &'static str,
        what: &'static str,
        returned_and_given: (&Tensor, &Tensor),
        checks: Option<&mut Checks>,
    ) -> Result<(), PluginFailure> {
        if self.allow_nan {
            return Ok(());
        }
        sound::finite(&self.origin, method, what, returned_and_given, checks)
    }

    fn check_width(&self, method: &'static str, x: &Tensor) -> Result<(), PluginFailure> {
        let shape = x.size();
        if shape.len() == 2 && shape[1] == self.info.d_model as i64 {
            return Ok(());
        }
        let message = format!(
            "the input has shape {shape:?}, the SAE takes [n, {}]",
            self.info.d_model
        );
        Err(self.origin.host(method, message))
    }

    fn zeros(
        &self,
        method: &'static str,
        shape: &[i64],
        kind: Kind,
    ) -> Result<Tensor, PluginFailure> {
        Tensor::f_zeros(shape, (kind, self.device)).map_err(|error| self.origin.host(method, error))
    }

    fn lend(&self, method: &'static str, tensor: &Tensor) -> Result<Lent, PluginFailure> {
        Lent::read(tensor).map_err(|error| self.origin.host(method, error))
    }

    fn lend_mut(&self, method: &'static str, tensor: &Tensor) -> Result<Lent, PluginFailure> {
        Lent::write(tensor).map_err(|error| self.origin.host(method, error))
    }
}

impl SaeTrainer {
    /// One optimiser step on `x: [n, d_model] f32` → named values.
    ///
    /// # Errors
    /// A loss that is not finite.
    pub fn step(&mut self, x: &Tensor) -> Result<Vec<MetricValue>, PluginFailure> {
        let lent = Lent::read(x).map_err(|error| self.origin.host("step", error))?;
        let values = self.origin.call("step", || self.inner.step(lent.view()))?;
        Ok(values.into_iter().map(metric::host_value).collect())
    }

    /// Writes the SAE to `dir` in `format` with `kind` weights and `provenance` in its
    /// configuration.
    ///
    /// # Errors
    /// A folder that cannot be written, a format it does not write.
    pub fn save(
        &mut self,
        dir: &Path,
        format: &str,
        kind: Kind,
        provenance: &serde_json::Value,
    ) -> Result<(), PluginFailure> {
        let dir = dir.to_string_lossy();
        let provenance = provenance.to_string();
        let dtype: DType = tensors::dtype(kind)
            .ok_or_else(|| self.origin.host("save", format!("dtype {kind:?}")))?;
        self.origin.call("save", || {
            self.inner.save(
                dir.as_ref().into(),
                format.into(),
                dtype,
                provenance.as_str().into(),
            )
        })
    }

    /// Writes everything needed to go on.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save_state(&mut self, path: &Path) -> Result<(), PluginFailure> {
        let path = path.to_string_lossy();
        self.origin
            .call("save_state", || self.inner.save_state(path.as_ref().into()))
    }

    /// Goes on from a file of [`SaeTrainer::save_state`].
    ///
    /// # Errors
    /// A file of another run.
    pub fn load_state(&mut self, path: &Path) -> Result<(), PluginFailure> {
        let path = path.to_string_lossy();
        self.origin
            .call("load_state", || self.inner.load_state(path.as_ref().into()))
    }
}
