use harness_abi::{self as abi, AbiResult, DType, RemaskNeeds, RemaskerBox, StepView, TensorMut};

use crate::{
    Result, Value, View, ViewMut,
    bridge::{Bridge, expect, expect_mut},
};

/// What a remasker sees of one denoising step. Every view is `[b, t]` on the CPU; statistics not
/// asked for hold zeros, and are undefined where a position is not eligible.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Step within the block of positions being decoded, from 0.
    pub step: usize,
    /// Steps of that block.
    pub n_steps: usize,
    /// Rows.
    pub batch: usize,
    /// Positions of a row.
    pub len: usize,
    /// The sequence before this step.
    pub tokens: &'a [i64],
    /// 1 where the position holds the mask token and may be revealed now.
    pub eligible: &'a [u8],
    /// The token that would be revealed.
    pub candidate: &'a [i64],
    /// Probability of the candidate.
    pub confidence: &'a [f32],
    /// Largest minus second largest probability.
    pub margin: &'a [f32],
    /// sum p·ln(p + 1e-10), nats.
    pub neg_entropy: &'a [f32],
    /// One draw in [0, 1) per position.
    pub uniform: &'a [f32],
}

/// Decides which masked positions are revealed at each denoising step (Eq. 8).
///
/// Rows are independent: batching must change nothing.
pub trait Remasker: Send + 'static {
    /// A component of this name with its configuration.
    ///
    /// # Errors
    /// A configuration it does not understand.
    fn new(name: &str, config: &Value) -> Result<Self>
    where
        Self: Sized;

    /// Statistics the host must compute.
    fn needs(&self) -> RemaskNeeds;

    /// Starts a run (or a block of positions) of `n_steps` steps over `batch` rows.
    ///
    /// # Errors
    /// A number of steps it cannot do.
    fn begin(&mut self, n_steps: usize, batch: usize) -> Result<()>;

    /// Sets `reveal[row * len + position]` to 1 at positions to fill; it comes in as zeros.
    ///
    /// # Errors
    /// A step it was not started for.
    fn select(&mut self, step: &Step<'_>, reveal: &mut [u8]) -> Result<()>;
}

/// Wraps an author's remasker for the boundary.
pub fn boxed<T: Remasker>(name: &str, config: &Value) -> Result<RemaskerBox> {
    let bridge = Bridge::new(name, Box::new(T::new(name, config)?));
    Ok(RemaskerBox::from_value(
        bridge,
        abi_stable::sabi_trait::TD_Opaque,
    ))
}

impl<T: Remasker> abi::Remasker for Bridge<T> {
    fn needs(&self) -> RemaskNeeds {
        // A panic here must not cross the boundary; asking for nothing lets `select` report it.
        match self.with("needs", |remasker| Ok(remasker.needs())) {
            AbiResult::ROk(needs) => needs,
            AbiResult::RErr(_) => RemaskNeeds::NONE,
        }
    }

    fn begin(&mut self, n_steps: u64, batch: u64) -> AbiResult<()> {
        self.with_mut("begin", |remasker| {
            remasker.begin(usize::try_from(n_steps)?, usize::try_from(batch)?)
        })
    }

    fn select(&mut self, step: StepView<'_>, reveal: TensorMut<'_>) -> AbiResult<()> {
        self.with_mut("select", |remasker| {
            let tokens = View::new(step.tokens);
            expect("tokens", &tokens, &[-1, -1], &[DType::I64])?;
            let shape = tokens.shape();
            let read = |what, raw, dtype| {
                let view = View::new(raw);
                expect(what, &view, shape, &[dtype])?;
                Ok::<_, crate::Error>(view)
            };
            let mut reveal = ViewMut::new(reveal);
            expect_mut("reveal", &reveal, shape, &[DType::U8])?;
            let step = Step {
                step: usize::try_from(step.step)?,
                n_steps: usize::try_from(step.n_steps)?,
                batch: usize::try_from(shape[0])?,
                len: usize::try_from(shape[1])?,
                tokens: tokens.i64()?,
                eligible: read("eligible", step.eligible, DType::U8)?.u8()?,
                candidate: read("candidate", step.candidate, DType::I64)?.i64()?,
                confidence: read("confidence", step.confidence, DType::F32)?.f32()?,
                margin: read("margin", step.margin, DType::F32)?.f32()?,
                neg_entropy: read("neg_entropy", step.neg_entropy, DType::F32)?.f32()?,
                uniform: read("uniform", step.uniform, DType::F32)?.f32()?,
            };
            let reveal = reveal.u8()?;
            reveal.fill(0);
            remasker.select(&step, reveal)
        })
    }
}
