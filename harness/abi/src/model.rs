use abi_stable::{
    StableAbi, sabi_trait,
    std_types::{RBox, ROption, RStr, RString, RVec},
};

use crate::{AbiResult, DType, Device, ErrorCode, PluginError, TensorMut, TensorRef};

/// How a model was trained to predict.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objective(pub u32);

impl Objective {
    /// Next-token prediction.
    pub const AUTOREGRESSIVE: Self = Self(1);
    /// Masked (absorbing) diffusion.
    pub const MASKED_DIFFUSION: Self = Self(2);
}

/// Which positions a position may attend to.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention(pub u32);

impl Attention {
    /// Earlier positions and itself.
    pub const CAUSAL: Self = Self(1);
    /// All positions.
    pub const BIDIRECTIONAL: Self = Self(2);
}

/// Whether a forward keeps keys and values between chunks.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheMode(pub u32);

impl CacheMode {
    /// Evaluation: `blocks` is a pure function of the residual.
    pub const OFF: Self = Self(0);
    /// Generation: each chunk extends stored keys and values (causal models only).
    pub const ON: Self = Self(1);
}

/// What the host needs to know of a model. Read from its configuration file, without weights.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct ModelInfo {
    /// Family, e.g. `dream`; the kind named by the parity fixtures.
    pub family: RString,
    /// Decides how losses are taken and how text is generated.
    pub objective: Objective,
    /// Whether a position sees what follows it.
    pub attention: Attention,
    /// 1 where logits at position i score position i + 1, else 0.
    pub logit_offset: u32,
    /// Blocks between embedding and head; they are counted from 0.
    pub n_layers: u64,
    /// Width of the residual stream.
    pub d_model: u64,
    /// Rows of the output head.
    pub vocab_size: u64,
    /// Longest context.
    pub max_positions: u64,
    /// Parameters of the whole model, embeddings included.
    pub n_params: u64,
    /// The token that stands for a hidden one; missing where the model has none.
    pub mask_token_id: ROption<i64>,
    /// The token that fills the shorter rows of a batch.
    pub pad_token_id: ROption<i64>,
    /// Begin-of-sequence token.
    pub bos_token_id: ROption<i64>,
    /// Tokens that end a text.
    pub eos_token_ids: RVec<i64>,
    /// Element type of the weights as stored.
    pub stored_dtype: DType,
}

/// Where and how to load a model.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct LoadRequest<'a> {
    /// Folder of the checkpoint.
    pub dir: RStr<'a>,
    /// Device of weights and activations.
    pub device: Device,
    /// Element type of weights and residuals: F32, BF16 or F16.
    pub dtype: DType,
    /// Accept NaN and infinite weights.
    pub allow_nan: bool,
}

/// One batch to run.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct ForwardRequest<'a> {
    /// `[b, capacity] u8` on the CPU, 1 at real tokens (future ones included), 0 at padding.
    pub attention_mask: TensorRef<'a>,
    /// Whether chunks extend stored keys and values.
    pub cache: CacheMode,
}

/// A model family: reads its checkpoints and starts forwards.
#[sabi_trait]
pub trait ModelAdapter: Send {
    /// Reads the configuration in `dir` without weights.
    fn inspect(&self, dir: RStr<'_>) -> AbiResult<ModelInfo>;

    /// Loads the weights; called once.
    fn load(&mut self, request: LoadRequest<'_>) -> AbiResult<ModelInfo>;

    /// Starts a forward over a batch. Several may be alive at once.
    fn begin(&mut self, request: ForwardRequest<'_>) -> AbiResult<ForwardBox>;

    /// Bytes of activations a forward of `b` rows of `t` tokens needs at its peak, weights aside.
    #[sabi(last_prefix_field)]
    fn memory_estimate(&self, b: u64, t: u64) -> AbiResult<u64>;

    /// What a plan needs of the checkpoint in `dir` beside [`ModelInfo`], as a JSON object with its
    /// version (the SDK writes it). No weights are read. Since 1.3; without it the host assumes
    /// usual blocks of as many numbers as [`ModelInfo::n_params`] says.
    fn facts(&self, _dir: RStr<'_>) -> AbiResult<RString> {
        AbiResult::RErr(PluginError {
            code: ErrorCode::UNSUPPORTED,
            message: RString::from("facts about a checkpoint"),
            hint: RString::new(),
            retry_after_ms: 0,
        })
    }
}

/// A model adapter as it crosses the boundary.
pub type ModelBox = ModelAdapter_TO<'static, RBox<()>>;

/// A forward over one batch, in segments. The host may change the residual between them.
///
/// The residual's batch may be a multiple of the request's: row `r` then belongs to row `r % b`.
#[sabi_trait]
pub trait Forward: Send {
    /// `tokens: [b, t] i64` at columns `start..start + t` → `resid: [b, t, d_model]`.
    fn embed(&mut self, tokens: TensorRef<'_>, start: u64, resid: TensorMut<'_>) -> AbiResult<()>;

    /// Runs blocks `first..last` (half open) on `resid: [n·b, t, d_model]` in place.
    fn blocks(&mut self, first: u64, last: u64, resid: TensorMut<'_>) -> AbiResult<()>;

    /// `rows: [n, d_model]` after the last block → `out: [n, d_model]` after the final norm.
    fn final_norm(&mut self, rows: TensorRef<'_>, out: TensorMut<'_>) -> AbiResult<()>;

    /// `rows: [n, d_model]` after the last block → `logits: [n, vocab_size] f32`, final norm
    /// included.
    #[sabi(last_prefix_field)]
    fn unembed(&mut self, rows: TensorRef<'_>, logits: TensorMut<'_>) -> AbiResult<()>;

    /// Cross-entropy `ce: [n] f32` (nats) of `targets: [n] i64` under `unembed(rows)`.
    fn unembed_ce(
        &mut self,
        _rows: TensorRef<'_>,
        _targets: TensorRef<'_>,
        _ce: TensorMut<'_>,
    ) -> AbiResult<()> {
        AbiResult::RErr(PluginError {
            code: ErrorCode::UNSUPPORTED,
            message: RString::from("fused cross-entropy"),
            hint: RString::new(),
            retry_after_ms: 0,
        })
    }
}

/// A batch under way as it crosses the boundary.
pub type ForwardBox = Forward_TO<'static, RBox<()>>;
