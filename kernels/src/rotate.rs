//! Rotary position embedding, the rotate-half form, in place.

use half::bf16;
use tch::{Kind, Tensor};

use crate::{
    KernelError, Result, check,
    host::{self, Stored},
    pool, record,
    simd::{Level, levels},
    switch,
};

/// Positions of a task.
const BLOCK: usize = 32;

/// Turns the pair `(i, i + head_dim / 2)` of every head by its position's angle.
///
/// `x: [r, t, h, head_dim]`, `cos, sin: [1 or r, t, 1, head_dim / 2]` -> the shape and kind of `x`.
/// Products and sums are rounded to the kind of the tables one by one, the result to the kind of
/// `x`: the bits are those of libtorch's operations. On a CPU, and on a CUDA device in one launch,
/// `x` is turned in place, without a second tensor; what carries gradients, lies elsewhere or has
/// other kinds goes through libtorch.
///
/// # Errors
/// Tables that do not fit, or libtorch.
pub fn rotate_halves(mut x: Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    const NAME: &str = "rotate_halves";
    let size = x.size();
    let [rows, t, _, head_dim] = size[..] else {
        return Err(KernelError::Shape {
            kernel: NAME,
            operand: "x",
            found: size,
            expected: "[r, t, h, head_dim]".into(),
        });
    };
    let table_rows = cos.size().first().copied().unwrap_or(0);
    let table_rows = if table_rows == 1 { 1 } else { rows };
    for (operand, table) in [("cos", cos), ("sin", sin)] {
        check::shape(NAME, operand, table, &[table_rows, t, 1, head_dim / 2])?;
    }
    let (cos, sin) = (cos.f_contiguous()?, sin.f_contiguous()?);
    let is_ours = switch::is_on(NAME) && x.numel() > 0 && in_place(&mut x, &cos, &sin)?;
    if is_ours {
        return Ok(x);
    }
    through_libtorch(&x, &cos, &sin)
}

/// Turns `x` in place; false where libtorch has to.
fn in_place(x: &mut Tensor, cos: &Tensor, sin: &Tensor) -> Result<bool> {
    let is_host = host::is_plain_host(x);
    match (x.kind(), cos.kind()) {
        (Kind::Float, Kind::Float) if is_host => on_host::<f32, f32>(x, cos, sin)?,
        (Kind::BFloat16, Kind::BFloat16) if is_host => on_host::<bf16, bf16>(x, cos, sin)?,
        (Kind::BFloat16, Kind::Float) if is_host => on_host::<bf16, f32>(x, cos, sin)?,
        _ => return on_cuda(x, cos, sin),
    }
    Ok(true)
}

/// The CUDA form, where it is compiled in and applies.
#[cfg(feature = "cuda")]
fn on_cuda(x: &mut Tensor, cos: &Tensor, sin: &Tensor) -> Result<bool> {
    crate::cuda::rotate_halves(x, cos, sin)
}

#[cfg(not(feature = "cuda"))]
fn on_cuda(_: &mut Tensor, _: &Tensor, _: &Tensor) -> Result<bool> {
    Ok(false)
}

/// The rotation through libtorch, differentiable.
pub(crate) fn through_libtorch(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let halves = x.f_to_kind(cos.kind())?.f_chunk(2, -1)?; // 2 x [r, t, h, head_dim / 2]
    let (a, b) = (&halves[0], &halves[1]);
    let turned = [
        a.f_mul(cos)?.f_sub(&b.f_mul(sin)?)?,
        b.f_mul(cos)?.f_add(&a.f_mul(sin)?)?,
    ];
    Ok(Tensor::f_cat(&turned, -1)?.f_to_kind(x.kind())?)
}

fn on_host<T: Stored, U: Stored>(x: &mut Tensor, cos: &Tensor, sin: &Tensor) -> Result<()> {
    let _operation = record::operation(c"harness::rotate_halves");
    let level = Level::current();
    let size = x.size();
    let (width, head_dim) = ((size[2] * size[3]) as usize, size[3] as usize);
    let (cos, sin) = (host::slice::<U>(cos)?, host::slice::<U>(sin)?);
    let x = host::slice_mut::<T>(x)?;
    let elements = x.len();
    let half = head_dim / 2;
    // Where all rows share the tables they begin again with each row.
    let n_angles = cos.len() / half;
    let tasks: Vec<_> = x.chunks_mut(BLOCK * width).enumerate().collect();
    pool::run(tasks, elements, |(block, positions)| {
        for (i, heads) in positions.chunks_exact_mut(width).enumerate() {
            let at = (block * BLOCK + i) % n_angles * half;
            let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
            turn(level, heads, cos, sin);
        }
    });
    Ok(())
}

levels! {
    fn turn<T: Stored, U: Stored>(heads: &mut [T], cos: &[U], sin: &[U]) = turn_body;
}

#[inline(always)]
fn turn_body<T: Stored, U: Stored>(heads: &mut [T], cos: &[U], sin: &[U]) {
    let half = cos.len();
    for head in heads.chunks_exact_mut(2 * half) {
        let (first, second) = head.split_at_mut(half);
        let pairs = first.iter_mut().zip(second);
        for ((a, b), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
            let (x, y) = (U::round(a.f32()).f32(), U::round(b.f32()).f32());
            let (cos, sin) = (cos.f32(), sin.f32());
            let product = |x: f32, y: f32| U::round(x * y).f32();
            *a = T::round(U::round(product(x, cos) - product(y, sin)).f32());
            *b = T::round(U::round(product(y, cos) + product(x, sin)).f32());
        }
    }
}
