//! Safe views of the host's tensors. A view ends with the call it was handed to.

use harness_abi::{DType, Device, TensorMut, TensorRef};

use crate::{Error, Result};

/// A read-only tensor of the host.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    raw: TensorRef<'a>,
}

/// A writable tensor of the host.
#[derive(Debug)]
pub struct ViewMut<'a> {
    raw: TensorMut<'a>,
}

/// Number of elements of a shape; 0 for a negative extent.
fn numel(shape: &[i64]) -> usize {
    shape
        .iter()
        .map(|&extent| usize::try_from(extent).unwrap_or(0))
        .product()
}

/// Checks that a shape holds so many values.
fn check_extent(shape: &[i64], n: usize) -> Result<()> {
    match numel(shape) == n {
        true => Ok(()),
        false => Err(Error::invalid(format!(
            "shape {shape:?} does not hold {n} values"
        ))),
    }
}

/// Sealed: an element type with its code.
pub(crate) trait Element: Copy {
    const DTYPE: DType;
}

macro_rules! elements {
    ($($ty:ty => $dtype:expr),*) => { $(impl Element for $ty { const DTYPE: DType = $dtype; })* };
}
elements!(f32 => DType::F32, f64 => DType::F64, i64 => DType::I64, u8 => DType::U8);

fn check<T: Element>(data: *const u8, dtype: DType, device: Device) -> Result<()> {
    if dtype != T::DTYPE {
        return Err(Error::invalid(format!(
            "tensor holds {dtype:?}, {:?} was asked for",
            T::DTYPE
        )));
    }
    if device != Device::CPU {
        return Err(Error::invalid(format!(
            "tensor is on {device:?}, not in host memory"
        )));
    }
    if !data.cast::<T>().is_aligned() {
        return Err(Error::invalid(format!(
            "tensor of {dtype:?} is not aligned"
        )));
    }
    Ok(())
}

impl<'a> View<'a> {
    pub(crate) fn new(raw: TensorRef<'a>) -> Self {
        Self { raw }
    }

    /// Views a slice as a tensor of `shape` (for tests).
    ///
    /// # Errors
    /// When the shape's extent is not the slice's length.
    pub fn of_f32(data: &'a [f32], shape: &'a [i64]) -> Result<Self> {
        Self::of(data, shape)
    }

    /// See [`View::of_f32`].
    ///
    /// # Errors
    /// When the shape's extent is not the slice's length.
    pub fn of_f64(data: &'a [f64], shape: &'a [i64]) -> Result<Self> {
        Self::of(data, shape)
    }

    /// See [`View::of_f32`].
    ///
    /// # Errors
    /// When the shape's extent is not the slice's length.
    pub fn of_i64(data: &'a [i64], shape: &'a [i64]) -> Result<Self> {
        Self::of(data, shape)
    }

    /// See [`View::of_f32`].
    ///
    /// # Errors
    /// When the shape's extent is not the slice's length.
    pub fn of_u8(data: &'a [u8], shape: &'a [i64]) -> Result<Self> {
        Self::of(data, shape)
    }

    fn of<T: Element>(data: &'a [T], shape: &'a [i64]) -> Result<Self> {
        check_extent(shape, data.len())?;
        Ok(Self {
            raw: TensorRef {
                data: data.as_ptr().cast(),
                dtype: T::DTYPE,
                device: Device::CPU,
                shape: shape.into(),
            },
        })
    }

    /// Extent of each dimension.
    #[must_use]
    pub fn shape(&self) -> &'a [i64] {
        self.raw.shape.as_slice()
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.raw.dtype
    }

    /// Where the data lives.
    #[must_use]
    pub fn device(&self) -> Device {
        self.raw.device
    }

    /// The values in row-major order.
    ///
    /// # Errors
    /// Another element type or device.
    pub fn f32(&self) -> Result<&'a [f32]> {
        self.values()
    }

    /// See [`View::f32`].
    ///
    /// # Errors
    /// Another element type or device.
    pub fn f64(&self) -> Result<&'a [f64]> {
        self.values()
    }

    /// See [`View::f32`].
    ///
    /// # Errors
    /// Another element type or device.
    pub fn i64(&self) -> Result<&'a [i64]> {
        self.values()
    }

    /// See [`View::f32`].
    ///
    /// # Errors
    /// Another element type or device.
    pub fn u8(&self) -> Result<&'a [u8]> {
        self.values()
    }

    fn values<T: Element>(&self) -> Result<&'a [T]> {
        let n = numel(self.shape());
        if n == 0 {
            return Ok(&[]);
        }
        check::<T>(self.raw.data, self.raw.dtype, self.raw.device)?;
        // SAFETY: the host guarantees `data` points at `numel` initialised, contiguous elements of
        // `dtype` for the lifetime of the view; type, device and alignment were checked above.
        Ok(unsafe { std::slice::from_raw_parts(self.raw.data.cast::<T>(), n) })
    }

    /// The data as a torch tensor, without a copy. It must not outlive the call: copies made by
    /// operations may, the tensor itself (and shallow clones of it) may not.
    ///
    /// # Errors
    /// An element type torch does not know.
    #[cfg(feature = "tch")]
    pub fn tensor(&self) -> Result<BorrowedTensor<'a>> {
        borrowed(self.raw.data, self.raw.dtype, self.raw.device, self.shape())
    }
}

impl<'a> ViewMut<'a> {
    pub(crate) fn new(raw: TensorMut<'a>) -> Self {
        Self { raw }
    }

    /// Views a slice as a writable tensor of `shape` (for tests).
    ///
    /// # Errors
    /// When the shape's extent is not the slice's length.
    pub fn of_f32(data: &'a mut [f32], shape: &'a [i64]) -> Result<Self> {
        Self::of(data, shape)
    }

    /// See [`ViewMut::of_f32`].
    ///
    /// # Errors
    /// When the shape's extent is not the slice's length.
    pub fn of_u8(data: &'a mut [u8], shape: &'a [i64]) -> Result<Self> {
        Self::of(data, shape)
    }

    /// See [`ViewMut::of_f32`].
    ///
    /// # Errors
    /// When the shape's extent is not the slice's length.
    pub fn of_i64(data: &'a mut [i64], shape: &'a [i64]) -> Result<Self> {
        Self::of(data, shape)
    }

    fn of<T: Element>(data: &'a mut [T], shape: &'a [i64]) -> Result<Self> {
        check_extent(shape, data.len())?;
        Ok(Self {
            raw: TensorMut {
                data: data.as_mut_ptr().cast(),
                dtype: T::DTYPE,
                device: Device::CPU,
                shape: shape.into(),
            },
        })
    }

    /// Extent of each dimension.
    #[must_use]
    pub fn shape(&self) -> &'a [i64] {
        self.raw.shape.as_slice()
    }

    /// Element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.raw.dtype
    }

    /// Where the data lives.
    #[must_use]
    pub fn device(&self) -> Device {
        self.raw.device
    }

    /// The values in row-major order, to be written.
    ///
    /// # Errors
    /// Another element type or device.
    pub fn f32(&mut self) -> Result<&mut [f32]> {
        self.values()
    }

    /// See [`ViewMut::f32`].
    ///
    /// # Errors
    /// Another element type or device.
    pub fn u8(&mut self) -> Result<&mut [u8]> {
        self.values()
    }

    /// See [`ViewMut::f32`].
    ///
    /// # Errors
    /// Another element type or device.
    pub fn i64(&mut self) -> Result<&mut [i64]> {
        self.values()
    }

    fn values<T: Element>(&mut self) -> Result<&mut [T]> {
        let n = numel(self.shape());
        if n == 0 {
            return Ok(&mut []);
        }
        check::<T>(self.raw.data, self.raw.dtype, self.raw.device)?;
        // SAFETY: as in `View::values`; the host hands out each writable tensor once per call, and
        // `&mut self` keeps the slice unique.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.raw.data.cast::<T>(), n) })
    }

    /// The data as a torch tensor that writes through, under the rules of [`View::tensor`].
    ///
    /// # Errors
    /// An element type torch does not know.
    #[cfg(feature = "tch")]
    pub fn tensor(&mut self) -> Result<BorrowedTensor<'_>> {
        borrowed(self.raw.data, self.raw.dtype, self.raw.device, self.shape())
    }

    /// Copies `values` into the host's tensor, converting element type and device.
    ///
    /// # Errors
    /// Another shape.
    #[cfg(feature = "tch")]
    pub fn write(&mut self, values: &tch::Tensor) -> Result<()> {
        if values.size() != self.shape() {
            return Err(Error::invalid(format!(
                "output has shape {:?}, the host expects {:?}",
                values.size(),
                self.shape()
            )));
        }
        let mut target = self.tensor()?;
        target.tensor.f_copy_(values)?;
        Ok(())
    }
}

/// A torch tensor over the host's memory; it ends with the call.
#[cfg(feature = "tch")]
#[derive(Debug)]
pub struct BorrowedTensor<'a> {
    tensor: tch::Tensor,
    call: std::marker::PhantomData<&'a ()>,
}

#[cfg(feature = "tch")]
impl std::ops::Deref for BorrowedTensor<'_> {
    type Target = tch::Tensor;

    fn deref(&self) -> &tch::Tensor {
        &self.tensor
    }
}

#[cfg(feature = "tch")]
fn borrowed<'a>(
    data: *const u8,
    dtype: DType,
    device: Device,
    shape: &[i64],
) -> Result<BorrowedTensor<'a>> {
    let kind = match dtype {
        DType::F32 => tch::Kind::Float,
        DType::F64 => tch::Kind::Double,
        DType::F16 => tch::Kind::Half,
        DType::BF16 => tch::Kind::BFloat16,
        DType::I64 => tch::Kind::Int64,
        DType::I32 => tch::Kind::Int,
        DType::U8 => tch::Kind::Uint8,
        other => {
            return Err(Error::unsupported(format!(
                "element type {other:?} in torch"
            )));
        }
    };
    let device = torch_device(device)?;
    let mut strides = vec![1_i64; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * shape[i + 1].max(1);
    }
    if numel(shape) == 0 {
        let tensor = tch::Tensor::f_zeros(shape, (kind, device))?;
        return Ok(BorrowedTensor {
            tensor,
            call: std::marker::PhantomData,
        });
    }
    // SAFETY: the host guarantees contiguous, initialised memory of this shape for the call; the
    // wrapper's lifetime ends with it.
    let tensor = unsafe { tch::Tensor::f_from_blob(data, shape, &strides, kind, device)? };
    Ok(BorrowedTensor {
        tensor,
        call: std::marker::PhantomData,
    })
}

/// Torch's name of a device.
#[cfg(feature = "tch")]
pub(crate) fn torch_device(device: Device) -> Result<tch::Device> {
    match (device.kind, usize::try_from(device.index)) {
        (1, _) => Ok(tch::Device::Cpu),
        (2, Ok(index)) => Ok(tch::Device::Cuda(index)),
        _ => Err(Error::unsupported(format!("{device:?}"))),
    }
}
