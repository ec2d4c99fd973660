use abi_stable::{
    StableAbi, sabi_trait,
    std_types::{RBox, ROption, RStr, RString, RVec},
};

use crate::{AbiResult, DType, Device, ErrorCode, MetricValue, PluginError, TensorMut, TensorRef};

/// What the host needs to know of a sparse autoencoder.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct SaeInfo {
    /// Input width.
    pub d_model: u64,
    /// How many latents it has; they are counted from 0.
    pub d_sae: u64,
    /// Active budget per row; for architectures without one, the trained target.
    pub k: u64,
    /// Most latents a row can have active: the width of `acts` and `latents`.
    pub max_active: u64,
    /// Block whose output it reads, where the file says so.
    pub layer: ROption<u64>,
    /// Layout it was read from, e.g. `saelens`.
    pub format: RString,
    /// Positions it was trained on (`mask`, `unmask`, `clean`), empty where unknown.
    pub policy: RString,
    /// Model it was trained on, empty where unknown.
    pub model: RString,
}

/// An SAE architecture: reads its files and trains new ones.
#[sabi_trait]
pub trait SaeArchitecture: Send {
    /// Name of the layout when `path` holds an SAE this architecture can read with certainty.
    fn detect(&self, path: RStr<'_>) -> AbiResult<ROption<RString>>;

    /// Reads an SAE (a folder or a file); `allow_nan` accepts non-finite weights.
    fn load(&self, path: RStr<'_>, device: Device, allow_nan: bool) -> AbiResult<SaeBox>;

    /// A trainer; `config_json` is the architecture's own configuration.
    #[sabi(last_prefix_field)]
    fn trainer(&self, config_json: RStr<'_>, device: Device) -> AbiResult<SaeTrainerBox>;
}

/// An architecture as it crosses the boundary.
pub type SaeArchitectureBox = SaeArchitecture_TO<'static, RBox<()>>;

/// A loaded sparse autoencoder. `w` is `max_active`; unused slots hold latent -1 and act 0.
#[sabi_trait]
pub trait Sae: Send {
    /// Its shape and provenance.
    fn info(&self) -> AbiResult<SaeInfo>;

    /// `x: [n, d_model]` (f32 or bf16) → `acts: [n, w] f32` in descending order,
    /// `latents: [n, w] i64`, `n_active: [n] i64`.
    fn encode(
        &self,
        x: TensorRef<'_>,
        acts: TensorMut<'_>,
        latents: TensorMut<'_>,
        n_active: TensorMut<'_>,
    ) -> AbiResult<()>;

    /// `acts: [n, w] f32`, `latents: [n, w] i64` → `x_hat: [n, d_model] f32`.
    fn decode(
        &self,
        acts: TensorRef<'_>,
        latents: TensorRef<'_>,
        x_hat: TensorMut<'_>,
    ) -> AbiResult<()>;

    /// Activations of chosen latents before the top-k selection, `ReLU(p)`:
    /// `x: [n, d_model]`, `latents: [m] i64` → `acts: [n, m] f32`.
    fn latent_acts(
        &self,
        x: TensorRef<'_>,
        latents: TensorRef<'_>,
        acts: TensorMut<'_>,
    ) -> AbiResult<()>;

    /// Decoder rows as added to the residual: `latents: [m] i64` → `rows: [m, d_model] f32`.
    #[sabi(last_prefix_field)]
    fn decoder_rows(&self, latents: TensorRef<'_>, rows: TensorMut<'_>) -> AbiResult<()>;

    /// Reconstruction of `x: [n, d_model]` (f32 or bf16) → `x_hat: [n, d_model] f32`, for an SAE
    /// whose `decode` is `UNSUPPORTED` because it needs the input back. Since 1.3; the host decodes
    /// what it has encoded elsewhere.
    fn reconstruct(&self, _x: TensorRef<'_>, _x_hat: TensorMut<'_>) -> AbiResult<()> {
        AbiResult::RErr(PluginError {
            code: ErrorCode::UNSUPPORTED,
            message: RString::from("reconstruction from the input"),
            hint: RString::new(),
            retry_after_ms: 0,
        })
    }
}

/// Owned SAE.
pub type SaeBox = Sae_TO<'static, RBox<()>>;

/// Trains one SAE. All of its state is in `save_state`, so a resumed run ends bit-identical.
#[sabi_trait]
pub trait SaeTrainer: Send {
    /// One optimiser step on `x: [n, d_model] f32` → named values (`loss`, `ev`, `l0`, `n_dead`).
    fn step(&mut self, x: TensorRef<'_>) -> AbiResult<RVec<MetricValue>>;

    /// Writes the SAE to `dir` in `format`, with `dtype` weights and `provenance_json` in its
    /// config.
    fn save(
        &mut self,
        dir: RStr<'_>,
        format: RStr<'_>,
        dtype: DType,
        provenance_json: RStr<'_>,
    ) -> AbiResult<()>;

    /// Writes everything needed to go on to one file.
    fn save_state(&mut self, path: RStr<'_>) -> AbiResult<()>;

    /// Goes on from a file of `save_state`.
    #[sabi(last_prefix_field)]
    fn load_state(&mut self, path: RStr<'_>) -> AbiResult<()>;
}

/// A trainer as it crosses the boundary.
pub type SaeTrainerBox = SaeTrainer_TO<'static, RBox<()>>;
