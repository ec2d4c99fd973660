//! OpenAI's sparse_autoencoder: one state dict with `pre_bias`, `latent_bias`, encoder and decoder.
//!
//! No field says whether the input is normalised; see [`sae_folder::normalises_input`].

use std::path::Path;

use sae_folder::policy_of;
use serde_json::Value;

use super::{Place, config};
use crate::{
    Format,
    error::{Result, SaeError},
    tensors::{Expected, Scalar, TensorFile, TorchFile, check},
    weights::{InputNorm, NonFinite, SaeMeta, TopKWeights, check_k, read_f32},
};

/// Whether a file of any name is such a state dict.
pub(super) fn looks_like(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "pt")
        && TorchFile::open(path).is_ok_and(|f| f.metas().contains_key("latent_bias"))
}

pub(super) fn read(place: &Place, non_finite: NonFinite) -> Result<TopKWeights> {
    let path = &place.weights;
    let mut file = TorchFile::open(path)?;
    let word = |key: &str| match file.scalar(key) {
        Some(Scalar::Text(t)) => t.to_string(),
        _ => String::new(),
    };
    let (activation, after) = (word("activation"), word("activation_state_dict.postact_fn"));
    if activation != "TopK" || after != "ReLU" {
        return Err(SaeError::uncertain(
            path,
            format!(
                "its activation is `{}` with `{}` after it, not TopK with ReLU",
                activation.escape_debug(),
                after.escape_debug()
            ),
            "only Top-K SAEs are read",
        ));
    }
    const KNOWN: [&str; 3] = [
        "activation",
        "activation_state_dict.k",
        "activation_state_dict.postact_fn",
    ];
    if let Some((other, _)) = file.scalars().find(|(k, _)| !KNOWN.contains(k)) {
        let what = format!("`{}` is not a setting of this layout", other.escape_debug());
        return Err(SaeError::uncertain(
            path,
            what,
            "only the published layout is read",
        ));
    }
    let Some([d_sae, d_model]) = file
        .metas()
        .get("encoder.weight")
        .and_then(|m| m.shape.first_chunk())
        .copied()
    else {
        return Err(SaeError::file(
            path,
            "no matrix `encoder.weight`",
            "not an SAE of this layout",
        ));
    };
    let k = match file.scalar("activation_state_dict.k") {
        Some(Scalar::Int(k)) => u64::try_from(*k).ok(),
        _ => None,
    };
    let k = check_k(path, k, d_sae)?;
    check(
        &file,
        &[
            Expected::weight("encoder.weight", &[d_sae, d_model]),
            Expected::weight("latent_bias", &[d_sae]),
            Expected::weight("decoder.weight", &[d_model, d_sae]),
            Expected::weight("pre_bias", &[d_model]),
            Expected::extra("stats_last_nonzero", &[d_sae]),
            Expected::extra("latents_activation_frequency", &[d_sae]),
            Expected::extra("latents_mean_square", &[d_sae]),
        ],
    )?;
    Ok(TopKWeights {
        w_enc: read_f32(&mut file, "encoder.weight", non_finite)?.f_tr()?,
        b_enc: read_f32(&mut file, "latent_bias", non_finite)?,
        w_dec: read_f32(&mut file, "decoder.weight", non_finite)?.f_tr()?,
        b_dec: read_f32(&mut file, "pre_bias", non_finite)?,
        k,
        apply_b_dec_to_input: true,
        rescale_by_decoder_norm: false,
        input_norm: match file.normalises_input() {
            true => InputNorm::PerRow,
            false => InputNorm::None,
        },
        threshold: -1.0,
        meta: SaeMeta {
            format: Format::OpenAi,
            layer: config::layer(path, &place.dir, &Value::Null)?,
            policy: policy_of(&Value::Null, &place.dir).unwrap_or_default(),
            model: String::new(),
        },
    })
}
