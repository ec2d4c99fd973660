//! The gate of a SwiGLU feed-forward layer, in place.

use half::bf16;
use tch::{Kind, Tensor};

use crate::{
    Result, check,
    exp::exp,
    host::{self, Stored},
    pool, record,
    simd::{Level, levels},
    switch,
};

/// How many numbers one thread takes at a time.
const BLOCK: usize = 1 << 14;

/// `silu(gate) · up`, element by element; both of one shape -> that shape and kind.
///
/// `silu(x) = x / (1 + e^-x)` is computed in f32 and rounded to the kind of the operands before the
/// product, as in the families' references. On a CPU, and on a CUDA device in one launch, the
/// result takes the place of `gate`; what carries gradients, lies elsewhere or is neither f32 nor
/// bf16 goes through libtorch.
///
/// # Errors
/// Shapes that differ, or libtorch.
pub fn swiglu(mut gate: Tensor, up: &Tensor) -> Result<Tensor> {
    const NAME: &str = "swiglu";
    check::shape(NAME, "up", up, &gate.size())?;
    let is_ours = switch::is_on(NAME) && gate.kind() == up.kind() && in_place(&mut gate, up)?;
    if is_ours {
        return Ok(gate);
    }
    through_libtorch(&gate, up)
}

/// The gate through libtorch, differentiable.
pub(crate) fn through_libtorch(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    Ok(gate.f_silu()?.f_mul(up)?)
}

/// Gates in the place of `gate`; false where libtorch has to.
fn in_place(gate: &mut Tensor, up: &Tensor) -> Result<bool> {
    let is_host = [&*gate, up].iter().all(|t| host::is_plain_host(t));
    match gate.kind() {
        Kind::Float if is_host => on_host::<f32>(gate, up)?,
        Kind::BFloat16 if is_host => on_host::<bf16>(gate, up)?,
        _ => return on_cuda(gate, up),
    }
    Ok(true)
}

/// The CUDA form, where it is compiled in and applies.
#[cfg(feature = "cuda")]
fn on_cuda(gate: &mut Tensor, up: &Tensor) -> Result<bool> {
    crate::cuda::swiglu(gate, up)
}

#[cfg(not(feature = "cuda"))]
fn on_cuda(_: &mut Tensor, _: &Tensor) -> Result<bool> {
    Ok(false)
}

fn on_host<T: Stored>(gate: &mut Tensor, up: &Tensor) -> Result<()> {
    let _operation = record::operation(c"harness::swiglu");
    let level = Level::current();
    let up = host::slice::<T>(up)?;
    let gate = host::slice_mut::<T>(gate)?;
    let elements = gate.len();
    let tasks: Vec<_> = gate.chunks_mut(BLOCK).zip(up.chunks(BLOCK)).collect();
    pool::run(tasks, elements, |(gate, up)| gate_all(level, gate, up));
    Ok(())
}

levels! {
    fn gate_all<T: Stored>(gate: &mut [T], up: &[T]) = gate_all_body;
}

#[inline(always)]
fn gate_all_body<T: Stored>(gate: &mut [T], up: &[T]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = T::round(T::round(silu(gate.f32())).f32() * up.f32());
    }
}

/// `x / (1 + e^-x)`, without an exponential that could overflow.
#[inline(always)]
fn silu(x: f32) -> f32 {
    let small = exp(-x.abs());
    let share = if x < 0.0 { small } else { 1.0 };
    x * (share / (1.0 + small))
}
