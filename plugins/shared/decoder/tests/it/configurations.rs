//! What is read of config.json and generation_config.json, and what is written.

use crate::common::{FIXTURES, parity, random_model};
use decoder::{DecoderConfig, Family, LoadOptions, save_checkpoint};
use tch::{Device, Kind};

#[test]
fn ids_that_no_row_has_are_left_out_unless_the_model_needs_them() {
    let read = |family: Family, extra: serde_json::Value| {
        let (model, _) = random_model(family, 1);
        let mut value = model.config().to_json(Kind::Float);
        value["mask_token_id"] = serde_json::json!(49);
        let fields = value.as_object_mut().unwrap();
        fields.extend(extra.as_object().unwrap().clone());
        DecoderConfig::from_json("here", &value).map(|config| config.special)
    };
    let ids = serde_json::json!({
        "pad_token_id": 50, "bos_token_id": 70, "eos_token_id": [50, 3, 1_u64 << 40]
    });
    for family in Family::ALL {
        let special = read(family, ids.clone()).unwrap();
        let expected = (None, None, vec![3]);
        assert_eq!((special.pad, special.bos, special.eos), expected);
        let mask = read(family, serde_json::json!({"mask_token_id": 50}));
        match family.objective() {
            decoder::Objective::Autoregressive => assert_eq!(mask.unwrap().mask, None),
            decoder::Objective::MaskedDiffusion => {
                let error = mask.unwrap_err().to_string();
                assert!(error.contains("mask_token_id 50 is outside"), "{error}");
            }
        }
    }
}

#[test]
fn end_tokens_are_the_files_or_else_the_familys() {
    let ends = |family: Family, config: Option<serde_json::Value>, generation: Option<&str>| {
        let folder = tempfile::tempdir().unwrap();
        let mut value = DecoderConfig::new(family, 60_000, 8, 1, 2).to_json(Kind::Float);
        value.as_object_mut().unwrap().remove("eos_token_id");
        if let Some(ids) = config {
            value["eos_token_id"] = ids;
        }
        std::fs::write(folder.path().join("config.json"), value.to_string()).unwrap();
        if let Some(text) = generation {
            std::fs::write(folder.path().join("generation_config.json"), text).unwrap();
        }
        DecoderConfig::from_folder(folder.path())
            .unwrap()
            .special
            .eos
    };
    let json = |value| Some(serde_json::json!(value));
    assert_eq!(ends(Family::Llama, None, None), [2]);
    assert_eq!(ends(Family::Gpt2, None, None), [50_256]);
    assert_eq!(ends(Family::Qwen2, None, None), [0; 0]);
    assert_eq!(
        ends(Family::Llama, Some(serde_json::Value::Null), None),
        [0; 0]
    );
    assert_eq!(ends(Family::Llama, json(7), None), [7]);
    assert_eq!(ends(Family::Llama, None, Some(r#"{"top_p": NaN}"#)), [0; 0]);
    let both = r#"{"eos_token_id": [7, 9], "temperature": Infinity}"#;
    assert_eq!(ends(Family::Llama, json(7), Some(both)), [7, 9]);
}

/// Windows that some text would feel are refused with the layer and the length; those that never
/// apply are among the fixtures.
#[test]
fn a_sliding_window_is_named_with_its_first_layer_and_length() {
    let with = |extra: serde_json::Value| {
        let (model, _) = random_model(Family::Qwen2, 1); // 4 layers, 64 positions
        let mut value = model.config().to_json(Kind::Float);
        let fields = value.as_object_mut().unwrap();
        fields.extend(extra.as_object().unwrap().clone());
        DecoderConfig::from_json("here", &value)
            .unwrap_err()
            .to_string()
    };
    for (extra, parts) in [
        (
            serde_json::json!({"use_sliding_window": true, "sliding_window": 63, "max_window_layers": 3}),
            ["from layer 3 on", "63 tokens"],
        ),
        (
            serde_json::json!({"use_sliding_window": true, "sliding_window": 8,
                "layer_types": ["full_attention", "sliding_attention", "full_attention", "full_attention"]}),
            ["from layer 1 on", "8 tokens"],
        ),
        (
            serde_json::json!({"use_sliding_window": false, "sliding_window": 8,
                "layer_types": ["sliding_attention", "full_attention"]}),
            ["layer 0 a sliding window", "use_sliding_window says"],
        ),
        (
            serde_json::json!({"layer_types": ["full_attention", "chunked_attention"]}),
            ["chunked_attention", "not implemented"],
        ),
    ] {
        let said = with(extra);
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}

/// LLaDA's own code takes another architecture where a file says nothing.
#[test]
fn a_llada_without_its_settings_is_another_model() {
    let (model, _) = random_model(Family::Llada, 1);
    for key in ["block_type", "layer_norm_type", "activation_type", "rope"] {
        let mut value = model.config().to_json(Kind::Float);
        value["mask_token_id"] = serde_json::json!(49);
        value.as_object_mut().unwrap().remove(key);
        let error = DecoderConfig::from_json("here", &value)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(key) && error.contains("not implemented"),
            "{error}"
        );
    }
}

#[test]
fn newer_and_older_ways_to_write_rope_settings_are_read() {
    let parse = |extra: serde_json::Value| {
        let (model, _) = random_model(Family::Llama, 1);
        let mut value = model.config().to_json(Kind::BFloat16);
        value.as_object_mut().unwrap().remove("rope_theta");
        value.as_object_mut().unwrap().remove("rope_scaling");
        value
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        DecoderConfig::from_json("here", &value).unwrap().rope
    };
    let scaling = serde_json::json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192
    });
    let older = parse(serde_json::json!({"rope_theta": 5e5, "rope_scaling": scaling}));
    let mut both = scaling.clone();
    both["rope_theta"] = serde_json::json!(5e5);
    assert_eq!(older, parse(serde_json::json!({"rope_parameters": both})));
    assert!(matches!(
        older.scaling,
        decoder::RopeScaling::Llama3 {
            original_max_positions: 8192,
            ..
        }
    ));
    assert_eq!(parse(serde_json::json!({})).theta, 10_000.0);
}

#[test]
fn names_are_those_of_the_public_files() {
    for (name, _) in FIXTURES {
        let folder = parity().join(name);
        let text = std::fs::read_to_string(folder.join("golden/manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        let theirs: std::collections::BTreeSet<String> =
            serde_json::from_value::<Vec<String>>(manifest["parameter_names"].clone())
                .unwrap()
                .into_iter()
                .filter(|name| !(name.starts_with("h.") && name.ends_with(".attn.bias")))
                .collect();
        let config = DecoderConfig::from_folder(&folder.join("checkpoint")).unwrap();
        let ours = decoder::parameters(&config)
            .into_iter()
            .map(|spec| spec.name)
            .collect();
        assert_eq!(theirs, ours, "{name}");
    }
}

#[test]
fn a_written_config_has_the_keys_of_the_public_one() {
    for (name, _) in FIXTURES {
        let folder = parity().join(name).join("checkpoint");
        let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
        let config = DecoderConfig::from_folder(&folder).unwrap();
        let ours = config.to_json(Kind::BFloat16);
        assert_eq!(
            DecoderConfig::from_json("ours", &ours).unwrap(),
            config,
            "{name}"
        );
        for (key, value) in theirs.as_object().unwrap() {
            // Says which library version wrote the file, or bounds a feature that is off.
            if ["transformers_version", "max_window_layers"].contains(&key.as_str()) {
                continue;
            }
            assert_eq!(ours.get(key), Some(value), "{name} {key}");
        }
    }
}

/// A model without its head has the names of the inner class.
#[test]
fn files_of_the_class_without_a_head_are_read() {
    for family in [Family::Dream, Family::Qwen2, Family::Llama] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = random_model(family, 7).0.config().clone();
        config.tie_embeddings = true;
        let store = tch::nn::VarStore::new(Device::Cpu);
        decoder::init(&config, &store.root()).unwrap();
        let variables = store.variables();
        save_checkpoint(folder.path(), &config, store.variables(), Kind::Float).unwrap();
        let plain = variables
            .into_iter()
            .map(|(name, tensor)| (name.replacen("model.", "", 1), tensor));
        let file = folder.path().join("model.safetensors");
        decoder::write_weights(&file, plain, Kind::Float).unwrap();
        decoder::load(folder.path(), Some(family), &LoadOptions::default()).unwrap();
    }
}
