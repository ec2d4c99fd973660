//! Quantised weights: told by the configuration, and by the tensors where it is silent.

use safetensors::Dtype;
use serde_json::{Map, Value};

use crate::StoredTensor;

/// What follows the finding.
const CURE: &str = "only f32, f16 and bf16 weights are read: give the checkpoint that it was \
                    quantised from";
/// Ends of the names that quantising tools add beside or in place of a weight.
const ADDED: [&str; 12] = [
    ".qweight",
    ".qzeros",
    ".g_idx",
    ".SCB",
    ".absmax",
    ".quant_map",
    ".weight_scale",
    ".weight_scale_inv",
    ".weight_packed",
    ".weight_zero_point",
    ".weight_format",
    ".scales",
];
/// Number formats of quantised matrices; packed numbers are kept in whole ones.
const SMALL: [Dtype; 11] = [
    Dtype::I8,
    Dtype::U8,
    Dtype::I32,
    Dtype::U32,
    Dtype::F4,
    Dtype::F6_E2M3,
    Dtype::F6_E3M2,
    Dtype::F8_E4M3,
    Dtype::F8_E5M2,
    Dtype::F8_E4M3FNUZ,
    Dtype::F8_E5M2FNUZ,
];

/// What a config.json says of quantised weights, with the cure.
pub(crate) fn by_config(config: &Map<String, Value>) -> Option<String> {
    let keys = ["quantization_config", "compression_config", "quantization"];
    let (key, value) = keys.iter().find_map(|key| {
        let value = config.get(*key)?;
        value.as_object().filter(|fields| !fields.is_empty())?;
        Some((key, value))
    })?;
    let method = ["quant_method", "quant_algo", "format", "mode"]
        .iter()
        .find_map(|key| value.get(*key)?.as_str())
        .unwrap_or("no method named");
    let bits = value.get("bits").and_then(Value::as_u64);
    let bits = bits.map_or_else(String::new, |bits| format!(", {bits} bits"));
    Some(format!(
        "the weights are quantised ({key}: {method}{bits}); {CURE}"
    ))
}

/// What the tensors of a weight file show of it, with the cure.
pub(crate) fn by_tensors(tensors: &[StoredTensor]) -> Option<String> {
    let shows = |tensor: &&StoredTensor| {
        let is_added = ADDED.iter().any(|end| tensor.name.ends_with(end))
            || tensor.name.contains(".quant_state.");
        let is_small = SMALL.contains(&tensor.dtype);
        let is_matrix = tensor.name.ends_with(".weight") && tensor.shape.len() == 2;
        is_added || (is_matrix && is_small)
    };
    let found = tensors.iter().find(shows)?;
    let name: String = found.name.chars().take(160).collect();
    Some(format!(
        "holds quantised weights (tensor `{name}` in {}); {CURE}",
        found.dtype
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(config: Value) -> Option<String> {
        by_config(config.as_object().unwrap())
    }

    #[test]
    fn configurations_of_the_usual_tools() {
        for (config, words) in [
            (
                json!({"quantization_config": {"quant_method": "awq", "bits": 4}}),
                "awq, 4 bits",
            ),
            (
                json!({"quantization_config": {"load_in_8bit": true}}),
                "no method named",
            ),
            (
                json!({"quantization_config": {"quant_method": "fp8"}}),
                "fp8",
            ),
            (
                json!({"compression_config": {"format": "pack-quantized"}}),
                "pack-quantized",
            ),
            (
                json!({"quantization": {"group_size": 64, "bits": 4}}),
                "4 bits",
            ),
        ] {
            let text = said(config).unwrap();
            assert!(text.contains("quantised") && text.contains(words), "{text}");
        }
        for config in [
            json!({}),
            json!({"quantization_config": null}),
            json!({"quantization_config": {}}),
        ] {
            assert_eq!(said(config), None);
        }
    }

    #[test]
    fn tensors_that_only_quantising_leaves() {
        let of = |name: &str, dtype: Dtype, shape: &[u64]| {
            by_tensors(&[StoredTensor {
                name: name.to_owned(),
                dtype,
                shape: shape.to_vec(),
                span: (0, 0),
            }])
        };
        for (name, dtype, shape) in [
            (
                "model.layers.0.mlp.up_proj.qweight",
                Dtype::I32,
                &[2, 2][..],
            ),
            ("model.layers.0.mlp.up_proj.weight", Dtype::F8_E4M3, &[2, 2]),
            ("model.layers.0.mlp.up_proj.weight", Dtype::U8, &[4, 1]),
            ("model.layers.0.mlp.up_proj.weight", Dtype::F4, &[4, 1]),
            (
                "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4",
                Dtype::U8,
                &[9],
            ),
        ] {
            let text = of(name, dtype, shape).unwrap();
            assert!(text.contains("quantised") && text.contains(name), "{text}");
        }
        // The causal mask that old GPT-2 files carry.
        assert_eq!(of("h.0.attn.bias", Dtype::U8, &[1, 1, 8, 8]), None);
        assert_eq!(of("model.norm.weight", Dtype::BF16, &[8]), None);
    }
}
