use super::*;
use std::fs;

/// A folder whose single file holds these F32 tensors of two numbers each.
fn folder(config: &str, tensors: &[(&str, [f32; 2])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config).unwrap();
    let entries: Vec<String> = (tensors.iter().enumerate())
        .map(|(i, (name, _))| {
            let (from, to) = (8 * i, 8 * i + 8);
            format!(r#""{name}":{{"dtype":"F32","shape":[2,1],"data_offsets":[{from},{to}]}}"#)
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(
        tensors
            .iter()
            .flat_map(|(_, pair)| pair.map(f32::to_le_bytes).concat()),
    );
    fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    dir
}

fn warning(config: &str, tensors: &[(&str, [f32; 2])]) -> Option<String> {
    let dir = folder(config, tensors);
    let weights = crate::read_weights(dir.path()).unwrap().unwrap();
    untied_head(dir.path(), &weights).unwrap()
}

#[test]
fn a_head_that_differs_from_the_embedding_it_is_tied_to_is_told() {
    let (one, other) = ([1.0, 2.0], [1.0, 3.0]);
    for (family, key, embedding, head) in [
        (
            "qwen2",
            "tie_word_embeddings",
            "model.embed_tokens.weight",
            "lm_head.weight",
        ),
        (
            "gpt2",
            "tie_word_embeddings",
            "wte.weight",
            "lm_head.weight",
        ),
        (
            "gpt2",
            "tie_word_embeddings",
            "transformer.wte.weight",
            "lm_head.weight",
        ),
        (
            "llada",
            "weight_tying",
            "model.transformer.wte.weight",
            "model.transformer.ff_out.weight",
        ),
    ] {
        let config = |tied: &str| format!(r#"{{"model_type": "{family}"{tied}}}"#);
        let set = |tied: bool| config(&format!(r#", "{key}": {tied}"#));
        let both = |second| [("x", one), (embedding, one), (head, second)];
        let said = warning(&set(true), &both(other)).unwrap();
        assert!(said.contains(head) && said.contains(key), "{said}");
        assert_eq!(warning(&set(true), &both(one)), None);
        assert_eq!(warning(&set(true), &both(one)[..2]), None);
        assert_eq!(warning(&set(false), &both(other)), None);
        let by_default = warning(&config(""), &both(other)).is_some();
        assert_eq!(by_default, TIED_BY_DEFAULT.contains(&family));
    }
}
