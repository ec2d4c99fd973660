//! Reading what the reference recorded: safetensors and JSON.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use tch::Tensor;

use super::error::GoldenError;

/// Bytes of one fixture file; the shared ones are under a megabyte.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// Numbers with a shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array<T> {
    pub shape: Vec<usize>,
    pub data: Vec<T>,
}

impl<T> Array<T> {
    pub fn new(shape: &[usize], data: Vec<T>) -> Self {
        let shape = shape.to_vec();
        Self { shape, data }
    }

    /// Numbers of one dimension.
    pub fn column(data: Vec<T>) -> Self {
        Self::new(&[data.len()], data)
    }
}

impl Array<f64> {
    /// A copy of `tensor` (any float type, any device).
    pub fn of(tensor: &Tensor) -> Result<Self, tch::TchError> {
        let flat = tensor
            .f_to_device(tch::Device::Cpu)?
            .f_to_kind(tch::Kind::Double)?
            .f_contiguous()?
            .f_reshape([-1])?;
        Ok(Self {
            shape: tensor.size().iter().map(|n| *n as usize).collect(),
            data: Vec::<f64>::try_from(&flat)?,
        })
    }

    /// As a tensor of f32 on the CPU.
    pub fn tensor(&self) -> Result<Tensor, tch::TchError> {
        let shape: Vec<i64> = self.shape.iter().map(|n| *n as i64).collect();
        let data: Vec<f32> = self.data.iter().map(|v| *v as f32).collect();
        Tensor::f_from_slice(&data)?.f_reshape(shape)
    }
}

impl Array<i64> {
    /// A copy of `tensor` (any integer type).
    pub fn of_ids(tensor: &Tensor) -> Result<Self, tch::TchError> {
        let flat = tensor
            .f_to_device(tch::Device::Cpu)?
            .f_to_kind(tch::Kind::Int64)?
            .f_contiguous()?
            .f_reshape([-1])?;
        Ok(Self {
            shape: tensor.size().iter().map(|n| *n as usize).collect(),
            data: Vec::<i64>::try_from(&flat)?,
        })
    }

    /// As a tensor of i64 on the CPU.
    pub fn tensor(&self) -> Result<Tensor, tch::TchError> {
        let shape: Vec<i64> = self.shape.iter().map(|n| *n as i64).collect();
        Tensor::f_from_slice(&self.data)?.f_reshape(shape)
    }

    /// Which values are not 0.
    pub fn flags(&self) -> Vec<bool> {
        self.data.iter().map(|v| *v != 0).collect()
    }
}

/// A safetensors file of recorded tensors; it remembers which were asked for, so that a tensor
/// nobody compared is noticed.
pub(super) struct Tensors {
    pub path: PathBuf,
    bytes: Vec<u8>,
    names: BTreeSet<String>,
    used: RefCell<BTreeSet<String>>,
}

impl Tensors {
    /// Opens `path`; `None` when there is no such file.
    pub fn open(path: &Path) -> Result<Option<Self>, GoldenError> {
        let Some(bytes) = read(path)? else {
            return Ok(None);
        };
        let parsed = SafeTensors::deserialize(&bytes)
            .map_err(|e| malformed(path, format!("not a readable safetensors file: {e}")))?;
        let names = parsed.names().into_iter().map(str::to_owned).collect();
        Ok(Some(Self {
            path: path.to_owned(),
            bytes,
            names,
            used: RefCell::default(),
        }))
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Tensors that were never read.
    pub fn unread(&self) -> Vec<String> {
        self.names
            .difference(&self.used.borrow())
            .cloned()
            .collect()
    }

    /// Counts `name` as read: it describes an input that is not compared on its own.
    pub fn mark(&self, name: &str) {
        self.used.borrow_mut().insert(name.to_owned());
    }

    pub fn floats(&self, name: &str) -> Result<Array<f64>, GoldenError> {
        self.read(name, |view| {
            let data = view.data();
            Some(match view.dtype() {
                Dtype::F64 => values(data, f64::from_le_bytes),
                Dtype::F32 => values(data, |b| f64::from(f32::from_le_bytes(b))),
                Dtype::F16 => values(data, |b| half::f16::from_le_bytes(b).to_f64()),
                Dtype::BF16 => values(data, |b| half::bf16::from_le_bytes(b).to_f64()),
                _ => return None,
            })
        })
    }

    pub fn integers(&self, name: &str) -> Result<Array<i64>, GoldenError> {
        self.read(name, |view| {
            let data = view.data();
            Some(match view.dtype() {
                Dtype::I64 => values(data, i64::from_le_bytes),
                Dtype::I32 => values(data, |b| i64::from(i32::from_le_bytes(b))),
                Dtype::U8 | Dtype::BOOL => data.iter().map(|v| i64::from(*v)).collect(),
                _ => return None,
            })
        })
    }

    fn read<T>(
        &self,
        name: &str,
        convert: impl FnOnce(&TensorView<'_>) -> Option<Vec<T>>,
    ) -> Result<Array<T>, GoldenError> {
        let parsed = SafeTensors::deserialize(&self.bytes)
            .map_err(|e| malformed(&self.path, e.to_string()))?;
        let view = parsed
            .tensor(name)
            .map_err(|_| malformed(&self.path, format!("no tensor {name:?}")))?;
        let data = convert(&view).ok_or_else(|| {
            malformed(
                &self.path,
                format!("tensor {name:?} has unexpected type {:?}", view.dtype()),
            )
        })?;
        self.mark(name);
        Ok(Array {
            shape: view.shape().to_vec(),
            data,
        })
    }
}

fn values<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|chunk| convert(*chunk))
        .collect()
}

fn malformed(path: &Path, detail: String) -> GoldenError {
    GoldenError::Malformed {
        path: path.to_owned(),
        detail,
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, GoldenError> {
    let io = |source| GoldenError::Io {
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > MAX_FILE_BYTES => {
            return Err(malformed(
                path,
                format!(
                    "{} bytes, the limit for a fixture is {MAX_FILE_BYTES}",
                    meta.len()
                ),
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    std::fs::read(path).map(Some).map_err(io)
}

/// A JSON file; `None` when there is no such file.
pub(super) fn json(path: &Path) -> Result<Option<Value>, GoldenError> {
    let Some(bytes) = read(path)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| malformed(path, format!("not JSON: {error}")))
}

/// A JSON file that must be there.
pub(super) fn required_json(path: &Path) -> Result<Value, GoldenError> {
    let absent = || GoldenError::Io {
        path: path.to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    json(path)?.ok_or_else(absent)
}
