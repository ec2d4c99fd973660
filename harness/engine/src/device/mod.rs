//! Devices by name.

mod driver;

pub use driver::{CudaVersion, DeviceMemory, Driver};

use std::{env, fmt, sync::OnceLock};

use harness_contract::protocol::TORCH_VERSION;

use crate::{error::CellError, plugin::causes};

/// Says which CUDA devices a process sees.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// Why a device cannot be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What was found, and the cause as far as it is known.
    pub what: String,
    /// What to do next.
    pub cure: String,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.cure)
    }
}

/// Reads `cpu` or `cuda:N` and makes sure it is there.
///
/// # Errors
/// Another name; a CUDA device this process cannot use.
pub fn parse(name: &str) -> Result<tch::Device, CellError> {
    find(name).map_err(|unusable| CellError::Device(unusable.to_string()))
}

/// As [`parse`], with the error in its two parts.
///
/// # Errors
/// As [`parse`].
pub fn find(name: &str) -> Result<tch::Device, Unusable> {
    if name == "cpu" {
        return Ok(tch::Device::Cpu);
    }
    let Some(index) = cuda_index(name) else {
        return Err(Unusable {
            what: format!("unknown device `{name}`"),
            cure: "name cpu or cuda:N".to_owned(),
        });
    };
    enable_cuda(name)?;
    let found = tch::Cuda::device_count();
    if !tch::Cuda::is_available() || i64::from(index) >= found {
        let (cause, cure) = why_missing(index, found);
        return Err(Unusable {
            what: format!("device {name} is not there: {found} CUDA devices found: {cause}"),
            cure,
        });
    }
    Ok(tch::Device::Cuda(index as usize))
}

/// The number of `cuda:N`; `cuda` is `cuda:0`.
#[must_use]
pub fn cuda_index(name: &str) -> Option<u32> {
    match name {
        "cuda" => Some(0),
        _ => name.strip_prefix("cuda:")?.parse().ok(),
    }
}

/// The CUDA version that this libtorch was built for; known once its CUDA half is loaded.
fn cuda_of_libtorch() -> Option<CudaVersion> {
    CudaVersion::of(tch::utils::version_cudart())
}

/// Why libtorch finds too few devices, as the driver has it, and the cure.
fn why_missing(index: u32, found: i64) -> (String, String) {
    let seen = Driver::open().and_then(|driver| Ok((driver.count()?, driver.cuda()?)));
    let or_cpu = |cure: &str| format!("{cure}, or use --device cpu");
    let (count, of_driver) = match seen {
        Ok(seen) => seen,
        Err(cause) => {
            let cure = "install or repair NVIDIA's driver (nvidia-smi shows whether it works)";
            return (with_visible(cause), or_cpu(cure));
        }
    };
    match cuda_of_libtorch() {
        Some(of_libtorch) if of_driver < of_libtorch && found == 0 => (
            format!("the driver supports CUDA {of_driver}, this libtorch needs {of_libtorch}"),
            or_cpu("install a newer NVIDIA driver"),
        ),
        _ if index >= count => (
            with_visible(format!("the driver counts {count}")),
            or_cpu("name one that is there"),
        ),
        _ => (
            format!("the driver counts {count} and supports CUDA {of_driver}, libtorch sees less"),
            or_cpu(&format!(
                "try `python3 -c \"import torch; print(torch.zeros(1, device='cuda:{index}'))\"` \
                 with the same torch {TORCH_VERSION}, which says why"
            )),
        ),
    }
}

/// A cause, with the variable that hides devices where it is set.
fn with_visible(cause: String) -> String {
    match env::var_os(VISIBLE) {
        Some(value) => format!("{cause}; {VISIBLE} is `{}`", value.display()),
        None => cause,
    }
}

/// Loads libtorch's CUDA half. It must happen before the process first asks for CUDA: an earlier
/// question leaves it off for good.
fn enable_cuda(name: &str) -> Result<(), Unusable> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: this runs the constructors of libtorch's own library, found where its CPU half was
    // found.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    match library {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => {
            let mut what = format!(
                "device {name} cannot be used: this libtorch has no CUDA: {}",
                causes(&error)
            );
            if let Err(cause) = Driver::open() {
                what.push_str(&format!("; and {cause}"));
            }
            Err(Unusable {
                what,
                cure: format!(
                    "set HARNESS_TORCH to the folder of a Python torch {TORCH_VERSION} with CUDA, or \
                     use --device cpu"
                ),
            })
        }
    }
}

/// Share of a device's free memory that a worker takes when nobody says how much.
const USUAL_SHARE: f64 = 0.8;
/// Least and most bytes of logits that are alive at a time. Less is slower on a device, more is not
/// faster.
const LOGIT_BYTES: (usize, usize) = (64 << 20, 2 << 30);

/// Bytes that a worker may use on a device where nobody names a number; `None` on a CPU, and where
/// the driver does not say what is free. Workers that share a device ask each for itself, so that
/// they need a number.
#[must_use]
pub fn usual_budget(device: tch::Device) -> Option<u64> {
    Some((free(device)? as f64 * USUAL_SHARE) as u64)
}

/// Bytes of float32 logits that may be alive at a time: 64 MiB in a CPU's memory, where they are to
/// stay in its cache, and on a device a sixteenth of what was free when this was first asked.
#[must_use]
pub fn logit_bytes(device: tch::Device) -> usize {
    static OF_DEVICE: OnceLock<usize> = OnceLock::new();
    match device {
        tch::Device::Cpu => LOGIT_BYTES.0,
        // Softmax, selection and their scratch hold several times as much.
        _ => *OF_DEVICE.get_or_init(|| {
            let share = free(device).unwrap_or(0) as usize / 16;
            share.clamp(LOGIT_BYTES.0, LOGIT_BYTES.1)
        }),
    }
}

/// Free bytes of a CUDA device, as its driver has it.
fn free(device: tch::Device) -> Option<u64> {
    let tch::Device::Cuda(index) = device else {
        return None;
    };
    let memory = Driver::open().ok()?.memory(u32::try_from(index).ok()?);
    Some(memory.ok()?.free)
}

/// The tensor library's name of a number format.
#[must_use]
pub fn kind(dtype: harness_contract::stages::Dtype) -> tch::Kind {
    match dtype {
        harness_contract::stages::Dtype::F32 => tch::Kind::Float,
        harness_contract::stages::Dtype::Bf16 => tch::Kind::BFloat16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_numbers() {
        assert_eq!(cuda_index("cuda"), Some(0));
        assert_eq!(cuda_index("cuda:3"), Some(3));
        assert_eq!((cuda_index("cpu"), cuda_index("cuda:x")), (None, None));
    }

    /// Number 9999 is on no machine: without CUDA, without a driver and with both something is said
    /// of the cause, and there is a way on.
    #[test]
    fn a_missing_device_has_a_cause_and_a_cure() {
        let unusable = find("cuda:9999").unwrap_err();
        let causes = ["has no CUDA: ", "devices found: "];
        assert!(
            causes.iter().any(|cause| unusable.what.contains(cause)),
            "{unusable}"
        );
        assert!(unusable.cure.contains("--device cpu"), "{unusable}");
        let whole = parse("cuda:9999").unwrap_err().to_string();
        assert_eq!(whole, unusable.to_string());
        // There is nothing to ask of it, and the smallest chunk always fits.
        let missing = tch::Device::Cuda(9999);
        assert_eq!(
            (usual_budget(missing), logit_bytes(missing)),
            (None, LOGIT_BYTES.0)
        );
        assert_eq!(usual_budget(tch::Device::Cpu), None);
        assert!(find("tpu").unwrap_err().cure.contains("cpu or cuda:N"));
    }
}
