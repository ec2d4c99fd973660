use std::path::Path;

use abi_stable::std_types::{ROption, RStr, RString, RVec};
use harness_abi::{
    self as abi, AbiResult, DType, Device, SaeArchitectureBox, SaeBox, SaeTrainerBox, TensorMut,
    TensorRef,
};

use crate::{
    MetricValue, Result, Value, View, ViewMut,
    bridge::{Bridge, FLOATS, expect, expect_mut},
};

/// What the host needs to know of a sparse autoencoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaeInfo {
    /// Input width.
    pub d_model: usize,
    /// How many latents it has; they are counted from 0.
    pub d_sae: usize,
    /// Active budget per row.
    pub k: usize,
    /// Most latents a row can have active: the width `w` of `acts` and `latents`.
    pub max_active: usize,
    /// Block whose output it reads, where the file says so.
    pub layer: Option<usize>,
    /// Layout it was read from, e.g. `saelens`.
    pub format: String,
    /// Positions it was trained on (`mask`, `unmask`, `clean`), empty where unknown.
    pub policy: String,
    /// Model it was trained on, empty where unknown.
    pub model: String,
}

/// An SAE architecture: reads its files and trains new ones.
pub trait SaeArchitecture: Send + 'static {
    /// A component of this name with its configuration.
    ///
    /// # Errors
    /// A configuration it does not understand.
    fn new(name: &str, config: &Value) -> Result<Self>
    where
        Self: Sized;

    /// Name of the layout when `path` holds an SAE this architecture can read with certainty.
    ///
    /// # Errors
    /// A path that cannot be read.
    fn detect(&self, path: &Path) -> Result<Option<String>>;

    /// Reads an SAE (a folder or a file).
    ///
    /// # Errors
    /// A format that cannot be read with certainty, damaged files, NaN or infinite weights unless
    /// allowed.
    fn load(&self, path: &Path, device: Device, allow_nan: bool) -> Result<Box<dyn Sae>>;

    /// A trainer; `config` is the architecture's own.
    ///
    /// # Errors
    /// `UNSUPPORTED` by default.
    fn trainer(&self, _config: &Value, _device: Device) -> Result<Box<dyn SaeTrainer>> {
        Err(crate::Error::unsupported("training"))
    }
}

/// A loaded SAE. Unused slots of `acts`/`latents` hold act 0 and latent -1.
pub trait Sae: Send + 'static {
    /// Its shape and provenance.
    fn info(&self) -> SaeInfo;

    /// `x: [n, d_model]` → `acts: [n, w] f32` descending, `latents: [n, w] i64`, `n_active: [n]
    /// i64`.
    ///
    /// # Errors
    /// None of its own.
    fn encode(
        &self,
        x: View<'_>,
        acts: &mut ViewMut<'_>,
        latents: &mut ViewMut<'_>,
        n_active: &mut ViewMut<'_>,
    ) -> Result<()>;

    /// `acts: [n, w] f32`, `latents: [n, w] i64` → `x_hat: [n, d_model] f32`. Any `w` is taken.
    ///
    /// # Errors
    /// A latent out of range.
    fn decode(&self, acts: View<'_>, latents: View<'_>, x_hat: &mut ViewMut<'_>) -> Result<()>;

    /// Activations of chosen latents before the selection, `ReLU(p)`:
    /// `x: [n, d_model]`, `latents: [m] i64` → `acts: [n, m] f32`.
    ///
    /// # Errors
    /// A latent out of range.
    fn latent_acts(&self, x: View<'_>, latents: View<'_>, acts: &mut ViewMut<'_>) -> Result<()>;

    /// Decoder rows as added to the residual: `latents: [m] i64` → `rows: [m, d_model] f32`.
    ///
    /// # Errors
    /// A latent out of range.
    fn decoder_rows(&self, latents: View<'_>, rows: &mut ViewMut<'_>) -> Result<()>;

    /// Reconstruction of `x: [n, d_model]` → `x_hat: [n, d_model] f32`, for an SAE that cannot
    /// decode activations alone, such as one that normalises each row: its `decode` is
    /// `UNSUPPORTED`, and the host asks for this instead.
    ///
    /// # Errors
    /// `UNSUPPORTED` by default.
    fn reconstruct(&self, _x: View<'_>, _x_hat: &mut ViewMut<'_>) -> Result<()> {
        Err(crate::Error::unsupported("reconstruction from the input"))
    }
}

/// An SAE in training: it is fed batches of activations, and saved in the end.
pub trait SaeTrainer: Send + 'static {
    /// One optimiser step on `x: [n, d_model] f32` → named values (`loss`, `ev`, `l0`, `n_dead`).
    ///
    /// # Errors
    /// A loss that is not finite.
    fn step(&mut self, x: View<'_>) -> Result<Vec<MetricValue>>;

    /// Writes the SAE to `dir` in `format`, weights as `dtype`, `provenance` in its configuration.
    ///
    /// # Errors
    /// A folder that cannot be written, a format it does not write.
    fn save(&mut self, dir: &Path, format: &str, dtype: DType, provenance: &Value) -> Result<()>;

    /// Writes everything needed to go on to one file.
    ///
    /// # Errors
    /// A file that cannot be written.
    fn save_state(&mut self, path: &Path) -> Result<()>;

    /// Goes on from a file of `save_state`.
    ///
    /// # Errors
    /// A file of another run.
    fn load_state(&mut self, path: &Path) -> Result<()>;
}

/// Wraps an author's architecture for the boundary.
pub fn boxed<T: SaeArchitecture>(name: &str, config: &Value) -> Result<SaeArchitectureBox> {
    let bridge = Bridge::new(name, Box::new(T::new(name, config)?));
    Ok(SaeArchitectureBox::from_value(
        bridge,
        abi_stable::sabi_trait::TD_Opaque,
    ))
}

impl<T: SaeArchitecture> abi::SaeArchitecture for Bridge<T> {
    fn detect(&self, path: RStr<'_>) -> AbiResult<ROption<RString>> {
        self.with("detect", |sae| {
            let found = sae.detect(Path::new(path.as_str()))?;
            Ok(found.map_or(ROption::RNone, |format| ROption::RSome(format.into())))
        })
    }

    fn load(&self, path: RStr<'_>, device: Device, allow_nan: bool) -> AbiResult<SaeBox> {
        self.with("load", |sae| {
            let loaded = sae.load(Path::new(path.as_str()), device, allow_nan)?;
            let bridge = Bridge::<dyn Sae>::new(self.name(), loaded);
            Ok(SaeBox::from_value(
                bridge,
                abi_stable::sabi_trait::TD_Opaque,
            ))
        })
    }

    fn trainer(&self, config_json: RStr<'_>, device: Device) -> AbiResult<SaeTrainerBox> {
        self.with("trainer", |sae| {
            let config: Value = serde_json::from_str(config_json.as_str())
                .map_err(|error| crate::Error::config(format!("trainer configuration: {error}")))?;
            let bridge = Bridge::<dyn SaeTrainer>::new(self.name(), sae.trainer(&config, device)?);
            Ok(SaeTrainerBox::from_value(
                bridge,
                abi_stable::sabi_trait::TD_Opaque,
            ))
        })
    }
}

impl abi::Sae for Bridge<dyn Sae> {
    fn info(&self) -> AbiResult<abi::SaeInfo> {
        self.with("info", |sae| {
            let info = sae.info();
            Ok(abi::SaeInfo {
                d_model: info.d_model as u64,
                d_sae: info.d_sae as u64,
                k: info.k as u64,
                max_active: info.max_active as u64,
                layer: info
                    .layer
                    .map_or(ROption::RNone, |layer| ROption::RSome(layer as u64)),
                format: info.format.into(),
                policy: info.policy.into(),
                model: info.model.into(),
            })
        })
    }

    fn encode(
        &self,
        x: TensorRef<'_>,
        acts: TensorMut<'_>,
        latents: TensorMut<'_>,
        n_active: TensorMut<'_>,
    ) -> AbiResult<()> {
        self.with("encode", |sae| {
            let x = View::new(x);
            let (mut acts, mut latents) = (ViewMut::new(acts), ViewMut::new(latents));
            let mut n_active = ViewMut::new(n_active);
            expect("x", &x, &[-1, -1], FLOATS)?;
            let n = x.shape()[0];
            expect_mut("acts", &acts, &[n, -1], &[DType::F32])?;
            expect_mut("latents", &latents, acts.shape(), &[DType::I64])?;
            expect_mut("n_active", &n_active, &[n], &[DType::I64])?;
            sae.encode(x, &mut acts, &mut latents, &mut n_active)
        })
    }

    fn decode(
        &self,
        acts: TensorRef<'_>,
        latents: TensorRef<'_>,
        x_hat: TensorMut<'_>,
    ) -> AbiResult<()> {
        self.with("decode", |sae| {
            let (acts, latents) = (View::new(acts), View::new(latents));
            let mut x_hat = ViewMut::new(x_hat);
            expect("acts", &acts, &[-1, -1], &[DType::F32])?;
            expect("latents", &latents, acts.shape(), &[DType::I64])?;
            expect_mut("x_hat", &x_hat, &[acts.shape()[0], -1], &[DType::F32])?;
            sae.decode(acts, latents, &mut x_hat)
        })
    }

    fn latent_acts(
        &self,
        x: TensorRef<'_>,
        latents: TensorRef<'_>,
        acts: TensorMut<'_>,
    ) -> AbiResult<()> {
        self.with("latent_acts", |sae| {
            let (x, latents) = (View::new(x), View::new(latents));
            let mut acts = ViewMut::new(acts);
            expect("x", &x, &[-1, -1], FLOATS)?;
            expect("latents", &latents, &[-1], &[DType::I64])?;
            expect_mut(
                "acts",
                &acts,
                &[x.shape()[0], latents.shape()[0]],
                &[DType::F32],
            )?;
            sae.latent_acts(x, latents, &mut acts)
        })
    }

    fn decoder_rows(&self, latents: TensorRef<'_>, rows: TensorMut<'_>) -> AbiResult<()> {
        self.with("decoder_rows", |sae| {
            let latents = View::new(latents);
            let mut rows = ViewMut::new(rows);
            expect("latents", &latents, &[-1], &[DType::I64])?;
            expect_mut("rows", &rows, &[latents.shape()[0], -1], &[DType::F32])?;
            sae.decoder_rows(latents, &mut rows)
        })
    }

    fn reconstruct(&self, x: TensorRef<'_>, x_hat: TensorMut<'_>) -> AbiResult<()> {
        self.with("reconstruct", |sae| {
            let x = View::new(x);
            let mut x_hat = ViewMut::new(x_hat);
            expect("x", &x, &[-1, -1], FLOATS)?;
            expect_mut("x_hat", &x_hat, x.shape(), &[DType::F32])?;
            sae.reconstruct(x, &mut x_hat)
        })
    }
}

impl abi::SaeTrainer for Bridge<dyn SaeTrainer> {
    fn step(&mut self, x: TensorRef<'_>) -> AbiResult<RVec<abi::MetricValue>> {
        self.with_mut("step", |trainer| {
            let x = View::new(x);
            expect("x", &x, &[-1, -1], &[DType::F32])?;
            Ok(trainer
                .step(x)?
                .into_iter()
                .map(MetricValue::into_abi)
                .collect())
        })
    }

    fn save(
        &mut self,
        dir: RStr<'_>,
        format: RStr<'_>,
        dtype: DType,
        provenance_json: RStr<'_>,
    ) -> AbiResult<()> {
        self.with_mut("save", |trainer| {
            let provenance: Value = serde_json::from_str(provenance_json.as_str())
                .map_err(|error| crate::Error::config(format!("provenance: {error}")))?;
            trainer.save(Path::new(dir.as_str()), format.as_str(), dtype, &provenance)
        })
    }

    fn save_state(&mut self, path: RStr<'_>) -> AbiResult<()> {
        self.with_mut("save_state", |trainer| {
            trainer.save_state(Path::new(path.as_str()))
        })
    }

    fn load_state(&mut self, path: RStr<'_>) -> AbiResult<()> {
        self.with_mut("load_state", |trainer| {
            trainer.load_state(Path::new(path.as_str()))
        })
    }
}
