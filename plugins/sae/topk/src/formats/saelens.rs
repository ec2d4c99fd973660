//! SAELens: `cfg.json` and `sae_weights.safetensors`, versions 3 to 6.

use std::{io::Write, path::Path};

use serde_json::{Value, json};
use tch::Kind;

use super::{Place, Stored, config, write_file};
use crate::{
    error::{Result, SaeError},
    set::{Format, budget},
    tensors::{Expected, SafetensorsFile, check, write_safetensors},
    weights::{InputNorm, NonFinite, SaeMeta, TopKWeights, check_k, read_f32},
};

const CURE: &str = "only Top-K SAEs on raw activations are read; fold or retrain it";

pub(super) fn read(place: &Place, non_finite: NonFinite) -> Result<TopKWeights> {
    let cfg = place.dir.join("cfg.json");
    let json = config::read(&cfg)?;
    let (d_model, d_sae) = (
        config::size(&cfg, &json, "/d_in")?,
        config::size(&cfg, &json, "/d_sae")?,
    );
    refuse_unknown(&cfg, &json)?;
    let k = check_k(&cfg, budget(Format::Saelens, &json), d_sae)?;

    let mut file = SafetensorsFile::open(&place.weights)?;
    check(
        &file,
        &[
            Expected::weight("W_enc", &[d_model, d_sae]),
            Expected::weight("b_enc", &[d_sae]),
            Expected::weight("W_dec", &[d_sae, d_model]),
            Expected::weight("b_dec", &[d_model]),
        ],
    )?;
    let hook = config::text(&json, &["/metadata/hook_name", "/hook_name"]);
    let stated = config::layer_of_hook(&cfg, &hook)?;
    if let (Some(layer), Some(other)) = (stated, json.get("hook_layer").and_then(Value::as_u64))
        && layer != other
    {
        let what = format!("`hook_layer` is {other}, `hook_name` says {layer}");
        return Err(SaeError::uncertain(&cfg, what, "correct the configuration"));
    }
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
            layer: config::layer(&cfg, &place.dir, stated)?,
            policy: config::policy(
                &place.dir,
                &config::text(&json, &["/metadata/harness/policy"]),
            ),
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
        "standard" => activation == "topk",
        _ => false,
    };
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
    config::only(cfg, json, "finetuning_scaling_factor", &off[1..], CURE)?;
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
            "model_name": weights.meta.model,
            "hook_name": hook,
            "hook_head_index": null,
            "harness": provenance,
        },
    });
    write_file(&dir.join("cfg.json"), |f| writeln!(f, "{cfg:#}"))
}
