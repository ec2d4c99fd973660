use super::*;

fn folder(config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config).unwrap();
    dir
}

fn error(config: &str) -> String {
    ModelFolder::read("dream", folder(config).path())
        .unwrap_err()
        .to_string()
}

#[test]
fn the_families_configurations() {
    let dream = r#"{"model_type":"Dream","hidden_size":64,"num_hidden_layers":5,"vocab_size":512,"mask_token_id":468,"intermediate_size":176}"#;
    let m = ModelFolder::read("dream", folder(dream).path()).unwrap();
    assert_eq!(
        (m.n_layers, m.d_model, m.d_ff, m.vocab_size, m.is_diffusion),
        (5, 64, 176, 512, true)
    );
    let llada = r#"{"model_type":"llada","d_model":64,"n_layers":5,"vocab_size":500,"embedding_size":512,"mlp_hidden_size":200,"mask_token_id":468}"#;
    let m = ModelFolder::read("llada", folder(llada).path()).unwrap();
    assert_eq!((m.d_ff, m.vocab_size, m.is_diffusion), (200, 512, true));
    let gpt2 = r#"{"model_type":"gpt2","n_embd":64,"n_layer":3,"vocab_size":512,"n_inner":null}"#;
    let m = ModelFolder::read("gpt2", folder(gpt2).path()).unwrap();
    assert_eq!((m.d_ff, m.n_layers, m.is_diffusion), (256, 3, false));
}

#[test]
fn what_is_wrong_is_said() {
    assert!(error("{").contains("not valid JSON"));
    assert!(error("[]").contains("not a JSON object"));
    assert!(error("{}").contains("no `model_type`"));
    assert!(error(r#"{"model_type":"x","hidden_size":0}"#).contains("`hidden_size` or `d_model`"));
    assert!(error("version https://git-lfs.github.com/spec/v1\noid x").contains("Git LFS pointer"));
    assert!(error("<!DOCTYPE html><html>").contains("a web page"));
    let missing = ModelFolder::read("dream", Path::new("no/such")).unwrap_err();
    assert!(missing.to_string().contains("--model dream=DIR"));
}

#[test]
fn names_are_those_of_the_repository_and_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = dir.path().join("models--Qwen--Qwen2.5-7B/snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    let read = |name: &str| {
        let config = format!(
            r#"{{"model_type":"x","hidden_size":1,"num_hidden_layers":1,"vocab_size":1,"_name_or_path":"{name}"}}"#
        );
        fs::write(snapshot.join("config.json"), config).unwrap();
        ModelFolder::read("x", &snapshot).unwrap()
    };
    let model = read("Qwen/base");
    assert_eq!(model.own_name(), "Qwen/Qwen2.5-7B");
    assert_eq!(model.config_name().as_deref(), Some("Qwen/base"));
    assert_eq!(model.names(), ["abc", "Qwen/Qwen2.5-7B", "Qwen/base"]);
    for path in ["", "/data/models", "./here"] {
        assert_eq!(read(path).config_name(), None, "{path}");
    }
}

#[test]
fn the_hash_covers_weights_and_tokenizers_and_no_prose() {
    let dir = folder(r#"{"model_type":"x","hidden_size":1,"num_hidden_layers":1,"vocab_size":1}"#);
    let hash = || {
        let model = ModelFolder::read("x", dir.path()).unwrap();
        model.checkpoint_hash(&mut HashCache::in_memory()).unwrap()
    };
    let first = hash();
    fs::write(dir.path().join("README.md"), "words").unwrap();
    assert_eq!(hash(), first);
    fs::write(dir.path().join("merges.txt"), "a b").unwrap();
    let second = hash();
    assert_ne!(second, first);
    fs::write(dir.path().join("model.safetensors"), "1234").unwrap();
    assert_ne!(hash(), second);
    assert_eq!(ModelFolder::read("x", dir.path()).unwrap().weight_bytes, 4);
}
