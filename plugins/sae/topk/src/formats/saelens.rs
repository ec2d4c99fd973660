//! SAELens: `cfg.json` and `sae_weights.safetensors`, versions 3 to 6.

use std::{io::Write, path::Path};

use sae_folder::{k_of, policy_of};
use serde_json::{Value, json};
use tch::Kind;

use super::{Place, Stored, config, write_file};
use crate::{
    Format,
    error::{Result, SaeError},
    tensors::{Expected, SafetensorsFile, TensorFile, check, write_safetensors},
    weights::{InputNorm, NonFinite, SaeMeta, TopKWeights, check_k, read_f32},
};

/// The version of SAELens whose layout is written.
const SAELENS_VERSION: &str = "6.22.0";
/// Factors of finetuning, one for each latent.
const SCALING: &str = "scaling_factor";
const CURE: &str = "only Top-K SAEs on raw activations are read; fold or retrain it";

pub(super) fn read(place: &Place, non_finite: NonFinite) -> Result<TopKWeights> {
    let cfg = place.dir.join("cfg.json");
    let json = config::read(&cfg)?;
    let (d_model, d_sae) = (
        config::size(&cfg, &json, "/d_in")?,
        config::size(&cfg, &json, "/d_sae")?,
    );
    refuse_unknown(&cfg, &json)?;
    let k = check_k(&cfg, k_of(&json), d_sae)?;

    let layer = config::layer(&cfg, &place.dir, &json)?;
    let mut file = SafetensorsFile::open_unwrapped(&place.weights)?;
    check(
        &file,
        &[
            Expected::weight("W_enc", &[d_model, d_sae]),
            Expected::weight("b_enc", &[d_sae]),
            Expected::weight("W_dec", &[d_sae, d_model]),
            Expected::weight("b_dec", &[d_model]),
            Expected::extra(SCALING, &[d_sae]),
        ],
    )?;
    refuse_scaling(&cfg, &json, &mut file, non_finite)?;
    Ok(TopKWeights {
        w_enc: read_f32(&mut file, "W_enc", non_finite)?,
        b_enc: read_f32(&mut file, "b_enc", non_finite)?,
        w_dec: read_f32(&mut file, "W_dec", non_finite)?,
        b_dec: read_f32(&mut file, "b_dec", non_finite)?,
        k,
        apply_b_dec_to_input: json
            .get("apply_b_dec_to_input")
            .and_then(Value::as_bool)
            .unwrap_or(true),
        rescale_by_decoder_norm: json
            .get("rescale_acts_by_decoder_norm")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        input_norm: InputNorm::None,
        threshold: -1.0,
        meta: SaeMeta {
            format: Format::Saelens,
            layer,
            policy: policy_of(&json, &place.dir).unwrap_or_default(),
            model: config::text(&json, &["/metadata/model_name", "/model_name"]),
        },
    })
}

/// Every setting that changes what the SAE computes must be one that is understood.
fn refuse_unknown(cfg: &Path, json: &Value) -> Result<()> {
    let architecture = config::text(json, &["/architecture"]);
    let activation = config::text(json, &["/activation_fn_str", "/activation_fn"]);
    let is_topk = match architecture.as_str() {
        "topk" => activation.is_empty() || activation == "topk",
        // Until version 4 there was no architecture.
        "standard" | "" => activation == "topk",
        _ => false,
    };
    config::only_top_k(cfg, json, CURE)?;
    if !is_topk {
        let what = format!(
            "its architecture is `{}` with activation `{}`, not Top-K",
            architecture.escape_debug(),
            activation.escape_debug()
        );
        return Err(SaeError::uncertain(cfg, what, CURE));
    }
    let bools = [json!(true), json!(false)];
    config::only(cfg, json, "apply_b_dec_to_input", &bools, CURE)?;
    config::only(cfg, json, "rescale_acts_by_decoder_norm", &bools, CURE)?;
    let off = [json!("none"), json!(false)];
    config::only(cfg, json, "normalize_activations", &off, CURE)?;
    config::only(cfg, json, "reshape_activations", &off[..1], CURE)?;
    config::only(cfg, json, "hook_head_index", &[], CURE)?;
    config::only(
        cfg,
        json,
        "activation_fn_kwargs",
        &[json!({}), kwargs(json)],
        CURE,
    )?;
    if let Some(metadata) = json.get("metadata") {
        config::only(cfg, metadata, "hook_head_index", &[], CURE)?;
    }
    Ok(())
}

/// Factors that finetuning gives activations. SAELens stores ones where it did not finetune, which
/// change nothing.
fn refuse_scaling(
    cfg: &Path,
    json: &Value,
    file: &mut SafetensorsFile,
    non_finite: NonFinite,
) -> Result<()> {
    if !file.metas().contains_key(SCALING) {
        return config::only(
            cfg,
            json,
            "finetuning_scaling_factor",
            &[json!(false)],
            CURE,
        );
    }
    let factors = read_f32(file, SCALING, non_finite)?;
    let n_other = factors.f_ne(1.0)?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
    if n_other > 0 {
        let what = format!("`{SCALING}` of {n_other} latents is not 1");
        return Err(SaeError::uncertain(file.path(), what, CURE));
    }
    Ok(())
}

/// The only keyword argument of the Top-K activation that is understood.
fn kwargs(json: &Value) -> Value {
    json.pointer("/activation_fn_kwargs/k")
        .map_or(json!({}), |k| json!({"k": k}))
}

pub(super) fn write(
    weights: &TopKWeights,
    dir: &Path,
    stored: Stored,
    provenance: &Value,
) -> Result<()> {
    let kind: Kind = stored.kind();
    write_safetensors(
        &dir.join("sae_weights.safetensors"),
        &[
            ("W_dec", weights.w_dec.f_to_kind(kind)?),
            ("W_enc", weights.w_enc.f_to_kind(kind)?),
            ("b_dec", weights.b_dec.f_to_kind(kind)?),
            ("b_enc", weights.b_enc.f_to_kind(kind)?),
        ],
        &[],
    )?;
    let hook = weights
        .meta
        .layer
        .map(|l| format!("blocks.{l}.hook_resid_post"));
    let cfg = json!({
        "architecture": "topk",
        "d_in": weights.d_model(),
        "d_sae": weights.d_sae(),
        "k": weights.k,
        "dtype": stored.name(),
        "device": "cpu",
        "apply_b_dec_to_input": weights.apply_b_dec_to_input,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "rescale_acts_by_decoder_norm": weights.rescale_by_decoder_norm,
        "metadata": {
            // Without a version SAELens takes the file for one of before 6 and drops what it does
            // not know.
            "sae_lens_version": SAELENS_VERSION,
            "sae_lens_training_version": null,
            "model_name": weights.meta.model,
            "model_class_name": "AutoModelForCausalLM",
            "hook_name": hook,
            "hook_head_index": null,
            "context_size": provenance.get("context_length"),
            // Whether every row of the training text began with a token put in front of it.
            "prepend_bos": provenance.get("prepend_bos"),
            "harness": provenance,
        },
    });
    write_file(&dir.join("cfg.json"), |f| writeln!(f, "{cfg:#}"))
}
