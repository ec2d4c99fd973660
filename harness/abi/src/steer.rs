use abi_stable::{StableAbi, sabi_trait, std_types::RBox};

use crate::{AbiResult, TensorMut, TensorRef};

/// What a steering policy reads; bits are combined with `|`.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteerNeeds(pub u64);

impl SteerNeeds {
    /// Nothing but the token states.
    pub const NONE: Self = Self(0);
    /// Asks for the activation of the steered latent at each position.
    pub const LATENT_ACT: Self = Self(1);
}

/// What a policy sees of one forward pass. Tensors are `[b, t]` on the CPU.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SteerRequest<'a> {
    /// Denoising step, or number of tokens generated so far.
    pub step: u64,
    /// Steps of the run.
    pub n_steps: u64,
    /// Strength α of Eq. 4 (`amp_factor`).
    pub amp_factor: f64,
    /// u8, 1 at real tokens of this pass.
    pub is_valid: TensorRef<'a>,
    /// u8, 1 where this pass's input is the mask token (0 everywhere for autoregressive models).
    pub is_masked: TensorRef<'a>,
    /// f32, activation of the steered latent before the top-k selection, `ReLU(p)`, of this pass's
    /// own residual; zeros when not asked for.
    pub latent_act: TensorRef<'a>,
}

/// Decides where and how strongly a direction is added (the s_k of Eq. 13).
#[sabi_trait]
pub trait SteeringPolicy: Send {
    /// What the host must compute.
    fn needs(&self) -> SteerNeeds;

    /// `coeff: [b, t] f32`: the host adds `coeff · m · v` to the residual (Eq. 4). Invalid
    /// positions must get 0.
    #[sabi(last_prefix_field)]
    fn plan(&mut self, request: SteerRequest<'_>, coeff: TensorMut<'_>) -> AbiResult<()>;
}

/// A steering policy as it crosses the boundary.
pub type SteeringPolicyBox = SteeringPolicy_TO<'static, RBox<()>>;
