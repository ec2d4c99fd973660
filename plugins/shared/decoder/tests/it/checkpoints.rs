//! Writing and reading folders, and what damaged ones get.

use std::path::Path;

use crate::common::{random_model, run, tokens};
use decoder::{DecoderConfig, DecoderError, Family, LoadOptions, NonFinite, save_checkpoint};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

fn saved(family: Family, kind: Kind) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (model, store) = random_model(family, 7);
    save_checkpoint(folder.path(), model.config(), store.variables(), kind).unwrap();
    folder
}

fn refusal(folder: &Path) -> String {
    match decoder::load(folder, None, &LoadOptions::default()) {
        Ok(_) => "loaded".to_owned(),
        Err(error) => {
            let is_of_no_file = matches!(error, DecoderError::Argument(_) | DecoderError::Torch(_));
            assert!(!is_of_no_file, "{error:?}");
            error.to_string()
        }
    }
}

fn assert_refused(folder: &Path, parts: &[&str]) {
    let message = refusal(folder);
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

/// A safetensors file from a header and data, well-formed or not.
fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        data,
    ]
    .concat()
}

#[test]
fn a_saved_model_is_the_same_model_in_every_family() {
    for family in Family::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (model, mut store) = random_model(family, 7);
        // What carries gradients goes through other operations, with other roundings.
        store.freeze();
        save_checkpoint(
            folder.path(),
            model.config(),
            store.variables(),
            Kind::Float,
        )
        .unwrap();
        let again = decoder::load(folder.path(), Some(family), &LoadOptions::default()).unwrap();
        assert_eq!(again.config(), model.config());
        let ids = tokens(2, 9, 1);
        assert!(
            run(&*model, &ids, None)
                .1
                .equal(&run(&*again, &ids, None).1),
            "{family:?}"
        );
        assert_eq!(decoder::stored_kind(folder.path()).unwrap(), Kind::Float);
        let first = std::fs::read(folder.path().join("model.safetensors")).unwrap();
        save_checkpoint(
            folder.path(),
            model.config(),
            store.variables(),
            Kind::Float,
        )
        .unwrap();
        assert_eq!(
            first,
            std::fs::read(folder.path().join("model.safetensors")).unwrap(),
            "bytes depend on the run"
        );
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            2,
            "a temporary file is left"
        );
    }
}

#[test]
fn weights_are_stored_and_loaded_in_the_dtype_asked_for() {
    for kind in [Kind::BFloat16, Kind::Half, Kind::Float] {
        let folder = saved(Family::Qwen2, kind);
        assert_eq!(decoder::stored_kind(folder.path()).unwrap(), kind);
        for wanted in [Kind::BFloat16, Kind::Half, Kind::Float] {
            let options = LoadOptions {
                kind: wanted,
                ..LoadOptions::default()
            };
            assert_eq!(
                decoder::load(folder.path(), None, &options).unwrap().kind(),
                wanted
            );
        }
    }
}

#[test]
fn gpt2_loads_with_and_without_its_prefix_and_ignores_mask_buffers() {
    let folder = saved(Family::Gpt2, Kind::Float);
    let plain = decoder::load(folder.path(), None, &LoadOptions::default()).unwrap();
    let file = folder.path().join("model.safetensors");
    let mut tensors: Vec<(String, Tensor)> = Tensor::read_safetensors(&file)
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (format!("transformer.{name}"), tensor))
        .collect();
    let mask = Tensor::ones([1, 1, 64, 64], (Kind::Float, Device::Cpu)).tril(0);
    tensors.push(("transformer.h.0.attn.bias".to_owned(), mask));
    let embedding = tensors
        .iter()
        .find(|(name, _)| name == "transformer.wte.weight");
    let head = embedding.unwrap().1.copy();
    tensors.push(("lm_head.weight".to_owned(), head));
    decoder::write_weights(&file, tensors, Kind::Float).unwrap();
    let prefixed = decoder::load(folder.path(), None, &LoadOptions::default()).unwrap();
    let ids = tokens(2, 7, 3);
    assert!(
        run(&*plain, &ids, None)
            .1
            .equal(&run(&*prefixed, &ids, None).1)
    );
}

#[test]
fn weights_may_be_read_by_whoever_may_read_the_configuration() {
    let folder = saved(Family::Llama, Kind::Float);
    let metadata = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap();
    let permissions = |name| metadata(name).permissions();
    assert_eq!(permissions("model.safetensors"), permissions("config.json"));
}

#[test]
fn a_family_without_an_adapter_is_refused_with_the_list() {
    let folder = saved(Family::Llama, Kind::Float);
    let text = r#"{"model_type": "mamba", "auto_map": {"AutoModel": "modeling.X"}}"#;
    std::fs::write(folder.path().join("config.json"), text).unwrap();
    assert_refused(
        folder.path(),
        &[
            "mamba",
            "remote code is never run",
            "dream",
            "llada",
            "qwen2",
            "llama",
            "gpt2",
        ],
    );
    let folder = saved(Family::Llama, Kind::Float);
    let error = decoder::load(folder.path(), Some(Family::Dream), &LoadOptions::default())
        .err()
        .unwrap();
    assert!(
        matches!(
            error,
            DecoderError::WrongFamily {
                wanted: "dream",
                found_adapter: "llama",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn unsupported_settings_and_bad_fields_are_named() {
    let folder = saved(Family::Llama, Kind::Float);
    let path = folder.path().join("config.json");
    let original: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (key, value, parts) in [
        (
            "hidden_size",
            serde_json::json!(48),
            &[
                "do not fit",
                "model.embed_tokens.weight",
                "[50, 48]",
                "[50, 32]",
            ][..],
        ),
        (
            "hidden_size",
            serde_json::json!("wide"),
            &["hidden_size", "an integer"],
        ),
        (
            "vocab_size",
            serde_json::Value::Null,
            &["vocab_size is missing"],
        ),
        (
            "num_key_value_heads",
            serde_json::json!(3),
            &["4 heads cannot share 3"],
        ),
        (
            "rope_scaling",
            serde_json::json!({"rope_type": "longrope"}),
            &["longrope", "linear, dynamic, llama3, yarn"],
        ),
        (
            "rope_scaling",
            serde_json::json!({"rope_type": "yarn"}),
            &["factor is missing"],
        ),
        (
            "rope_scaling",
            serde_json::json!({"rope_type": "linear", "factor": -1.0}),
            &["the rope factor -1 is not above 0"],
        ),
        (
            "rope_parameters",
            serde_json::json!({"full_attention": {"rope_type": "default"}}),
            &["full_attention", "not implemented"],
        ),
        (
            "partial_rotary_factor",
            serde_json::json!(0.5),
            &["partial_rotary_factor = 0.5"],
        ),
        (
            "rope_theta",
            serde_json::json!("Infinity"),
            &["rope_theta is \"Infinity\"", "a number"],
        ),
        (
            "hidden_act",
            serde_json::json!("xielu"),
            &["hidden_act", "xielu", "silu"],
        ),
        (
            "num_hidden_layers",
            serde_json::json!(1e18 as i64),
            &["n_layers"],
        ),
    ] {
        let mut changed = original.clone();
        changed[key] = value;
        std::fs::write(&path, changed.to_string()).unwrap();
        assert_refused(folder.path(), parts);
    }
    std::fs::write(&path, "{").unwrap();
    assert_refused(folder.path(), &["config.json", "not JSON"]);
}

/// transformers ties whichever of the two is stored, and neither where they differ.
#[test]
fn a_tied_head_is_what_the_files_hold() {
    for family in Family::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (model, _) = random_model(family, 7);
        let mut config = model.config().clone();
        config.tie_embeddings = true;
        let store = tch::nn::VarStore::new(Device::Cpu);
        decoder::init(&config, &store.root()).unwrap();
        save_checkpoint(folder.path(), &config, store.variables(), Kind::Float).unwrap();
        let file = folder.path().join("model.safetensors");
        let tied = Tensor::read_safetensors(&file).unwrap();
        let mut untied = config.clone();
        untied.tie_embeddings = false;
        let names = |config: &DecoderConfig| -> Vec<String> {
            let all = decoder::parameters(config).into_iter();
            all.map(|spec| spec.name).collect()
        };
        let head = names(&untied).pop().unwrap();
        let first = names(&config).remove(0);
        let ids = tokens(2, 5, 1);
        let logits = |tensors: Vec<(String, Tensor)>| {
            decoder::write_weights(&file, tensors, Kind::Float).unwrap();
            let model = decoder::load(folder.path(), None, &LoadOptions::default()).unwrap();
            (run(&*model, &ids, None).1, model.config().tie_embeddings)
        };
        let copies = || -> Vec<(String, Tensor)> {
            tied.iter()
                .map(|(name, t)| (name.clone(), t.copy()))
                .collect()
        };
        let embedding = |all: &[(String, Tensor)]| {
            all.iter()
                .find(|(name, _)| *name == first)
                .unwrap()
                .1
                .copy()
        };
        let (usual, is_tied) = logits(copies());
        assert!(is_tied, "{family:?}");
        let mut both = copies();
        both.push((head.clone(), embedding(&both)));
        let (same, is_tied) = logits(both);
        assert!(is_tied && same.equal(&usual), "{family:?}");
        let mut only_head = copies();
        only_head.retain(|(name, _)| *name != first);
        only_head.push((head.clone(), embedding(&copies())));
        assert!(logits(only_head).0.equal(&usual), "{family:?}");
        let mut other = copies();
        other.push((head.clone(), embedding(&other) * -2.0));
        let (doubled, is_tied) = logits(other);
        assert!(!is_tied && doubled.equal(&(usual * -2.0)), "{family:?}");
    }
}

#[test]
fn an_index_may_list_what_nobody_needs() {
    let folder = saved(Family::Llama, Kind::Float);
    let mut config = random_model(Family::Llama, 7).0.config().clone();
    config.tie_embeddings = true;
    let store = tch::nn::VarStore::new(Device::Cpu);
    decoder::init(&config, &store.root()).unwrap();
    save_checkpoint(folder.path(), &config, store.variables(), Kind::Float).unwrap();
    std::fs::rename(
        folder.path().join("model.safetensors"),
        folder.path().join("a.safetensors"),
    )
    .unwrap();
    let mut names: Vec<String> = store.variables().into_keys().collect();
    names.extend(["lm_head.weight", "model.rotary_emb.inv_freq"].map(str::to_owned));
    let listed: Vec<String> = (names.iter())
        .map(|name| format!("\"{name}\": \"a.safetensors\""))
        .collect();
    let index = format!(
        r#"{{"metadata": {{"total_size": NaN}}, "weight_map": {{{}}}}}"#,
        listed.join(",")
    );
    std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    assert_eq!(refusal(folder.path()), "loaded");
}

#[test]
fn files_that_are_not_weights_are_recognised() {
    let folder = saved(Family::Qwen2, Kind::Float);
    let file = folder.path().join("model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    let size = whole.len().to_string();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    for (bytes, parts) in [
        (
            pointer.as_bytes().to_vec(),
            &["Git LFS pointer", "git lfs pull"][..],
        ),
        (
            b"\n<!DOCTYPE html><html></html>".to_vec(),
            &["web page", "download"],
        ),
        (b"PK\x03\x04rest".to_vec(), &["pickled"]),
        (Vec::new(), &["empty"]),
        (b"abc".to_vec(), &["size 3"]),
        (
            u64::MAX.to_le_bytes().to_vec(),
            &["header length 18446744073709551615"],
        ),
        (
            (1_u64 << 62).to_le_bytes().to_vec(),
            &["header length 4611686018427387904"],
        ),
        (
            whole[..whole.len() - 100].to_vec(),
            &["download incomplete?", &size],
        ),
        (whole[..500].to_vec(), &["download incomplete?", "size 500"]),
        (
            [&whole[..], b"tail"].concat(),
            &["bytes are left over after the last tensor"],
        ),
        (raw("[1]", b""), &["its header cannot be read"]),
    ] {
        std::fs::write(&file, bytes).unwrap();
        assert_refused(folder.path(), parts);
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let folder = saved(Family::Qwen2, Kind::Float);
    let file = folder.path().join("model.safetensors");
    let entry = |name: &str, from: usize, to: usize| {
        format!(
            r#""{name}":{{"dtype":"F32","shape":[{}],"data_offsets":[{from},{to}]}}"#,
            to.saturating_sub(from) / 4
        )
    };
    let many: Vec<String> = (0..100_001)
        .map(|i| entry(&format!("t{i}"), 0, 0))
        .collect();
    for (header, data, parts) in [
        (
            format!("{{{},{}}}", entry("a", 0, 4), entry("a", 4, 8)),
            8,
            &["the name `a` is there twice"][..],
        ),
        (
            format!("{{{},{}}}", entry("a", 0, 8), entry("b", 4, 12)),
            12,
            &["`b` overlaps a", "expected 8"],
        ),
        (
            format!("{{{},{}}}", entry("a", 0, 4), entry("b", 8, 12)),
            12,
            &["`b` leaves a hole after a"],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,4]}}"#.to_owned(),
            4,
            &["`a` of shape [3]", "bytes 0 to 4"],
        ),
        (
            r#"{"a":{"dtype":"Q4","shape":[3],"data_offsets":[0,4]}}"#.to_owned(),
            4,
            &["unknown number format \"Q4\""],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}"#
                .to_owned(),
            0,
            &["`a` of shape", "bytes 0 to 0"],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}}"#
                .to_owned(),
            0,
            &["`a` of shape", "bytes 0 to 0"],
        ),
        (
            format!("{{{}}}", many.join(",")),
            0,
            &["100001 tensors", "limit is 100000"],
        ),
    ] {
        std::fs::write(&file, raw(&header, &vec![0; data])).unwrap();
        assert_refused(folder.path(), parts);
    }
}

#[test]
fn missing_extra_and_reshaped_tensors_are_listed() {
    let folder = saved(Family::Qwen2, Kind::Float);
    let file = folder.path().join("model.safetensors");
    let mut tensors = Tensor::read_safetensors(&file).unwrap();
    tensors.retain(|(name, _)| name != "model.norm.weight");
    tensors.push((
        "model.extra".to_owned(),
        Tensor::zeros([3], (Kind::Float, Device::Cpu)),
    ));
    for (name, tensor) in &mut tensors {
        if name == "model.layers.1.mlp.up_proj.weight" {
            *tensor = tensor.tr();
        }
    }
    decoder::write_weights(&file, tensors, Kind::Float).unwrap();
    let message = refusal(folder.path());
    for line in [
        ["model.norm.weight", "[32]", "missing"],
        ["model.extra", "nothing", "[3]"],
        ["model.layers.1.mlp.up_proj.weight", "[48, 32]", "[32, 48]"],
    ] {
        let found = message
            .lines()
            .any(|text| line.iter().all(|part| text.contains(part)));
        assert!(found, "{line:?} is not in: {message}");
    }
}

#[test]
fn non_finite_weights_are_counted_and_refused_unless_allowed() {
    let folder = saved(Family::Llama, Kind::Float);
    let file = folder.path().join("model.safetensors");
    let tensors = Tensor::read_safetensors(&file).unwrap();
    for (name, tensor) in &tensors {
        if name == "model.layers.2.mlp.down_proj.weight" {
            let _ = tensor.get(0).narrow(0, 0, 2).fill_(f64::NAN);
            let _ = tensor.get(1).narrow(0, 0, 1).fill_(f64::NEG_INFINITY);
        }
    }
    decoder::write_weights(&file, tensors, Kind::Float).unwrap();
    assert_refused(
        folder.path(),
        &["3 of 1536", "model.layers.2.mlp.down_proj.weight", "NaN"],
    );
    let options = LoadOptions {
        non_finite: NonFinite::Allow,
        ..LoadOptions::default()
    };
    assert!(decoder::load(folder.path(), None, &options).is_ok());
}

#[test]
fn shards_must_be_present_inside_the_folder_and_hold_what_the_index_says() {
    let folder = saved(Family::Llama, Kind::Float);
    let single = folder.path().join("model.safetensors");
    let index = folder.path().join("model.safetensors.index.json");
    let mut tensors = Tensor::read_safetensors(&single).unwrap();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    std::fs::remove_file(&single).unwrap();
    assert_refused(folder.path(), &["neither model.safetensors nor"]);
    std::fs::write(folder.path().join("pytorch_model.bin"), "x").unwrap();
    assert_refused(folder.path(), &["pickled weights"]);

    let names: Vec<String> = tensors.iter().map(|(name, _)| name.clone()).collect();
    let second = tensors.split_off(tensors.len() / 2);
    let half = tensors.len();
    let map = |shard: &dyn Fn(usize) -> String| {
        let pairs: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(i, name)| format!(r#""{name}":"{}""#, shard(i)))
            .collect();
        format!(
            r#"{{"metadata":{{}},"weight_map":{{{}}}}}"#,
            pairs.join(",")
        )
    };
    let good = map(&|i| {
        if i < half {
            "a.safetensors".to_owned()
        } else {
            "b.safetensors".to_owned()
        }
    });
    decoder::write_weights(&folder.path().join("a.safetensors"), tensors, Kind::Float).unwrap();
    std::fs::write(&index, &good).unwrap();
    assert_refused(folder.path(), &["b.safetensors", "is missing"]);
    decoder::write_weights(&folder.path().join("b.safetensors"), second, Kind::Float).unwrap();
    assert!(decoder::load(folder.path(), None, &LoadOptions::default()).is_ok());

    for outside in [
        "../b.safetensors",
        "/b.safetensors",
        "..",
        "x/../b.safetensors",
        "",
    ] {
        std::fs::write(&index, map(&|_| outside.to_owned())).unwrap();
        assert_refused(folder.path(), &["outside the folder"]);
    }
    std::fs::write(&index, map(&|_| "a.safetensors".to_owned())).unwrap();
    assert_refused(folder.path(), &["should be in a.safetensors"]);
    std::fs::write(
        &index,
        r#"{"weight_map":{"x":"a.safetensors","x":"b.safetensors"}}"#,
    )
    .unwrap();
    assert_refused(folder.path(), &["the name x occurs twice"]);
    std::fs::write(&index, r#"{"weight_map":{}}"#).unwrap();
    assert_refused(folder.path(), &["lists no tensor"]);
    std::fs::copy(
        folder.path().join("a.safetensors"),
        folder.path().join("b.safetensors"),
    )
    .unwrap();
    let last = names[0].clone();
    std::fs::write(
        &index,
        format!(
            r#"{{"weight_map":{{"{}":"a.safetensors","{last}":"b.safetensors"}}}}"#,
            names[1]
        ),
    )
    .unwrap();
    assert_refused(folder.path(), &["occurs again"]);
}
