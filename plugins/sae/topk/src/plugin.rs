//! The library as a plugin: errors, views and names of the boundary around the types of this crate.

use std::path::Path;

use harness_sdk::{
    DType, Device, Error, ErrorCode, MetricValue, Result, Sae, SaeArchitecture, SaeFolder, SaeInfo,
    SaeTrainer, Value, View, ViewMut,
};
use tch::Tensor;

use crate::{
    Format, NonFinite, SaeError, Stored, TopKSae,
    train::{TrainConfig, Trainer},
};

/// The authors' reading of their SAEs in auto-interpretation, steering and decoding-order code.
const PAPER_CODE: &str = "topk-paper-code";

/// Components `topk` and `topk-paper-code`.
///
/// The second reads the same files and does not subtract `b_dec` from what it encodes, as the
/// authors' code for auto-interpretation, steering and decoding orders (their training and loss
/// code does). It recognises no folder by itself, so that it is used only where it is named, and
/// trains nothing.
#[derive(Debug)]
pub struct TopK {
    is_paper_code: bool,
}

/// The class and hint of a failure.
fn report(error: SaeError) -> Error {
    let code = match &error {
        SaeError::File { .. }
        | SaeError::Input(_)
        | SaeError::Uncertain { .. }
        | SaeError::Tensors { .. }
        | SaeError::NonFinite { .. }
        | SaeError::Io { .. } => ErrorCode::INPUT,
        SaeError::Diverged { .. } => ErrorCode::NUMERIC,
        SaeError::Argument { .. } => ErrorCode::INVALID_ARGUMENT,
        SaeError::Config { .. } => ErrorCode::CONFIG,
        SaeError::Unsupported { .. } => ErrorCode::UNSUPPORTED,
        SaeError::Kernel(e) if e.is_argument() => ErrorCode::INVALID_ARGUMENT,
        SaeError::Kernel(_) | SaeError::Torch(_) => {
            let text = error.to_string();
            if text.contains("out of memory") || text.contains("can't allocate memory") {
                ErrorCode::OUT_OF_MEMORY
            } else {
                ErrorCode::INTERNAL
            }
        }
    };
    Error::new(code, error.to_string()).hint(error.hint())
}

fn torch_device(device: Device) -> Result<tch::Device> {
    match (device.kind, usize::try_from(device.index)) {
        (1, _) => Ok(tch::Device::Cpu),
        (2, Ok(index)) => Ok(tch::Device::Cuda(index)),
        _ => Err(Error::unsupported(format!(
            "device kind {} {}",
            device.kind, device.index
        ))),
    }
}

impl SaeArchitecture for TopK {
    fn new(name: &str, config: &Value) -> Result<Self> {
        let is_paper_code = name == PAPER_CODE;
        match config.as_object() {
            Some(map) if map.is_empty() => Ok(Self { is_paper_code }),
            None if config.is_null() => Ok(Self { is_paper_code }),
            _ => Err(
                Error::config(format!("`{name}` takes no configuration, found {config}"))
                    .hint("the active budget comes from each SAE's own files"),
            ),
        }
    }

    fn detect(&self, path: &Path) -> Result<Option<String>> {
        if self.is_paper_code {
            return Ok(None);
        }
        let format = crate::detect(path).map_err(report)?;
        Ok(format.map(|f| f.name().to_string()))
    }

    fn inspect(&self, path: &Path) -> Result<Option<SaeFolder>> {
        sae_folder::inspect(path).map_err(|error| Error::input(error.to_string()))
    }

    fn load(&self, path: &Path, device: Device, allow_nan: bool) -> Result<Box<dyn Sae>> {
        let policy = if allow_nan {
            NonFinite::Allow
        } else {
            NonFinite::Refuse
        };
        let mut weights = crate::load(path, policy).map_err(report)?;
        weights.apply_b_dec_to_input &= !self.is_paper_code;
        let sae = TopKSae::new(&weights, torch_device(device)?).map_err(report)?;
        Ok(Box::new(Loaded(sae)))
    }

    fn trainer(&self, config: &Value, device: Device) -> Result<Box<dyn SaeTrainer>> {
        if self.is_paper_code {
            return Err(Error::unsupported(format!("`{PAPER_CODE}` trains nothing"))
                .hint("train with `topk`"));
        }
        let config = TrainConfig::from_json(config).map_err(report)?;
        let trainer = Trainer::new(config, torch_device(device)?).map_err(report)?;
        Ok(Box::new(Training(trainer)))
    }
}

struct Loaded(TopKSae);

impl Sae for Loaded {
    fn info(&self) -> SaeInfo {
        let meta = self.0.meta();
        SaeInfo {
            d_model: self.0.d_model() as usize,
            d_sae: self.0.d_sae() as usize,
            k: self.0.k() as usize,
            max_active: self.0.k() as usize,
            layer: meta.layer.map(|l| l as usize),
            format: meta.format.name().into(),
            policy: meta.policy.clone(),
            model: meta.model.clone(),
        }
    }

    fn encode(
        &self,
        x: View<'_>,
        acts: &mut ViewMut<'_>,
        latents: &mut ViewMut<'_>,
        n_active: &mut ViewMut<'_>,
    ) -> Result<()> {
        let active = self.0.encode(&*x.tensor()?).map_err(report)?;
        acts.write(&active.acts)?;
        latents.write(&active.latents)?;
        n_active.write(&active.n_active)
    }

    fn decode(&self, acts: View<'_>, latents: View<'_>, x_hat: &mut ViewMut<'_>) -> Result<()> {
        let found = self
            .0
            .decode(&*acts.tensor()?, &*latents.tensor()?)
            .map_err(report)?;
        x_hat.write(&found)
    }

    fn latent_acts(&self, x: View<'_>, latents: View<'_>, acts: &mut ViewMut<'_>) -> Result<()> {
        let found = self
            .0
            .latent_acts(&*x.tensor()?, &*latents.tensor()?)
            .map_err(report)?;
        acts.write(&found)
    }

    fn decoder_rows(&self, latents: View<'_>, rows: &mut ViewMut<'_>) -> Result<()> {
        let found: Tensor = self.0.decoder_rows(&*latents.tensor()?).map_err(report)?;
        rows.write(&found)
    }

    fn reconstruct(&self, x: View<'_>, x_hat: &mut ViewMut<'_>) -> Result<()> {
        x_hat.write(&self.0.reconstruct(&*x.tensor()?).map_err(report)?)
    }
}

struct Training(Trainer);

impl SaeTrainer for Training {
    fn step(&mut self, x: View<'_>) -> Result<Vec<MetricValue>> {
        let r = self.0.step(&*x.tensor()?).map_err(report)?;
        let named = [
            ("loss", Some(r.loss)),
            ("ev", r.ev),
            ("l0", Some(r.l0)),
            ("n_dead", Some(r.n_dead as f64)),
        ];
        Ok(named
            .into_iter()
            .map(|(name, v)| MetricValue::new(name, v, r.n))
            .collect())
    }

    fn save(&mut self, dir: &Path, format: &str, dtype: DType, provenance: &Value) -> Result<()> {
        let Some(format) = Format::ALL.into_iter().find(|f| f.name() == format) else {
            return Err(Error::unsupported(format!("layout `{format}`"))
                .hint("written are saelens and dictionary_learning"));
        };
        let stored = match dtype {
            DType::F32 => Stored::F32,
            DType::BF16 => Stored::Bf16,
            other => return Err(Error::unsupported(format!("weights stored as {other:?}"))),
        };
        self.0.save(dir, format, stored, provenance).map_err(report)
    }

    fn save_state(&mut self, path: &Path) -> Result<()> {
        self.0.save_state(path).map_err(report)
    }

    fn load_state(&mut self, path: &Path) -> Result<()> {
        self.0.load_state(path).map_err(report)
    }
}
