use serde_json::json;

use super::*;

fn folder(name: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, std::path::PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join(name);
    fs::create_dir_all(&dir).unwrap();
    for (file, text) in files {
        fs::write(dir.join(file), text).unwrap();
    }
    (root, dir)
}

fn is_sae_of(name: &str, files: &[(&str, &str)]) -> bool {
    let (_root, dir) = folder(name, files);
    !matches!(inspect(&dir), Ok(None | Some(SaeFolder::Missing(_))))
}

#[test]
fn an_sae_is_told_by_its_weights_or_by_a_configuration() {
    assert!(is_sae_of("a", &[("autoencoder.pt", "")]));
    assert!(is_sae_of("a", &[("ae.pt", "")]));
    assert!(is_sae_of("a", &[("cfg.json", "{}")]));
    assert!(is_sae_of("a", &[("config.json", r#"{"trainer": {}}"#)]));
    assert!(is_sae_of("layers.1", &[("config.json", "{")]));
    assert!(!is_sae_of("a", &[("config.json", "{")]));
    let model = r#"{"model_type": "gpt2"}"#;
    assert!(!is_sae_of("a", &[("config.json", model)]));
    let training = r#"{"sae": {"k": 32}, "layers": [1]}"#;
    assert!(!is_sae_of("a", &[("config.json", training)]));
    let (_root, empty) = folder("layers.4", &[("readme.txt", "x")]);
    let found = inspect(&empty).unwrap();
    assert!(matches!(found, Some(SaeFolder::Missing(_))), "{found:?}");
}

#[test]
fn the_folder_that_names_the_layer_may_lie_above() {
    let config = json!({"d_in": 4, "d_sae": 8, "k": 2}).to_string();
    for (name, above) in [
        ("layers.1", Some(0)),
        ("resid_post_layer_1/trainer_0", Some(1)),
        ("h.1/16x/trainer_0", Some(2)),
    ] {
        let (_root, dir) = folder(name, &[("cfg.json", &config)]);
        let Ok(Some(SaeFolder::Sae(facts))) = inspect(&dir) else {
            panic!("{name} is no SAE")
        };
        assert_eq!((facts.layer, facts.layer_folder), (1, above), "{name}");
    }
}
