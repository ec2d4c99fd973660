//! Devices by name.

use crate::run::CellError;

/// Reads `cpu` or `cuda:N` and makes sure it is there.
///
/// # Errors
/// Another name; a CUDA device this process cannot use.
pub fn parse(name: &str) -> Result<tch::Device, CellError> {
    if name == "cpu" {
        return Ok(tch::Device::Cpu);
    }
    let index = match name {
        "cuda" => Some(0),
        _ => name
            .strip_prefix("cuda:")
            .and_then(|index| index.parse::<usize>().ok()),
    };
    let Some(index) = index else {
        return Err(CellError::Device(format!(
            "unknown device `{name}`: cpu or cuda:N"
        )));
    };
    enable_cuda()?;
    let found = tch::Cuda::device_count();
    if !tch::Cuda::is_available() || index as i64 >= found {
        return Err(CellError::Device(format!(
            "device {name} is not there: {found} CUDA devices found; use --device cpu"
        )));
    }
    Ok(tch::Device::Cuda(index))
}

/// Loads libtorch's CUDA half. It must happen before the process first asks for CUDA: an earlier question
/// leaves it off for good.
fn enable_cuda() -> Result<(), CellError> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: this runs the constructors of libtorch's own library, found where its CPU half was found.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    match library {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => Err(CellError::Device(format!(
            "this libtorch has no CUDA ({error}); set HARNESS_TORCH to the folder of a Python torch \
             2.11.0 with CUDA, or use --device cpu"
        ))),
    }
}

/// The tensor library's name of a number format.
#[must_use]
pub fn kind(dtype: harness_plan::stages::Dtype) -> tch::Kind {
    match dtype {
        harness_plan::stages::Dtype::F32 => tch::Kind::Float,
        harness_plan::stages::Dtype::Bf16 => tch::Kind::BFloat16,
    }
}
