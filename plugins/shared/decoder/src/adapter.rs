//! The model traits of the plugin SDK over [`Decoder`], shared by the five model plugins.
//!
//! A plugin names its family and adds the rules that only it knows:
//!
//! ```text
//! struct Dream;
//! impl Rules for Dream {
//!     const FAMILY: Family = Family::Dream;
//! }
//! harness_sdk::export_plugin! { id: "dream", torch: "2.11.0", components: [ model "dream" => Adapter<Dream>: "…" ] }
//! ```

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harness_sdk::{
    CacheMode, DType, Error, ErrorCode, Forward, LoadRequest, ModelAdapter, ModelFacts, ModelInfo,
    Value, View, ViewMut,
};
use tch::{Device, Kind};

use crate::error::says_out_of_memory;
use crate::{
    Attention, Cache, Decoder, DecoderConfig, DecoderError, Family, ForwardContext, LoadOptions,
    NonFinite, Objective,
};

/// What one family's plugin adds to the shared decoder.
pub trait Rules: Send + 'static {
    /// The family that the plugin reads.
    const FAMILY: Family;

    /// Refuses a configuration that the decoder could run but the family cannot have.
    ///
    /// # Errors
    /// What is wrong, as a lower-case fragment.
    fn check(_config: &DecoderConfig) -> std::result::Result<(), String> {
        Ok(())
    }
}

/// A model is shared by the forwards that run on it. Tensors may move between threads but not be
/// used by two at once, hence the lock; it is taken once per call.
type Shared = Arc<Mutex<Box<dyn Decoder>>>;

/// A family's model component.
pub struct Adapter<R> {
    model: Option<Shared>,
    rules: PhantomData<fn() -> R>,
}

/// One batch on a shared model.
struct Running {
    model: Shared,
    context: ForwardContext,
}

impl<R: Rules> Adapter<R> {
    fn config(dir: &Path) -> harness_sdk::Result<DecoderConfig> {
        let config = DecoderConfig::from_folder(dir).map_err(sdk_error)?;
        let origin = dir.join("config.json");
        config
            .expect_family(&origin.display().to_string(), R::FAMILY)
            .map_err(sdk_error)?;
        R::check(&config)
            .map_err(|message| Error::input(format!("{}: {message}", origin.display())))?;
        Ok(config)
    }

    fn model(&self) -> harness_sdk::Result<&Shared> {
        self.model
            .as_ref()
            .ok_or_else(|| Error::invalid("no model is loaded: load comes first"))
    }
}

impl<R: Rules> ModelAdapter for Adapter<R> {
    fn new(name: &str, config: &Value) -> harness_sdk::Result<Self> {
        match config {
            Value::Null => {}
            Value::Object(map) if map.is_empty() => {}
            other => {
                return Err(Error::config(format!(
                    "the model component {name} has no settings, got {other}"
                )));
            }
        }
        Ok(Self {
            model: None,
            rules: PhantomData,
        })
    }

    fn inspect(&self, dir: &Path) -> harness_sdk::Result<ModelInfo> {
        let config = Self::config(dir)?;
        // A folder can be planned for before its weights are there.
        let stored = crate::stored_kind(dir).unwrap_or(Kind::BFloat16);
        Ok(info(&config, stored))
    }

    fn load(&mut self, request: &LoadRequest) -> harness_sdk::Result<ModelInfo> {
        Self::config(&request.dir)?;
        let options = LoadOptions {
            kind: kind(request.dtype)?,
            device: present(request.torch_device()?)?,
            non_finite: if request.allow_nan {
                NonFinite::Allow
            } else {
                NonFinite::Refuse
            },
        };
        let model = guarded(|| crate::load(&request.dir, Some(R::FAMILY), &options))?;
        let stored = crate::stored_kind(&request.dir).map_err(sdk_error)?;
        // The files may hold a head that the configuration ties.
        let info = info(model.config(), stored);
        self.model = Some(Arc::new(Mutex::new(model)));
        Ok(info)
    }

    fn begin(
        &mut self,
        attention_mask: View<'_>,
        cache: CacheMode,
    ) -> harness_sdk::Result<Box<dyn Forward>> {
        let cache = match cache {
            CacheMode::OFF => Cache::Off,
            CacheMode::ON => Cache::On,
            other => return Err(Error::unsupported(format!("cache mode {other:?}"))),
        };
        let model = self.model()?;
        let mask = attention_mask.tensor()?; // [b, capacity]
        let shape = (attention_mask.shape()[0], attention_mask.shape()[1]);
        let context = guarded(|| lock(model).begin(shape, Some(&mask), cache))?;
        Ok(Box::new(Running {
            model: Arc::clone(model),
            context,
        }))
    }

    fn memory_estimate(&self, b: usize, t: usize) -> harness_sdk::Result<u64> {
        Ok(lock(self.model()?).memory_estimate(i64::try_from(b)?, i64::try_from(t)?))
    }

    fn facts(&self, dir: &Path) -> harness_sdk::Result<ModelFacts> {
        Ok(facts(&Self::config(dir)?))
    }
}

impl Forward for Running {
    fn embed(
        &mut self,
        tokens: View<'_>,
        start: usize,
        resid: &mut ViewMut<'_>,
    ) -> harness_sdk::Result<()> {
        let start = i64::try_from(start)?;
        let tokens = tokens.tensor()?; // [r, t]
        let embedded = guarded(|| lock(&self.model).embed(&tokens, start, &mut self.context))?; // [r, t, d]
        resid.write(&embedded)
    }

    fn blocks(
        &mut self,
        first: usize,
        last: usize,
        resid: &mut ViewMut<'_>,
    ) -> harness_sdk::Result<()> {
        let (first, last) = (i64::try_from(first)?, i64::try_from(last)?);
        let output = {
            let input = resid.tensor()?; // [r, t, d]
            let model = lock(&self.model);
            guarded(|| {
                let input = input.to_device(model.device()).to_kind(model.kind());
                model.blocks(first, last, &input, &mut self.context)
            })?
        };
        // No block, no change: and the result would be the host's own memory.
        if first == last {
            Ok(())
        } else {
            resid.write(&output)
        }
    }

    fn final_norm(&mut self, rows: View<'_>, out: &mut ViewMut<'_>) -> harness_sdk::Result<()> {
        let rows = rows.tensor()?; // [n, d]
        let model = lock(&self.model);
        let normed =
            guarded(|| model.final_norm(&rows.to_device(model.device()).to_kind(model.kind())))?;
        out.write(&normed)
    }

    fn unembed(&mut self, rows: View<'_>, logits: &mut ViewMut<'_>) -> harness_sdk::Result<()> {
        let rows = rows.tensor()?; // [n, d]
        let out = logits.tensor()?; // [n, v]
        let model = lock(&self.model);
        guarded(|| model.unembed_into(&rows.to_device(model.device()).to_kind(model.kind()), &out))
    }

    fn unembed_ce(
        &mut self,
        rows: View<'_>,
        targets: View<'_>,
        ce: &mut ViewMut<'_>,
    ) -> harness_sdk::Result<()> {
        let (rows, targets) = (rows.tensor()?, targets.tensor()?); // [n, d], [n]
        let model = lock(&self.model);
        let costs = guarded(|| {
            model.unembed_ce(
                &rows.to_device(model.device()).to_kind(model.kind()),
                &targets,
            )
        })?; // [n]
        ce.write(&costs)
    }
}

/// A panic cannot leave the weights half changed, since nothing changes them.
fn lock(model: &Shared) -> MutexGuard<'_, Box<dyn Decoder>> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Turns the crate's errors, and libtorch's panic on lack of memory, into the SDK's. Another panic
/// goes on to the bridge.
fn guarded<T>(f: impl FnOnce() -> crate::Result<T>) -> harness_sdk::Result<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(sdk_error),
        Err(payload) => match panic_text(&*payload) {
            Some(text) if says_out_of_memory(text) => {
                Err(Error::new(ErrorCode::OUT_OF_MEMORY, first_line(text))
                    .hint("use a smaller batch"))
            }
            _ => resume_unwind(payload),
        },
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
}

/// libtorch's messages carry a C++ stack after the first line.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn sdk_error(error: DecoderError) -> Error {
    let code = if error.is_out_of_memory() {
        ErrorCode::OUT_OF_MEMORY
    } else {
        match &error {
            DecoderError::Argument(_) => ErrorCode::INVALID_ARGUMENT,
            DecoderError::Torch(_) => ErrorCode::INTERNAL,
            _ => ErrorCode::INPUT,
        }
    };
    Error::new(code, error.to_string())
}

fn kind(dtype: DType) -> harness_sdk::Result<Kind> {
    match dtype {
        DType::F32 => Ok(Kind::Float),
        DType::BF16 => Ok(Kind::BFloat16),
        DType::F16 => Ok(Kind::Half),
        other => Err(Error::unsupported(format!(
            "a model in {other:?}; available: f32, bf16, f16"
        ))),
    }
}

fn present(device: Device) -> harness_sdk::Result<Device> {
    match device {
        Device::Cuda(index) if i64::try_from(index)? >= tch::Cuda::device_count() => {
            let found = tch::Cuda::device_count();
            Err(Error::unsupported(format!(
                "no device cuda:{index}: libtorch sees {found} CUDA devices"
            ))
            .hint("use --device cpu"))
        }
        device => Ok(device),
    }
}

fn facts(config: &DecoderConfig) -> ModelFacts {
    ModelFacts {
        d_ff: config.d_ff as usize,
        n_ff: config.family.n_ff(),
        d_kv: (config.n_kv_heads * config.head_dim) as usize,
        blocks: Some(config.family.blocks().to_owned()),
        schedule_eps: config.family.schedule_eps(),
    }
}

fn info(config: &DecoderConfig, stored: Kind) -> ModelInfo {
    ModelInfo {
        family: config.family.name().to_owned(),
        objective: match config.family.objective() {
            Objective::Autoregressive => harness_sdk::Objective::AUTOREGRESSIVE,
            Objective::MaskedDiffusion => harness_sdk::Objective::MASKED_DIFFUSION,
        },
        attention: match config.attention {
            Attention::Causal => harness_sdk::Attention::CAUSAL,
            Attention::Bidirectional => harness_sdk::Attention::BIDIRECTIONAL,
        },
        logit_offset: config.family.logit_offset(),
        // `validate` bounds every size far below the limits of these types.
        n_layers: config.n_layers as usize,
        d_model: config.d_model as usize,
        vocab_size: config.vocab_size as usize,
        max_positions: config.max_positions as usize,
        n_params: config.n_params() as u64,
        mask_token_id: config.special.mask,
        pad_token_id: config.special.pad,
        bos_token_id: config.special.bos,
        eos_token_ids: config.special.eos.clone(),
        stored_dtype: match stored {
            Kind::BFloat16 => DType::BF16,
            Kind::Half => DType::F16,
            Kind::Double => DType::F64,
            _ => DType::F32,
        },
    }
}
