//! Checkpoints: folders, configurations and weights as people have them, on copies of embedded
//! models. That the numbers are those of transformers is checked in `plugins/shared/decoder/tests`.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    bad_inputs::support::{
        MODEL_WEIGHTS, assemble, edit, generate, inspect, model, parts, refused, says, span,
    },
    support::{harness, run, succeed, words},
};

/// What a model writes, at temperature 0.
fn written(model: &Path) -> String {
    succeed(generate(model).args(["--temperature", "0"])).stdout
}

/// A bench of the embedded set `qwen` on a model of one's own, which is not run.
fn dry_run(model: &Path) -> Command {
    let mut command = harness();
    command
        .args(words("bench fidelity --plugins plugins --dry-run"))
        .args(words("--rows qwen --layers 1 --k 8 --model"))
        .arg(format!("qwen={}", model.display()));
    command
}

/// The same bench, run.
fn bench(model: &Path, dir: &Path) -> Command {
    let mut command = harness();
    command
        .args(words("bench fidelity --plugins plugins --threads 1"))
        .args(words("--rows qwen --layers 1 --k 8 --model"))
        .arg(format!("qwen={}", model.display()))
        .arg("--data")
        .arg(text(dir))
        .args(words("--budget-tokens 500 --set shard_tokens=500 --out"))
        .arg(dir.join("out"));
    command
}

fn train(model: &Path, dir: &Path) -> Command {
    let mut command = harness();
    command
        .args(words("train --plugins plugins --policies clean"))
        .args(words("--layers 1 --k 4 --d-sae 32 --tokens 4096"))
        .arg("--model")
        .arg(model)
        .arg("--data")
        .arg(text(dir))
        .arg("--out")
        .arg(dir.join("trained"));
    command
}

/// A text of some hundred tokens.
fn text(dir: &Path) -> PathBuf {
    let path = dir.join("text.jsonl");
    let line =
        json!({"text": "The baker said that the bread was warm and the shop was open. ".repeat(9)});
    fs::write(&path, format!("{line}\n").repeat(20)).unwrap();
    path
}

/// Every command that takes a model refuses it with 20 and all these words.
fn refused_everywhere(model: &Path, dir: &Path, words: &[&str]) {
    for mut command in [
        inspect(model),
        generate(model),
        dry_run(model),
        bench(model, dir),
        train(model, dir),
    ] {
        says(&refused(&mut command), words);
    }
}

/// Rewrites a weight file with some of its tensors, under other names.
fn rename(path: &Path, name: impl Fn(&str) -> Option<String>) {
    let (header, data) = parts(path);
    let (mut kept, mut bytes) = (json!({}), Vec::new());
    for tensor in header.as_object().unwrap().keys() {
        let Some(new) = name(tensor).filter(|_| tensor != "__metadata__") else {
            continue;
        };
        let at = bytes.len();
        bytes.extend_from_slice(&data[span(&header, tensor)]);
        kept[&new] = header[tensor].clone();
        kept[&new]["data_offsets"] = json!([at, bytes.len()]);
    }
    assemble(path, &kept.to_string(), &bytes);
}

/// Adds a copy of a tensor under another name.
fn duplicate(path: &Path, tensor: &str, name: &str) {
    let (mut header, mut data) = parts(path);
    let copy = data[span(&header, tensor)].to_vec();
    let at = data.len();
    data.extend(copy);
    header[name] = header[tensor].clone();
    header[name]["data_offsets"] = json!([at, data.len()]);
    assemble(path, &header.to_string(), &data);
}

/// A head that differs from the embedding it is tied to is used, and every command says so; one
/// that is equal is nothing to speak of.
#[test]
fn a_tied_head_that_differs_is_used_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path(), "qwen");
    let untied = written(&model);
    edit(&model.join("config.json"), |config| {
        config["tie_word_embeddings"] = json!(true)
    });
    assert_eq!(written(&model), untied);
    let words = [
        "tie_word_embeddings",
        "another head",
        "lm_head.weight",
        "stored one is used",
    ];
    for mut command in [generate(&model), dry_run(&model), bench(&model, dir.path())] {
        says(&succeed(&mut command).stderr, &words);
    }
    says(&succeed(&mut inspect(&model)).stdout, &words[..3]);
    let weights = model.join(MODEL_WEIGHTS);
    rename(&weights, |name| {
        (name != "lm_head.weight").then(|| name.to_owned())
    });
    let tied = written(&model);
    duplicate(&weights, "model.embed_tokens.weight", "lm_head.weight");
    let ran = succeed(generate(&model).args(["--temperature", "0"]));
    assert_eq!(ran.stdout, tied);
    assert!(!ran.stderr.contains("head"), "{}", ran.stderr);
}

/// An index that lists a head that a tied model does not store, and that Python wrote.
#[test]
fn an_index_may_list_a_tied_head() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path(), "llama");
    edit(&model.join("config.json"), |config| {
        config["tie_word_embeddings"] = json!(true)
    });
    let whole = model.join(MODEL_WEIGHTS);
    rename(&whole, |name| {
        (name != "lm_head.weight").then(|| name.to_owned())
    });
    let tied = written(&model);
    let shard = "model-00001-of-00001.safetensors";
    fs::rename(&whole, model.join(shard)).unwrap();
    let (header, _) = parts(&model.join(shard));
    let mut map = json!({"lm_head.weight": shard});
    for name in header.as_object().unwrap().keys() {
        map[name] = json!(shard);
    }
    let index = format!(r#"{{"metadata": {{"total_size": NaN}}, "weight_map": {map}}}"#);
    fs::write(model.join("model.safetensors.index.json"), index).unwrap();
    assert_eq!(written(&model), tied);
    // A tensor that is needed is still missed.
    rename(&model.join(shard), |name| {
        (name != "model.norm.weight").then(|| name.to_owned())
    });
    says(
        &refused(&mut generate(&model)),
        &["model.norm.weight should be in", "does not hold it"],
    );
}

/// Ids beyond the vocabulary in either file, alone or in a list.
#[test]
fn special_ids_that_no_row_has_are_no_reason_to_refuse() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["gpt2", "qwen", "dream"] {
        let model = model(dir.path(), name);
        let sound = written(&model);
        edit(&model.join("config.json"), |config| {
            config["eos_token_id"] = json!(2048);
            config["bos_token_id"] = json!(2048);
            config["pad_token_id"] = json!(100_000);
        });
        let generation = json!({"eos_token_id": [2048, 2036], "pad_token_id": 2049});
        fs::write(model.join("generation_config.json"), generation.to_string()).unwrap();
        assert_eq!(written(&model), sound, "{name}");
    }
    // A diffusion model cannot go without its mask.
    let model = model(dir.path(), "dream");
    edit(&model.join("config.json"), |config| {
        config["mask_token_id"] = json!(2048)
    });
    says(
        &refused(&mut generate(&model)),
        &["mask_token_id 2048", "vocabulary of 2048"],
    );
}

/// Settings in any of the places and under any of the names that transformers reads them.
#[test]
fn one_configuration_written_in_several_ways() {
    let dir = tempfile::tempdir().unwrap();
    let with = |name: &str, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let model = model(dir.path(), name);
        edit(&model.join("config.json"), |config| {
            change(config.as_object_mut().unwrap())
        });
        written(&model)
    };
    let sound = with("qwen", &|_| {});
    for keys in [
        &[
            "rms_norm_eps",
            "hidden_act",
            "tie_word_embeddings",
            "rope_scaling",
            "use_sliding_window",
        ][..],
        &[
            "max_window_layers",
            "sliding_window",
            "max_position_embeddings",
            "eos_token_id",
        ],
    ] {
        let said = with("qwen", &|config| {
            keys.iter().for_each(|key| drop(config.remove(*key)))
        });
        assert_eq!(said, sound, "without {keys:?}");
    }
    let moved = with("qwen", &|config| {
        let theta = config.remove("rope_theta").unwrap();
        config.remove("rope_scaling");
        config.insert(
            "rope_parameters".into(),
            json!({"type": "default", "rope_theta": theta}),
        );
    });
    assert_eq!(moved, sound);
    let beside = with("qwen", &|config| {
        config.insert("rope_parameters".into(), json!({"rope_type": "default"}));
        config.insert("layer_types".into(), json!(vec!["full_attention"; 8]));
        config.insert("use_sliding_window".into(), json!(true));
    });
    assert_eq!(beside, sound);
    let gpt2 = with("gpt2", &|_| {});
    for name in ["gelu_pytorch_tanh", "gelu_fast", "gelu_accurate"] {
        let said = with("gpt2", &|config| {
            drop(config.insert("activation_function".into(), json!(name)))
        });
        assert_eq!(said, gpt2, "{name}");
    }
    for key in [
        "activation_function",
        "layer_norm_epsilon",
        "n_inner",
        "n_head",
        "vocab_size",
    ] {
        // The embedded model has other sizes than the class: those are missed, by name of a tensor.
        let model = model(dir.path(), "gpt2");
        edit(&model.join("config.json"), |config| {
            config.as_object_mut().unwrap().remove(key);
        });
        let ran = run(generate(&model).args(["--temperature", "0"]));
        match key {
            "vocab_size" => says(&ran.stderr, &["wte.weight", "[50257, ", "[2048, "]),
            "n_inner" => says(&ran.stderr, &["mlp.c_fc", "[128, 512]", "[128, 256]"]),
            "n_head" => says(&ran.stderr, &["12 heads"]),
            _ => assert_eq!(ran.stdout, gpt2, "{key}"),
        }
    }
}

/// Fields that nobody reads may be what JSON does not have.
#[test]
fn python_s_numbers_in_any_json_of_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path(), "qwen");
    let sound = written(&model);
    for file in [
        "config.json",
        "generation_config.json",
        "tokenizer_config.json",
    ] {
        let path = model.join(file);
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replacen('{', r#"{"x": NaN, "y": [-Infinity, Infinity],"#, 1);
        fs::write(&path, text).unwrap();
    }
    assert_eq!(written(&model), sound);
    succeed(&mut inspect(&model));
    succeed(&mut dry_run(&model));
    let text = fs::read_to_string(model.join("config.json")).unwrap();
    let text = text.replace("\"rms_norm_eps\": 1e-6", "\"rms_norm_eps\": NaN");
    fs::write(model.join("config.json"), text).unwrap();
    says(
        &refused(&mut generate(&model)),
        &["rms_norm_eps is \"NaN\"", "a number"],
    );
}

/// What is not implemented is named where it would change a number.
#[test]
fn scalings_and_windows_that_are_not_implemented() {
    let dir = tempfile::tempdir().unwrap();
    let said = |key: &str, value: Value| {
        let model = model(dir.path(), "qwen");
        edit(&model.join("config.json"), |config| config[key] = value);
        refused(&mut generate(&model))
    };
    let longrope = json!({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0]});
    says(
        &said("rope_scaling", longrope),
        &["longrope", "not implemented", "yarn"],
    );
    let model = model(dir.path(), "qwen");
    edit(&model.join("config.json"), |config| {
        config["use_sliding_window"] = json!(true);
        config["sliding_window"] = json!(100);
        config["max_window_layers"] = json!(5);
    });
    says(
        &refused(&mut generate(&model)),
        &["from layer 5 on", "100 tokens"],
    );
    for scaling in [
        json!({"type": "linear", "factor": 2.0}),
        json!({"rope_type": "dynamic", "factor": 2.0}),
        json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}),
    ] {
        let model = self::model(dir.path(), "llama");
        edit(&model.join("config.json"), |config| {
            config["rope_scaling"] = scaling
        });
        written(&model);
    }
}

/// Folders that are no checkpoint of their own, by what they are, from every command.
#[test]
fn folders_are_told_by_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = || model(dir.path(), "qwen");
    let write = |folder: &Path, name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let check = |folder: &Path, words: &[&str]| refused_everywhere(folder, dir.path(), words);

    let model = fresh();
    edit(&model.join("config.json"), |config| {
        config["quantization_config"] = json!({"quant_method": "awq", "bits": 4});
    });
    check(
        &model,
        &[
            "config.json",
            "quantised",
            "awq, 4 bits",
            "f32, f16 and bf16",
        ],
    );
    let model = fresh();
    rename(&model.join(MODEL_WEIGHTS), |name| {
        Some(name.replace(
            "layers.0.mlp.up_proj.weight",
            "layers.0.mlp.up_proj.qweight",
        ))
    });
    check(
        &model,
        &["model.safetensors", "quantised", "up_proj.qweight"],
    );

    let model = fresh();
    let adapter = json!({"peft_type": "LORA", "base_model_name_or_path": "some/base"});
    write(&model, "adapter_config.json", &adapter.to_string());
    check(
        &model,
        &["adapter (LoRA", "beside the model", "merge_and_unload"],
    );
    fs::remove_file(model.join("config.json")).unwrap();
    fs::remove_file(model.join(MODEL_WEIGHTS)).unwrap();
    write(&model, "adapter_model.safetensors", "");
    check(&model, &["adapter (LoRA", "for some/base", "no model"]);

    let model = fresh();
    fs::remove_file(model.join(MODEL_WEIGHTS)).unwrap();
    symlink("../../blobs/77aa", model.join(MODEL_WEIGHTS)).unwrap();
    check(
        &model,
        &[
            "model.safetensors",
            "a link to ../../blobs/77aa",
            "leads nowhere",
        ],
    );
    fs::remove_file(model.join(MODEL_WEIGHTS)).unwrap();
    write(&model, "pytorch_model.bin", "");
    check(&model, &["pytorch_model.bin", "pickled", "convert"]);
    fs::remove_file(model.join("pytorch_model.bin")).unwrap();
    write(&model, "qwen-q4_k_m.gguf", "GGUF");
    check(&model, &["GGUF", "qwen-q4_k_m.gguf"]);
    fs::remove_file(model.join("qwen-q4_k_m.gguf")).unwrap();
    write(&model, "model.safetensors.incomplete", "");
    check(
        &model,
        &["has not finished", "model.safetensors.incomplete"],
    );

    let cache = dir.path().join("hub/models--some--tiny");
    let snapshot = cache.join("snapshots/0123abcd");
    fs::create_dir_all(cache.join("refs")).unwrap();
    fs::create_dir_all(cache.join("snapshots")).unwrap();
    fs::rename(fresh(), &snapshot).unwrap();
    write(&cache, "refs/main", "0123abcd");
    check(&cache, &["Hub's cache", "snapshots/0123abcd"]);
    check(
        &dir.path().join("hub"),
        &["cache of downloads", "models--some--tiny"],
    );
    written(&snapshot);
}

/// Paths that are no folder at all.
#[test]
fn paths_that_are_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let check = |path: &Path, words: &[&str]| refused_everywhere(path, dir.path(), words);
    check(
        Path::new("Some-Org/Some-Model-7B"),
        &[
            "no such folder",
            "Hugging Face Hub",
            "hf download Some-Org/Some-Model-7B",
        ],
    );
    let model = model(dir.path(), "qwen");
    let file = model.join(MODEL_WEIGHTS);
    check(
        &file,
        &["is a file, not a folder", "give the folder that it is in"],
    );
    let link = dir.path().join("link");
    symlink(dir.path().join("gone"), &link).unwrap();
    check(&link, &["a link to", "leads nowhere"]);
}

/// Shells expand `~` at the beginning of a word alone.
#[test]
fn the_home_folder_after_an_equals_sign() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path(), "qwen");
    let name = model.file_name().unwrap().to_str().unwrap();
    let home = |command: &mut Command| succeed(command.env("HOME", dir.path()));
    let mut listed = harness();
    listed.args(["list", "models", "--model", &format!("qwen=~/{name}")]);
    says(&home(&mut listed).stdout, &[name]);
    home(&mut dry_run(&PathBuf::from(format!("~/{name}"))));
    let mut generate = harness();
    generate
        .args(["generate", "--plugins", "plugins", "--prompt", "the baker"])
        .args(words("--max-new-tokens 2 --threads 1"))
        .arg(format!("--model=~/{name}"));
    home(&mut generate);
}
