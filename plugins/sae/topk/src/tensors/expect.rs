//! Expected tensors against found ones, as one table.

use std::{collections::BTreeSet, fmt::Write};

use harness_weights::Dtype;

use super::{Meta, TensorFile};
use crate::error::{Result, SaeError};

/// Which element types a tensor may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floats {
    /// Any floating-point type.
    Only,
    /// Numbers of any type that is read.
    OrIntegers,
}

/// One tensor a layout prescribes.
#[derive(Clone, Debug)]
pub(crate) struct Expected<'a> {
    pub name: &'a str,
    pub shape: Vec<u64>,
    pub floats: Floats,
    pub optional: bool,
}

impl<'a> Expected<'a> {
    pub(crate) fn weight(name: &'a str, shape: &[u64]) -> Self {
        Self {
            name,
            shape: shape.to_vec(),
            floats: Floats::Only,
            optional: false,
        }
    }

    pub(crate) fn extra(name: &'a str, shape: &[u64]) -> Self {
        Self {
            name,
            shape: shape.to_vec(),
            floats: Floats::OrIntegers,
            optional: true,
        }
    }
}

/// Compares the whole file with a layout.
///
/// # Errors
/// [`SaeError::Tensors`] with one line per tensor at fault.
pub(crate) fn check(file: &dyn TensorFile, expected: &[Expected<'_>]) -> Result<()> {
    let mut lines = Vec::new();
    for e in expected {
        match file.metas().get(e.name) {
            None if e.optional => {}
            None => lines.push((e.name.to_string(), shown(&e.shape), "missing".to_string())),
            Some(meta) => {
                if meta.shape != e.shape {
                    let turned: Vec<u64> = e.shape.iter().rev().copied().collect();
                    let note = if meta.shape == turned {
                        " (transposed)"
                    } else {
                        ""
                    };
                    lines.push((e.name.into(), shown(&e.shape), shown(&meta.shape) + note));
                } else if e.floats == Floats::Only && matches!(meta.dtype, Dtype::I64 | Dtype::I32)
                {
                    lines.push((e.name.into(), "a float type".into(), found_type(meta)));
                }
            }
        }
    }
    let known: BTreeSet<&str> = expected.iter().map(|e| e.name).collect();
    for (name, meta) in file.metas() {
        if !known.contains(name.as_str()) {
            lines.push((
                name.clone(),
                "not in this layout".into(),
                shown(&meta.shape),
            ));
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    let mut table = format!("  {:<24} {:<20} {}", "tensor", "expected", "found");
    for (name, expected, found) in lines.iter().take(20) {
        let _ = write!(table, "\n  {name:<24} {expected:<20} {found}");
    }
    if lines.len() > 20 {
        let _ = write!(table, "\n  and {} more", lines.len() - 20);
    }
    Err(SaeError::Tensors {
        path: file.path().to_path_buf(),
        table,
    })
}

fn shown(shape: &[u64]) -> String {
    format!("{shape:?}")
}

fn found_type(meta: &Meta) -> String {
    meta.dtype.to_string().to_lowercase()
}
