use super::*;
use tempfile::TempDir;

const MODEL: &str = r#"{"model_type": "x"}"#;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn said(files: &[(&str, &str)]) -> String {
    check_folder(folder(files).path()).unwrap_err().to_string()
}

fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

#[test]
fn checkpoints_pass_whatever_lies_beside_them() {
    for files in [
        &[("config.json", MODEL)][..],
        &[("config.json", MODEL), ("model.safetensors", "")],
        &[("config.json", MODEL), ("model.safetensors.index.json", "")],
        &[
            ("config.json", MODEL),
            ("model.safetensors", ""),
            ("pytorch_model.bin", ""),
            ("model-q4.gguf", ""),
            ("consolidated.safetensors", ""),
            ("checkpoint-10/adapter_config.json", "{}"),
        ],
        // Not read here: its reader says what is wrong.
        &[("config.json", "{")],
    ] {
        check_folder(folder(files).path()).unwrap();
    }
}

#[test]
fn adapters_are_named_alone_and_beside_a_model() {
    let about = r#"{"peft_type": "LORA", "base_model_name_or_path": "o/base", "x": NaN}"#;
    let alone = said(&[
        ("adapter_config.json", about),
        ("adapter_model.safetensors", ""),
    ]);
    has(
        &alone,
        &["LoRA", "for o/base", "no model", "merge_and_unload"],
    );
    has(
        &said(&[("config.json", MODEL), ("adapter_model.bin", "")]),
        &["no model"],
    );
    let beside = said(&[
        ("config.json", MODEL),
        ("model.safetensors", ""),
        ("adapter_config.json", r#"{"peft_type": "IA3"}"#),
    ]);
    has(
        &beside,
        &["IA3", "beside the model", "left out", "elsewhere"],
    );
}

#[test]
fn quantised_configurations_are_refused_by_the_file() {
    let config = r#"{"model_type": "x", "quantization_config": {"quant_method": "gptq"}}"#;
    has(
        &said(&[("config.json", config)]),
        &["config.json", "quantised", "gptq"],
    );
}

#[test]
fn other_formats_and_parts_of_downloads() {
    for (files, words) in [
        (
            &[("config.json", MODEL), ("pytorch_model.bin", "")][..],
            &["pytorch_model.bin", "pickled", "safetensors"][..],
        ),
        (
            &[("config.json", MODEL), ("a-q4.gguf", "")],
            &["GGUF", "a-q4.gguf"],
        ),
        (&[("a-q4.gguf", "")], &["GGUF", "config.json"]),
        (
            &[("consolidated.00.pth", ""), ("params.json", "{}")],
            &["original release", "consolidated.00.pth"],
        ),
        (
            &[
                ("config.json", MODEL),
                ("model-00001-of-00002.safetensors", ""),
            ],
            &["no model.safetensors.index.json"],
        ),
        (
            &[("config.json", MODEL), ("weights.safetensors", "")],
            &["weights.safetensors", "rename"],
        ),
        (
            &[
                ("config.json", MODEL),
                (".cache/huggingface/download/x.incomplete", ""),
            ],
            &["has not finished", "x.incomplete"],
        ),
        (
            &[("config.json", MODEL), ("model.safetensors.part", "")],
            &["has not finished"],
        ),
        (
            &[("model.safetensors", "")],
            &["no config.json", "model.safetensors"],
        ),
        (
            &[("notes.txt", "")],
            &["holds no config.json", "transformers saves it"],
        ),
        (
            &[("a/config.json", MODEL), ("b/config.json", MODEL)],
            &["a, b", "give one of them"],
        ),
        (&[("model_index.json", "{}")], &["diffusers"]),
    ] {
        has(&said(files), words);
    }
}

#[test]
fn entries_of_the_cache_lead_to_their_snapshot() {
    let file = ("snapshots/0123/config.json", MODEL);
    has(&said(&[file]), &["Hub's cache", "snapshots/0123"]);
    let second = ("snapshots/89ab/config.json", MODEL);
    has(
        &said(&[file, second, ("refs/main", "89ab\n")]),
        &["its snapshot", "snapshots/89ab"],
    );
    has(
        &said(&[file, second]),
        &["one of its snapshots", "0123, 89ab"],
    );
    has(
        &said(&[file, second, ("refs/main", "../..")]),
        &["0123, 89ab"],
    );
    has(
        &said(&[("models--o--n/snapshots/0123/config.json", MODEL)]),
        &["cache of downloads", "models--o--n"],
    );
}

#[cfg(unix)]
#[test]
fn links_to_nothing_are_named_with_their_target() {
    for name in ["model.safetensors", "config.json", "merges.txt"] {
        let dir = folder(&[("config.json", MODEL)]);
        let _ = fs::remove_file(dir.path().join(name));
        std::os::unix::fs::symlink("../../blobs/0a1b", dir.path().join(name)).unwrap();
        let error = check_folder(dir.path()).unwrap_err().to_string();
        has(
            &error,
            &[name, "a link to ../../blobs/0a1b", "leads nowhere"],
        );
    }
    let dir = folder(&[("config.json", MODEL)]);
    std::os::unix::fs::symlink("gone", dir.path().join("README.md")).unwrap();
    check_folder(dir.path()).unwrap();
}

#[test]
fn folders_that_are_not_of_models_are_left_to_others() {
    for files in [
        &[("notes.txt", "")][..],
        &[("resid_post_layer_1/trainer_0/cfg.json", "{}")],
        &[("config.json", MODEL)],
    ] {
        assert_eq!(model_like(folder(files).path()).unwrap(), None);
    }
    assert!(
        model_like(folder(&[("a.gguf", "")]).path())
            .unwrap()
            .is_some()
    );
}
