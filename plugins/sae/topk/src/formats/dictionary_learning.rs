//! dictionary_learning: `config.json` and `ae.pt`, the layout of the released sets.

use std::{io::Write, path::Path};

use sae_folder::{k_of, policy_of};
use serde_json::{Value, json};
use tch::Kind;

use super::{Place, Stored, config, write_file};
use crate::{
    Format,
    error::{Result, SaeError},
    tensors::{Expected, TensorFile, TorchFile, check, write_torch},
    weights::{InputNorm, NonFinite, SaeMeta, TopKWeights, check_k, read_f32, scalar},
};

const CURE: &str = "only AutoEncoderTopK on block outputs is read";

pub(super) fn read(place: &Place, non_finite: NonFinite) -> Result<TopKWeights> {
    let cfg = place.dir.join("config.json");
    let json = config::read(&cfg)?;
    let Some(trainer) = json.get("trainer").filter(|t| t.is_object()) else {
        return Err(SaeError::uncertain(
            &cfg,
            "it has no object `trainer`",
            CURE,
        ));
    };
    config::only_top_k(&cfg, &json, CURE)?;
    let class = config::text(trainer, &["/dict_class"]);
    if class != "AutoEncoderTopK" {
        let what = format!(
            "`trainer.dict_class` is `{}`, not AutoEncoderTopK",
            class.escape_debug()
        );
        return Err(SaeError::uncertain(&cfg, what, CURE));
    }
    let d_model = config::size(&cfg, &json, "/trainer/activation_dim")?;
    let d_sae = config::size(&cfg, &json, "/trainer/dict_size")?;
    let k = check_k(&cfg, k_of(&json), d_sae)?;
    if let Some(buffer) = json.get("buffer") {
        config::only(&cfg, buffer, "io", &[json!("out")], CURE)?;
    }
    let layer = config::layer(&cfg, &place.dir, &json)?;

    let mut file = TorchFile::open(&place.weights)?;
    check(
        &file,
        &[
            Expected::weight("encoder.weight", &[d_sae, d_model]),
            Expected::weight("encoder.bias", &[d_sae]),
            Expected::weight("decoder.weight", &[d_model, d_sae]),
            Expected::weight("b_dec", &[d_model]),
            Expected::extra("k", &[]),
            Expected::extra("threshold", &[]),
        ],
    )?;
    if let Some(stored) = number_beside(&mut file, "k")?
        && stored != k as f64
    {
        let what = format!("`k` is {stored} in the weights and {k} in config.json");
        return Err(SaeError::uncertain(
            &place.weights,
            what,
            "find out which of the two it was trained with",
        ));
    }
    let threshold = number_beside(&mut file, "threshold")?.unwrap_or(-1.0);
    Ok(TopKWeights {
        w_enc: read_f32(&mut file, "encoder.weight", non_finite)?.f_tr()?,
        b_enc: read_f32(&mut file, "encoder.bias", non_finite)?,
        w_dec: read_f32(&mut file, "decoder.weight", non_finite)?.f_tr()?,
        b_dec: read_f32(&mut file, "b_dec", non_finite)?,
        k,
        apply_b_dec_to_input: true,
        rescale_by_decoder_norm: false,
        input_norm: InputNorm::None,
        threshold: threshold as f32,
        meta: SaeMeta {
            format: Format::DictionaryLearning,
            layer,
            policy: policy_of(&json, &place.dir).unwrap_or_default(),
            model: config::text(&json, &["/trainer/lm_name"]),
        },
    })
}

/// A scalar that is stored as a tensor without dimensions.
fn number_beside(file: &mut TorchFile, name: &str) -> Result<Option<f64>> {
    if !file.metas().contains_key(name) {
        return Ok(None);
    }
    Ok(Some(file.read(name)?.f_double_value(&[])?))
}

pub(super) fn write(
    weights: &TopKWeights,
    dir: &Path,
    stored: Stored,
    provenance: &Value,
) -> Result<()> {
    if weights.rescale_by_decoder_norm || !weights.apply_b_dec_to_input {
        return Err(SaeError::Unsupported {
            what: "dictionary_learning knows neither rescaling by decoder norms nor an input without b_dec".into(),
        });
    }
    let kind = stored.kind();
    let tensors = [
        ("b_dec", weights.b_dec.f_to_kind(kind)?),
        ("k", scalar(weights.k as f64, Kind::Int)?),
        (
            "threshold",
            scalar(f64::from(weights.threshold), Kind::Float)?,
        ),
        (
            "decoder.weight",
            weights.w_dec.f_tr()?.f_to_kind(kind)?.f_contiguous()?,
        ),
        (
            "encoder.weight",
            weights.w_enc.f_tr()?.f_to_kind(kind)?.f_contiguous()?,
        ),
        ("encoder.bias", weights.b_enc.f_to_kind(kind)?),
    ];
    write_torch(&dir.join("ae.pt"), "ae", &tensors)?;
    let mut trainer = json!({
        "trainer_class": "TopKTrainer",
        "dict_class": "AutoEncoderTopK",
        "activation_dim": weights.d_model(),
        "dict_size": weights.d_sae(),
        "k": weights.k,
        "device": "cpu",
        "layer": weights.meta.layer,
        "lm_name": weights.meta.model,
        "wandb_name": "AutoEncoderTopK",
        "submodule_name": weights.meta.layer.map(|l| format!("resid_post_layer_{l}")),
    });
    for key in [
        "lr",
        "steps",
        "auxk_alpha",
        "warmup_steps",
        "decay_start",
        "threshold_beta",
        "threshold_start_step",
        "seed",
    ] {
        if let Some(value) = provenance.pointer(&format!("/trainer/{key}")) {
            trainer[key] = value.clone();
        }
    }
    let config = json!({
        "trainer": trainer,
        "buffer": {"d_submodule": weights.d_model(), "io": "out"},
        "harness": provenance,
    });
    write_file(&dir.join("config.json"), |f| writeln!(f, "{config:#}"))
}
