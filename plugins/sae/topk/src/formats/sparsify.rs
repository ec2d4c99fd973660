//! sparsify: `cfg.json` and `sae.safetensors` in a folder named after the hook point.

use sae_folder::{k_of, policy_of};
use serde_json::{Value, json};

use super::{Place, config};
use crate::{
    Format,
    error::Result,
    tensors::{Expected, SafetensorsFile, check},
    weights::{InputNorm, NonFinite, SaeMeta, TopKWeights, check_k, read_f32},
};

const CURE: &str = "only plain Top-K SAEs are read";

pub(super) fn read(place: &Place, non_finite: NonFinite) -> Result<TopKWeights> {
    let cfg = place.dir.join("cfg.json");
    let json = config::read(&cfg)?;
    let d_model = config::size(&cfg, &json, "/d_in")?;
    let latents = json.get("num_latents").and_then(Value::as_u64).unwrap_or(0);
    let d_sae = match latents {
        0 => d_model.saturating_mul(config::size(&cfg, &json, "/expansion_factor")?),
        n => n,
    };
    config::only_top_k(&cfg, &json, CURE)?;
    config::only(&cfg, &json, "activation", &[json!("topk")], CURE)?;
    for key in ["transcode", "skip_connection", "signed"] {
        config::only(&cfg, &json, key, &[json!(false)], CURE)?;
    }
    let k = check_k(&cfg, k_of(&json), d_sae)?;

    // Only the folder's name says what it reads.
    let layer = config::layer(&cfg, &place.dir, &json)?;

    let mut file = SafetensorsFile::open_unwrapped(&place.weights)?;
    check(
        &file,
        &[
            Expected::weight("encoder.weight", &[d_sae, d_model]),
            Expected::weight("encoder.bias", &[d_sae]),
            Expected::weight("W_dec", &[d_sae, d_model]),
            Expected::weight("b_dec", &[d_model]),
        ],
    )?;
    Ok(TopKWeights {
        w_enc: read_f32(&mut file, "encoder.weight", non_finite)?.f_tr()?,
        b_enc: read_f32(&mut file, "encoder.bias", non_finite)?,
        w_dec: read_f32(&mut file, "W_dec", non_finite)?,
        b_dec: read_f32(&mut file, "b_dec", non_finite)?,
        k,
        apply_b_dec_to_input: true,
        rescale_by_decoder_norm: false,
        input_norm: InputNorm::None,
        threshold: -1.0,
        meta: SaeMeta {
            format: Format::Sparsify,
            layer,
            policy: policy_of(&json, &place.dir).unwrap_or_default(),
            model: String::new(),
        },
    })
}
