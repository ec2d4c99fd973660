//! The weights every layout is read into.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::{
    Format,
    error::{Result, SaeError},
    tensors::TensorFile,
};

/// What is done to a row before it is encoded, and undone after it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputNorm {
    None,
    /// Its mean is removed and it is divided by its standard deviation (n - 1) plus 1e-5.
    PerRow,
}

/// Where an SAE comes from, as far as its files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaeMeta {
    /// Layout it was read from.
    pub format: Format,
    /// Block whose output it reads.
    pub layer: Option<u64>,
    /// `mask`, `unmask`, `clean`, or empty.
    pub policy: String,
    /// Model it was trained on, or empty.
    pub model: String,
}

/// A Top-K autoencoder, all tensors f32 on the CPU (Eq. 1-2).
///
/// With `p = (x - b_dec) W_enc + b_enc`, the `k` largest of `ReLU(p)` are kept as `z` and `x_hat =
/// z W_dec + b_dec`. With `rescale_by_decoder_norm`, `p` is multiplied by the norms of the rows of
/// `W_dec` before the selection and `z` divided by them before decoding.
#[derive(Debug)]
pub struct TopKWeights {
    /// `[d_model, d_sae]`, possibly a transposed view.
    pub w_enc: Tensor,
    /// `[d_sae]`.
    pub b_enc: Tensor,
    /// `[d_sae, d_model]`, possibly a transposed view.
    pub w_dec: Tensor,
    /// `[d_model]`.
    pub b_dec: Tensor,
    /// Active budget per row.
    pub k: u64,
    /// Whether `b_dec` is subtracted from the input.
    pub apply_b_dec_to_input: bool,
    /// Whether the selection happens on activations scaled by decoder norms.
    pub rescale_by_decoder_norm: bool,
    /// Normalisation of the input.
    pub input_norm: InputNorm,
    /// Running mean of the smallest active value, where the layout stores it; unused by Top-K.
    pub threshold: f32,
    /// Where it comes from.
    pub meta: SaeMeta,
}

impl TopKWeights {
    /// Width of the residual stream.
    #[must_use]
    pub fn d_model(&self) -> u64 {
        self.w_enc.size()[0] as u64
    }

    /// Number of latents.
    #[must_use]
    pub fn d_sae(&self) -> u64 {
        self.w_enc.size()[1] as u64
    }
}

/// Whether weights that are not finite are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonFinite {
    /// They are refused, naming the tensor.
    Refuse,
    /// They are taken as they are.
    Allow,
}

/// Reads one tensor as f32, refusing NaN and infinity unless allowed.
pub(crate) fn read_f32(file: &mut dyn TensorFile, name: &str, policy: NonFinite) -> Result<Tensor> {
    let tensor = file.read(name)?.f_to_kind(Kind::Float)?;
    if policy == NonFinite::Refuse {
        let finite = tensor
            .f_isfinite()?
            .f_sum(Kind::Int64)?
            .f_int64_value(&[])?;
        let count = tensor.numel() as i64 - finite;
        if count > 0 {
            let path = file.path().to_path_buf();
            return Err(SaeError::NonFinite {
                path,
                tensor: name.to_string(),
                count,
            });
        }
    }
    Ok(tensor)
}

/// Checks an active budget against the number of latents.
pub(crate) fn check_k(path: &Path, k: Option<u64>, d_sae: u64) -> Result<u64> {
    match k {
        Some(k) if (1..=d_sae).contains(&k) => Ok(k),
        Some(k) => Err(SaeError::file(
            path,
            format!("k = {k} out of range: {d_sae} latents, so 1 to {d_sae}"),
            "the configuration is damaged or belongs to another SAE",
        )),
        None => Err(SaeError::uncertain(
            path,
            "no positive whole number `k` says how many latents are active",
            "add `k` to the configuration as the SAE was trained",
        )),
    }
}

/// A scalar tensor on the CPU.
pub(crate) fn scalar(value: f64, kind: Kind) -> Result<Tensor> {
    Ok(Tensor::f_full([], value, (kind, Device::Cpu))?)
}
