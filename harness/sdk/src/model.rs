use std::path::{Path, PathBuf};

use abi_stable::std_types::{ROption, RStr, RString};
use harness_abi::{
    self as abi, AbiResult, Attention, CacheMode, DType, Device, ForwardBox, ModelBox, Objective,
    TensorMut, TensorRef,
};
use serde_json::json;

use crate::{
    Error, Result, Value, View, ViewMut,
    bridge::{Bridge, FLOATS, expect, expect_mut},
};

/// What the host needs to know of a model; read from its configuration, without weights.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Family, e.g. `dream`; the kind named by the parity fixtures.
    pub family: String,
    /// Decides how losses are taken and how text is generated.
    pub objective: Objective,
    /// Whether a position sees what follows it.
    pub attention: Attention,
    /// 1 where logits at position i score position i + 1, else 0.
    pub logit_offset: u32,
    /// Blocks between embedding and head; they are counted from 0.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Rows of the output head.
    pub vocab_size: usize,
    /// Longest context.
    pub max_positions: usize,
    /// Parameters of the whole model, embeddings included.
    pub n_params: u64,
    /// The token that stands for a hidden one; missing where the model has none.
    pub mask_token_id: Option<i64>,
    /// The token that fills the shorter rows of a batch.
    pub pad_token_id: Option<i64>,
    /// Begin-of-sequence token.
    pub bos_token_id: Option<i64>,
    /// Tokens that end a text.
    pub eos_token_ids: Vec<i64>,
    /// Element type of the weights as stored.
    pub stored_dtype: DType,
}

/// What a plan needs of a model beside [`ModelInfo`]. It decides forecasts and warnings, and no
/// result.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFacts {
    /// Width of the feed-forward layer of a block.
    pub d_ff: usize,
    /// Matrices of `d_model × d_ff` in that layer: 3 with a gate, else 2.
    pub n_ff: usize,
    /// Width of the keys of all heads together.
    pub d_kv: usize,
    /// What the paths of the checkpoint's modules call the list of blocks, e.g. `h` in
    /// `transformer.h.3`. An SAE whose own path calls it otherwise was made for another model.
    pub blocks: Option<String>,
    /// For masked diffusion: where the family's schedule unmasks by a time that falls evenly from 1
    /// to a smallest value, that value; `None` where every step unmasks equally many positions.
    pub schedule_eps: Option<f64>,
}

/// The version of the JSON in which [`ModelFacts`] are handed to the host.
const FACTS_VERSION: u32 = 1;

/// Where and how to load a model.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// Folder of the checkpoint.
    pub dir: PathBuf,
    /// Device of weights and activations.
    pub device: Device,
    /// Element type of weights and residuals.
    pub dtype: DType,
    /// Accept NaN and infinite weights.
    pub allow_nan: bool,
}

#[cfg(feature = "tch")]
impl LoadRequest {
    /// The device as torch names it.
    ///
    /// # Errors
    /// A device torch does not know.
    pub fn torch_device(&self) -> Result<tch::Device> {
        crate::view::torch_device(self.device)
    }
}

/// A model family: reads its checkpoints and starts forwards.
pub trait ModelAdapter: Send + 'static {
    /// A component of this name with its configuration; does no heavy work.
    ///
    /// # Errors
    /// A configuration it does not understand.
    fn new(name: &str, config: &Value) -> Result<Self>
    where
        Self: Sized;

    /// Reads the configuration in `dir` without weights.
    ///
    /// # Errors
    /// A folder that is not of this family.
    fn inspect(&self, dir: &Path) -> Result<ModelInfo>;

    /// Loads the weights; called once.
    ///
    /// # Errors
    /// Missing or damaged files, too little memory.
    fn load(&mut self, request: &LoadRequest) -> Result<ModelInfo>;

    /// Starts a forward. `attention_mask: [b, capacity] u8` on the CPU, 1 at real tokens (tokens
    /// still to be generated included), 0 at padding. Several forwards may be alive at once.
    ///
    /// # Errors
    /// A capacity over `max_positions`, a cache for a bidirectional model.
    fn begin(&mut self, attention_mask: View<'_>, cache: CacheMode) -> Result<Box<dyn Forward>>;

    /// Bytes of activations a forward of `b` rows of `t` tokens needs at its peak, weights aside.
    ///
    /// # Errors
    /// A model that is not loaded.
    fn memory_estimate(&self, b: usize, t: usize) -> Result<u64>;

    /// What a plan needs of the checkpoint in `dir`, from its configuration. Optional: without it
    /// the host assumes usual blocks of as many numbers as [`ModelInfo::n_params`] says.
    ///
    /// # Errors
    /// A folder that is not of this family; `UNSUPPORTED` by default.
    fn facts(&self, _dir: &Path) -> Result<ModelFacts> {
        Err(Error::unsupported("facts about a checkpoint"))
    }
}

/// A forward over one batch, in segments. The residual's batch may be a multiple `n·b` of the
/// request's; row `r` then belongs to row `r % b`.
pub trait Forward: Send + 'static {
    /// `tokens: [b, t] i64` at columns `start..start + t` → `resid: [b, t, d_model]`.
    ///
    /// # Errors
    /// A token id out of range.
    fn embed(&mut self, tokens: View<'_>, start: usize, resid: &mut ViewMut<'_>) -> Result<()>;

    /// Runs blocks `first..last` on `resid: [n·b, t, d_model]` in place.
    ///
    /// # Errors
    /// A range that is not within the model's blocks.
    fn blocks(&mut self, first: usize, last: usize, resid: &mut ViewMut<'_>) -> Result<()>;

    /// `rows: [n, d_model]` after the last block → `out: [n, d_model]` after the final norm.
    ///
    /// # Errors
    /// None of its own.
    fn final_norm(&mut self, rows: View<'_>, out: &mut ViewMut<'_>) -> Result<()>;

    /// `rows: [n, d_model]` after the last block → `logits: [n, vocab_size] f32`, final norm
    /// included.
    ///
    /// # Errors
    /// None of its own.
    fn unembed(&mut self, rows: View<'_>, logits: &mut ViewMut<'_>) -> Result<()>;

    /// Cross-entropy `ce: [n] f32` (nats) of `targets: [n] i64` under `unembed(rows)`, in f32.
    /// Optional: without it the host uses `unembed`.
    ///
    /// # Errors
    /// `UNSUPPORTED` by default.
    fn unembed_ce(
        &mut self,
        _rows: View<'_>,
        _targets: View<'_>,
        _ce: &mut ViewMut<'_>,
    ) -> Result<()> {
        Err(Error::unsupported("fused cross-entropy"))
    }
}

impl ModelInfo {
    fn into_abi(self) -> abi::ModelInfo {
        abi::ModelInfo {
            family: self.family.into(),
            objective: self.objective,
            attention: self.attention,
            logit_offset: self.logit_offset,
            n_layers: self.n_layers as u64,
            d_model: self.d_model as u64,
            vocab_size: self.vocab_size as u64,
            max_positions: self.max_positions as u64,
            n_params: self.n_params,
            mask_token_id: option(self.mask_token_id),
            pad_token_id: option(self.pad_token_id),
            bos_token_id: option(self.bos_token_id),
            eos_token_ids: self.eos_token_ids.into(),
            stored_dtype: self.stored_dtype,
        }
    }
}

impl ModelFacts {
    /// The JSON object that the host reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "version": FACTS_VERSION,
            "d_ff": self.d_ff,
            "n_ff": self.n_ff,
            "d_kv": self.d_kv,
            "blocks": self.blocks,
            "schedule_eps": self.schedule_eps,
        })
    }
}

fn option<T>(value: Option<T>) -> ROption<T> {
    value.map_or(ROption::RNone, ROption::RSome)
}

/// Wraps an author's model for the boundary.
pub fn boxed<T: ModelAdapter>(name: &str, config: &Value) -> Result<ModelBox> {
    let bridge = Bridge::new(name, Box::new(T::new(name, config)?));
    Ok(ModelBox::from_value(
        bridge,
        abi_stable::sabi_trait::TD_Opaque,
    ))
}

impl<T: ModelAdapter> abi::ModelAdapter for Bridge<T> {
    fn inspect(&self, dir: RStr<'_>) -> AbiResult<abi::ModelInfo> {
        self.with("inspect", |model| {
            Ok(model.inspect(Path::new(dir.as_str()))?.into_abi())
        })
    }

    fn load(&mut self, request: abi::LoadRequest<'_>) -> AbiResult<abi::ModelInfo> {
        self.with_mut("load", |model| {
            let request = LoadRequest {
                dir: PathBuf::from(request.dir.as_str()),
                device: request.device,
                dtype: request.dtype,
                allow_nan: request.allow_nan,
            };
            Ok(model.load(&request)?.into_abi())
        })
    }

    fn begin(&mut self, request: abi::ForwardRequest<'_>) -> AbiResult<ForwardBox> {
        let name = self.name().to_owned();
        self.with_mut("begin", |model| {
            let mask = View::new(request.attention_mask);
            expect("attention_mask", &mask, &[-1, -1], &[DType::U8])?;
            let forward = model.begin(mask, request.cache)?;
            let bridge = Bridge::<dyn Forward>::new(&name, forward);
            Ok(ForwardBox::from_value(
                bridge,
                abi_stable::sabi_trait::TD_Opaque,
            ))
        })
    }

    fn memory_estimate(&self, b: u64, t: u64) -> AbiResult<u64> {
        self.with("memory_estimate", |model| {
            model.memory_estimate(usize::try_from(b)?, usize::try_from(t)?)
        })
    }

    fn facts(&self, dir: RStr<'_>) -> AbiResult<RString> {
        self.with("facts", |model| {
            let facts = model.facts(Path::new(dir.as_str()))?;
            Ok(facts.to_json().to_string().into())
        })
    }
}

impl abi::Forward for Bridge<dyn Forward> {
    fn embed(&mut self, tokens: TensorRef<'_>, start: u64, resid: TensorMut<'_>) -> AbiResult<()> {
        self.with_mut("embed", |forward| {
            let (tokens, mut resid) = (View::new(tokens), ViewMut::new(resid));
            expect("tokens", &tokens, &[-1, -1], &[DType::I64])?;
            let (b, t) = (tokens.shape()[0], tokens.shape()[1]);
            expect_mut("resid", &resid, &[b, t, -1], FLOATS)?;
            forward.embed(tokens, usize::try_from(start)?, &mut resid)
        })
    }

    fn blocks(&mut self, first: u64, last: u64, resid: TensorMut<'_>) -> AbiResult<()> {
        self.with_mut("blocks", |forward| {
            let mut resid = ViewMut::new(resid);
            expect_mut("resid", &resid, &[-1, -1, -1], FLOATS)?;
            forward.blocks(usize::try_from(first)?, usize::try_from(last)?, &mut resid)
        })
    }

    fn final_norm(&mut self, rows: TensorRef<'_>, out: TensorMut<'_>) -> AbiResult<()> {
        self.with_mut("final_norm", |forward| {
            let (rows, mut out) = (View::new(rows), ViewMut::new(out));
            expect("rows", &rows, &[-1, -1], FLOATS)?;
            expect_mut("out", &out, rows.shape(), FLOATS)?;
            forward.final_norm(rows, &mut out)
        })
    }

    fn unembed(&mut self, rows: TensorRef<'_>, logits: TensorMut<'_>) -> AbiResult<()> {
        self.with_mut("unembed", |forward| {
            let (rows, mut logits) = (View::new(rows), ViewMut::new(logits));
            expect("rows", &rows, &[-1, -1], FLOATS)?;
            expect_mut("logits", &logits, &[rows.shape()[0], -1], &[DType::F32])?;
            forward.unembed(rows, &mut logits)
        })
    }

    fn unembed_ce(
        &mut self,
        rows: TensorRef<'_>,
        targets: TensorRef<'_>,
        ce: TensorMut<'_>,
    ) -> AbiResult<()> {
        self.with_mut("unembed_ce", |forward| {
            let (rows, targets, mut ce) = (View::new(rows), View::new(targets), ViewMut::new(ce));
            expect("rows", &rows, &[-1, -1], FLOATS)?;
            let n = rows.shape()[0];
            expect("targets", &targets, &[n], &[DType::I64])?;
            expect_mut("ce", &ce, &[n], &[DType::F32])?;
            forward.unembed_ce(rows, targets, &mut ce)
        })
    }
}
