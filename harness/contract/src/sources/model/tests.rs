use super::*;

fn folder(config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config).unwrap();
    dir
}

fn error(config: &str) -> String {
    Checkpoint::read("dream", folder(config).path())
        .unwrap_err()
        .to_string()
}

#[test]
fn what_is_wrong_is_said() {
    assert!(error("{").contains("not valid JSON"));
    assert!(error("[]").contains("not a JSON object"));
    assert!(error("{}").contains("no `model_type`"));
    assert!(error("version https://git-lfs.github.com/spec/v1\noid x").contains("Git LFS pointer"));
    assert!(error("<!DOCTYPE html><html>").contains("a web page"));
    let missing = Checkpoint::read("dream", Path::new("no/such")).unwrap_err();
    assert!(missing.to_string().contains("--model dream=DIR"));
}

#[test]
fn names_are_those_of_the_repository_and_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let snapshot = dir.path().join("models--Qwen--Qwen2.5-7B/snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    let read = |name: &str| {
        let config = format!(r#"{{"model_type":"x","_name_or_path":"{name}"}}"#);
        fs::write(snapshot.join("config.json"), config).unwrap();
        Checkpoint::read("x", &snapshot).unwrap()
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
    let dir = folder(r#"{"model_type":"x"}"#);
    let hash = || {
        let model = Checkpoint::read("x", dir.path()).unwrap();
        model.hash(&mut HashCache::in_memory()).unwrap()
    };
    let first = hash();
    fs::write(dir.path().join("README.md"), "words").unwrap();
    assert_eq!(hash(), first);
    fs::write(dir.path().join("merges.txt"), "a b").unwrap();
    let second = hash();
    assert_ne!(second, first);
    fs::write(dir.path().join("model.safetensors"), "1234").unwrap();
    assert_ne!(hash(), second);
    assert_eq!(Checkpoint::read("x", dir.path()).unwrap().weight_bytes, 4);
}
