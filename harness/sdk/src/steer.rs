use harness_abi::{
    self as abi, AbiResult, DType, SteerNeeds, SteerRequest, SteeringPolicyBox, TensorMut,
};

use crate::{
    Result, Value, View, ViewMut,
    bridge::{Bridge, expect, expect_mut},
};

/// What a policy sees of one forward pass; slices are `[b, t]` in row-major order.
#[derive(Clone, Copy, Debug)]
pub struct SteerStep<'a> {
    /// Denoising step, or number of tokens generated so far.
    pub step: usize,
    /// Steps of the run.
    pub n_steps: usize,
    /// How many sequences are run together, the `b` of shapes.
    pub batch: usize,
    /// Positions of this pass.
    pub len: usize,
    /// Strength α of Eq. 4.
    pub amp_factor: f64,
    /// 1 at real tokens.
    pub is_valid: &'a [u8],
    /// 1 where the input is the mask token.
    pub is_masked: &'a [u8],
    /// `ReLU(p)` of the steered latent on this pass's own residual; zeros when not asked for.
    pub latent_act: &'a [f32],
}

/// Decides where and how strongly a direction is added (the s_k of Eq. 13).
pub trait SteeringPolicy: Send + 'static {
    /// A component of this name with its configuration.
    ///
    /// # Errors
    /// A configuration it does not understand.
    fn new(name: &str, config: &Value) -> Result<Self>
    where
        Self: Sized;

    /// What the host must compute.
    fn needs(&self) -> SteerNeeds;

    /// Sets `coeff[row * len + position]`: the host adds `coeff · m · v` there (Eq. 4). It comes in
    /// as zeros; invalid positions must stay 0.
    ///
    /// # Errors
    /// None of its own.
    fn plan(&mut self, step: &SteerStep<'_>, coeff: &mut [f32]) -> Result<()>;
}

/// Wraps an author's policy for the boundary.
pub fn boxed<T: SteeringPolicy>(name: &str, config: &Value) -> Result<SteeringPolicyBox> {
    let bridge = Bridge::new(name, Box::new(T::new(name, config)?));
    Ok(SteeringPolicyBox::from_value(
        bridge,
        abi_stable::sabi_trait::TD_Opaque,
    ))
}

impl<T: SteeringPolicy> abi::SteeringPolicy for Bridge<T> {
    fn needs(&self) -> SteerNeeds {
        // As for remaskers: a panic is reported by the next method.
        match self.with("needs", |policy| Ok(policy.needs())) {
            AbiResult::ROk(needs) => needs,
            AbiResult::RErr(_) => SteerNeeds::NONE,
        }
    }

    fn plan(&mut self, request: SteerRequest<'_>, coeff: TensorMut<'_>) -> AbiResult<()> {
        self.with_mut("plan", |policy| {
            let is_valid = View::new(request.is_valid);
            expect("is_valid", &is_valid, &[-1, -1], &[DType::U8])?;
            let shape = is_valid.shape();
            let is_masked = View::new(request.is_masked);
            expect("is_masked", &is_masked, shape, &[DType::U8])?;
            let latent_act = View::new(request.latent_act);
            expect("latent_act", &latent_act, shape, &[DType::F32])?;
            let mut coeff = ViewMut::new(coeff);
            expect_mut("coeff", &coeff, shape, &[DType::F32])?;
            let step = SteerStep {
                step: usize::try_from(request.step)?,
                n_steps: usize::try_from(request.n_steps)?,
                batch: usize::try_from(shape[0])?,
                len: usize::try_from(shape[1])?,
                amp_factor: request.amp_factor,
                is_valid: is_valid.u8()?,
                is_masked: is_masked.u8()?,
                latent_act: latent_act.f32()?,
            };
            let coeff = coeff.f32()?;
            coeff.fill(0.0);
            policy.plan(&step, coeff)
        })
    }
}
