use abi_stable::{StableAbi, sabi_trait, std_types::RBox};

use crate::{AbiResult, TensorMut, TensorRef};

/// Which step statistics a remasker reads; bits are combined with `|`.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemaskNeeds(pub u64);

impl RemaskNeeds {
    /// Nothing but the token states.
    pub const NONE: Self = Self(0);
    /// Asks for [`StepView::confidence`].
    pub const CONFIDENCE: Self = Self(1);
    /// Asks for [`StepView::margin`].
    pub const MARGIN: Self = Self(2);
    /// Asks for [`StepView::neg_entropy`].
    pub const NEG_ENTROPY: Self = Self(4);
    /// Asks for [`StepView::uniform`].
    pub const UNIFORM: Self = Self(8);
    /// Statistics of SAE features: [`Remasker::features`] before every [`Remasker::select`]. Since
    /// 1.1; an older host does not know the bit and never calls that method.
    pub const FEATURES: Self = Self(16);
}

/// What a remasker sees of one denoising step. Every tensor is `[b, t]` on the CPU; statistics not
/// asked for by `needs` hold zeros. At positions that are not eligible statistics are undefined.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct StepView<'a> {
    /// Step within the block of positions being decoded, from 0.
    pub step: u64,
    /// Steps of that block.
    pub n_steps: u64,
    /// i64, the sequence before this step.
    pub tokens: TensorRef<'a>,
    /// u8, 1 where the token is the mask token and may be revealed now.
    pub eligible: TensorRef<'a>,
    /// i64, the token that would be revealed.
    pub candidate: TensorRef<'a>,
    /// f32, probability of the candidate.
    pub confidence: TensorRef<'a>,
    /// f32, largest minus second largest probability.
    pub margin: TensorRef<'a>,
    /// f32, sum p·ln(p + 1e-10): negative entropy in nats.
    pub neg_entropy: TensorRef<'a>,
    /// f32 in [0, 1), one draw per position from the host's counter-based generator.
    pub uniform: TensorRef<'a>,
}

/// How SAE features changed from the pass before to this one. Tensors are on the CPU; `[l]` counts
/// the blocks whose outputs are encoded, `[b, t]` is that of the step. Since 1.1.
///
/// Both statistics are NaN where there is no value: in the first pass of a run, and at positions
/// the host does not track (the prompt, padding).
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct FeatureView<'a> {
    /// The `step` of the [`StepView`] that follows.
    pub step: u64,
    /// `[l]` i64, blocks whose outputs are encoded, counted from 0 and ascending.
    pub layers: TensorRef<'a>,
    /// `[l, b, t]` f32 in [0, 1], Jaccard index of the position's `k_set` most active latents in
    /// this pass and in the pass before (Eq. 20).
    pub jaccard: TensorRef<'a>,
    /// `[l, b, t]` f32, 1 where the position's most active latent is that of the pass before, else
    /// 0.
    pub top1_same: TensorRef<'a>,
}

/// Decides which masked positions are revealed at each denoising step (Eq. 8).
///
/// Rows are independent: what is revealed in one must not depend on another, so that batching
/// changes nothing.
#[sabi_trait]
pub trait Remasker: Send {
    /// Statistics the host must compute.
    fn needs(&self) -> RemaskNeeds;

    /// Starts a run (or a block of positions) of `n_steps` steps over `batch` rows.
    fn begin(&mut self, n_steps: u64, batch: u64) -> AbiResult<()>;

    /// `reveal: [b, t] u8`, 1 at positions to fill with their candidate. Only eligible ones may be
    /// 1, and after the last step none may be left.
    #[sabi(last_prefix_field)]
    fn select(&mut self, step: StepView<'_>, reveal: TensorMut<'_>) -> AbiResult<()>;

    /// Statistics of SAE features in this pass; called before `select` of the same step when
    /// `needs` has [`RemaskNeeds::FEATURES`]. Since 1.1.
    fn features(&mut self, _view: FeatureView<'_>) -> AbiResult<()> {
        AbiResult::ROk(())
    }
}

/// A remasker as it crosses the boundary.
pub type RemaskerBox = Remasker_TO<'static, RBox<()>>;
