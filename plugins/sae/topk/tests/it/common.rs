//! Small SAEs with known numbers, and the shared fixtures.

use std::path::{Path, PathBuf};

use plugin_topk::{Format, InputNorm, SaeMeta, TopKWeights};
use tch::{Device, Kind, Tensor};

/// The folder of fixtures, or `None` with a word on stderr.
pub fn golden() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/golden");
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("skipped: ../shared not present");
    None
}

/// Deterministic numbers in about [-1, 1].
pub fn wave(shape: &[i64], seed: f64) -> Tensor {
    let n: i64 = shape.iter().product();
    ((Tensor::arange(n, (Kind::Double, Device::Cpu)) * 1.7 + seed).sin() * 13.7)
        .sin()
        .to_kind(Kind::Float)
        .view(shape)
}

pub fn weights(d_model: i64, d_sae: i64, k: u64) -> TopKWeights {
    TopKWeights {
        w_enc: wave(&[d_sae, d_model], 0.1).tr(),
        b_enc: wave(&[d_sae], 0.2) * 0.1,
        w_dec: wave(&[d_sae, d_model], 0.3),
        b_dec: wave(&[d_model], 0.4),
        k,
        apply_b_dec_to_input: true,
        rescale_by_decoder_norm: false,
        input_norm: InputNorm::None,
        threshold: -1.0,
        meta: SaeMeta {
            format: Format::Saelens,
            layer: Some(3),
            policy: "mask".into(),
            model: "tiny".into(),
        },
    }
}

pub fn f32s(t: &Tensor) -> Vec<f32> {
    Vec::try_from(t.contiguous().flatten(0, -1).to_kind(Kind::Float)).unwrap()
}

pub fn i64s(t: &Tensor) -> Vec<i64> {
    Vec::try_from(t.contiguous().flatten(0, -1)).unwrap()
}
