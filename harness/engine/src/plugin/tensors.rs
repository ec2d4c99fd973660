//! Torch tensors as borrowed views across the boundary.

use harness_abi::{DType, Device, TensorMut, TensorRef};
use tch::{Kind, Tensor};

/// Element type of a torch tensor in the interface's terms.
pub(super) fn dtype(kind: Kind) -> Option<DType> {
    Some(match kind {
        Kind::Float => DType::F32,
        Kind::Double => DType::F64,
        Kind::Half => DType::F16,
        Kind::BFloat16 => DType::BF16,
        Kind::Int64 => DType::I64,
        Kind::Int => DType::I32,
        Kind::Uint8 => DType::U8,
        _ => return None,
    })
}

/// Device of a torch tensor in the interface's terms.
pub(super) fn device(device: tch::Device) -> Option<Device> {
    match device {
        tch::Device::Cpu => Some(Device::CPU),
        tch::Device::Cuda(index) => i32::try_from(index).ok().map(Device::cuda),
        _ => None,
    }
}

/// A contiguous tensor with what a view of it borrows.
pub(super) struct Lent {
    tensor: Tensor,
    shape: Vec<i64>,
    dtype: DType,
    device: Device,
}

impl Lent {
    /// Lends a tensor for reading; a copy is made only when it is not contiguous.
    pub(super) fn read(tensor: &Tensor) -> Result<Self, String> {
        let tensor = if tensor.is_contiguous() {
            tensor.shallow_clone()
        } else {
            tensor.f_contiguous().map_err(text)?
        };
        Self::over(tensor)
    }

    /// Lends a tensor the plugin writes through; it must be contiguous.
    pub(super) fn write(tensor: &Tensor) -> Result<Self, String> {
        if !tensor.is_contiguous() {
            return Err(format!(
                "output of shape {:?} is not contiguous",
                tensor.size()
            ));
        }
        Self::over(tensor.shallow_clone())
    }

    fn over(tensor: Tensor) -> Result<Self, String> {
        let kind = tensor.kind();
        let dtype = dtype(kind)
            .ok_or_else(|| format!("element type {kind:?} does not cross the interface"))?;
        let place = tensor.device();
        let device = device(place)
            .ok_or_else(|| format!("device {place:?} does not cross the interface"))?;
        Ok(Self {
            shape: tensor.size(),
            tensor,
            dtype,
            device,
        })
    }

    pub(super) fn view(&self) -> TensorRef<'_> {
        TensorRef {
            data: self.tensor.data_ptr().cast_const().cast(),
            dtype: self.dtype,
            device: self.device,
            shape: self.shape.as_slice().into(),
        }
    }

    pub(super) fn view_mut(&mut self) -> TensorMut<'_> {
        TensorMut {
            data: self.tensor.data_ptr().cast(),
            dtype: self.dtype,
            device: self.device,
            shape: self.shape.as_slice().into(),
        }
    }
}

fn text(error: tch::TchError) -> String {
    error.to_string()
}
