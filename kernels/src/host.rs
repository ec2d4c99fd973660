//! Tensors in host memory as slices, and the element types the CPU forms read.

use half::bf16;
use tch::{Device, Kind, Tensor};

use crate::{KernelError, Result};

/// An element of a slice kernel, exact in f32.
pub(crate) trait Element: Plain + Send + Sync {
    fn f32(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    fn f32(self) -> f32 {
        self
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn f32(self) -> f32 {
        // Without the quieting of signalling NaN that `to_f32` does, so that it is one shift a
        // lane.
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// A number that f32 is rounded to.
pub(crate) trait Stored: Element {
    /// To nearest, ties to even.
    fn round(value: f32) -> Self;
}

impl Stored for f32 {
    #[inline(always)]
    fn round(value: f32) -> Self {
        value
    }
}

impl Stored for bf16 {
    #[inline(always)]
    fn round(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        // Rounding would carry some NaN into infinity.
        Self::from_bits(if value.is_nan() {
            0x7fc0
        } else {
            rounded as u16
        })
    }
}

/// A number exact in f64.
pub(crate) trait Wide: Copy + Send + Sync {
    fn f64(self) -> f64;
}

impl Wide for f64 {
    #[inline(always)]
    fn f64(self) -> f64 {
        self
    }
}

impl Wide for f32 {
    #[inline(always)]
    fn f64(self) -> f64 {
        f64::from(self)
    }
}

impl Wide for bf16 {
    #[inline(always)]
    fn f64(self) -> f64 {
        f64::from(Element::f32(self))
    }
}

/// Element types of tensors that can be read as slices.
pub(crate) trait Plain: Copy + 'static {
    /// torch's name for it.
    const KIND: Kind;
}

impl Plain for f32 {
    const KIND: Kind = Kind::Float;
}
impl Plain for bf16 {
    const KIND: Kind = Kind::BFloat16;
}
impl Plain for f64 {
    const KIND: Kind = Kind::Double;
}
impl Plain for i64 {
    const KIND: Kind = Kind::Int64;
}
// torch's own operations write no other bytes than 0 and 1 into such a tensor.
impl Plain for bool {
    const KIND: Kind = Kind::Bool;
}

/// `t` contiguous and f32 or bf16, as the slice kernels read it; other kinds become f32.
pub(crate) fn plain(t: &Tensor) -> Result<Tensor> {
    Ok(match t.kind() {
        Kind::Float | Kind::BFloat16 => t.f_contiguous()?,
        _ => t.f_to_kind(Kind::Float)?.f_contiguous()?,
    })
}

/// Runs `body` with `slice` as the numbers of a tensor from [`plain`], whichever of the two kinds
/// it has.
macro_rules! numbers {
    ($t:expr, $slice:ident => $body:expr) => {
        match $t.kind() {
            tch::Kind::BFloat16 => {
                let $slice = $crate::host::slice::<half::bf16>(&$t)?;
                $body
            }
            _ => {
                let $slice = $crate::host::slice::<f32>(&$t)?;
                $body
            }
        }
    };
}
pub(crate) use numbers;

/// True where a tensor can be read by the slice kernels after [`plain`].
pub(crate) fn is_host(t: &Tensor) -> bool {
    t.device() == Device::Cpu
}

/// True where the slice kernels can read, or write over, a tensor as it is: contiguous in host
/// memory, and no part of a graph of gradients, which they would not extend.
pub(crate) fn is_plain_host(t: &Tensor) -> bool {
    is_host(t) && t.is_contiguous() && !t.requires_grad()
}

/// The numbers of a contiguous tensor in host memory.
///
/// # Errors
/// A tensor elsewhere, of another kind, or with gaps.
pub(crate) fn slice<T: Plain>(t: &Tensor) -> Result<&[T]> {
    check::<T>(t)?;
    if t.numel() == 0 {
        return Ok(&[]);
    }
    // SAFETY: torch owns `numel` contiguous, initialised elements of this kind at `data_ptr`,
    // aligned for it, and keeps them while the borrowed tensor lives. Nothing writes to them during
    // the call: kernels read arguments and write tensors they made themselves.
    Ok(unsafe { std::slice::from_raw_parts(t.data_ptr().cast::<T>(), t.numel()) })
}

/// The numbers of a contiguous tensor in host memory, to be written.
///
/// # Errors
/// As [`slice`].
pub(crate) fn slice_mut<T: Plain>(t: &mut Tensor) -> Result<&mut [T]> {
    check::<T>(t)?;
    if t.numel() == 0 {
        return Ok(&mut []);
    }
    // SAFETY: as in `slice`; the tensor is borrowed exclusively and is either fresh or what the
    // caller named as the output, so no other view of the memory is read meanwhile.
    Ok(unsafe { std::slice::from_raw_parts_mut(t.data_ptr().cast::<T>(), t.numel()) })
}

/// A tensor `[n]` in host memory with these numbers.
///
/// # Errors
/// libtorch's.
pub(crate) fn tensor<T: Plain>(numbers: &[T]) -> Result<Tensor> {
    let mut t = Tensor::f_empty([numbers.len() as i64], (T::KIND, Device::Cpu))?;
    slice_mut(&mut t)?.copy_from_slice(numbers);
    Ok(t)
}

fn check<T: Plain>(t: &Tensor) -> Result<()> {
    if t.device() == Device::Cpu && t.kind() == T::KIND && t.is_contiguous() {
        return Ok(());
    }
    Err(KernelError::Memory {
        kind: t.kind(),
        device: t.device(),
        expected: T::KIND,
    })
}
