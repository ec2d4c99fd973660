//! CUDA forms of the kernels: sources compiled by NVRTC on first use, launched through cudarc on
//! torch's memory.
//!
//! Every function answers `None`, or false, where its form does not apply (no driver or NVRTC on
//! the machine, another kind, too many slots, gradients), and the caller goes through libtorch.
//! Torch's current stream is the null stream and so is the one used here, so kernels run in order
//! with torch's own, and torch's allocator may hand memory on as soon as a tensor is dropped. No
//! cudarc slice is ever built on torch's memory: pointers go to the kernels as numbers.
//!
//! Tests launch the same kernels with the same arguments on tensors in host memory (`emulation`).

mod blocks;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(test)]
mod emulation;
mod grid;
mod launch;
mod products;
mod rows;
#[cfg(test)]
mod tests;

use tch::Kind;

pub(crate) use blocks::{rms_norm, rotate_halves, swiglu};
pub(crate) use products::{decode, moments, select, steer};
pub(crate) use rows::{compare, jaccard};

/// Suffix of the kernels for a kind.
fn suffix(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Float => Some("f32"),
        Kind::BFloat16 => Some("bf16"),
        _ => None,
    }
}

/// A CUDA source, compiled after what all share.
#[derive(Debug)]
pub(crate) struct Source {
    name: &'static str,
    text: &'static str,
}

/// The source in the file of this name.
macro_rules! source {
    ($name:literal) => {
        Source {
            name: $name,
            text: include_str!(concat!($name, ".cu")),
        }
    };
}

const COMMON: &str = include_str!("common.cu");
const SELECT: Source = source!("select");
const DECODE: Source = source!("decode");
const SOFTMAX: Source = source!("softmax");
const STEER: Source = source!("steer");
const MOMENTS: Source = source!("moments");
const JACCARD: Source = source!("jaccard");
const NORM: Source = source!("norm");
const ROTATE: Source = source!("rotate");
const GATE: Source = source!("gate");
