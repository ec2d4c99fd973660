//! Tokenizers and templates against the reference's recorded cases, and against damaged files.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

pub(super) fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .map(|list| {
            list.iter()
                .filter_map(|id| id.as_u64().map(|id| id as u32))
                .collect()
        })
        .unwrap_or_default()
}

#[test]
fn every_recorded_tokenizer_case_holds() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity");
    let larger = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden");
    for family in ["dream", "llada", "qwen2", "llama"] {
        let cases =
            std::fs::read_to_string(golden.join(family).join("golden/tokenizer_cases.json"))
                .unwrap();
        let cases: Value = serde_json::from_str(&cases).unwrap();
        let folders = [
            golden.join(family).join("checkpoint"),
            larger.join(family).join("checkpoint-sharded"),
        ];
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            let codec = TextCodec::load(folder).unwrap();
            let folder = folder.display();
            assert_eq!(
                codec.vocab_len() as u64,
                cases["vocab_len"].as_u64().unwrap()
            );
            for case in cases["encode"].as_array().unwrap() {
                let text = case["text"].as_str().unwrap();
                let all = ids(&case["ids"]);
                assert_eq!(codec.encode(text, true).unwrap(), all, "{folder}: {text:?}");
                assert_eq!(
                    codec.encode(text, false).unwrap(),
                    ids(&case["ids_no_special"])
                );
                assert_eq!(
                    codec.decode(&all, false).unwrap(),
                    case["decoded"].as_str().unwrap()
                );
                assert_eq!(
                    codec.decode(&all, true).unwrap(),
                    case["decoded_skip_special"].as_str().unwrap()
                );
            }
            for case in cases["chat"].as_array().unwrap() {
                let messages: Vec<ChatMessage> =
                    serde_json::from_value(case["messages"].clone()).unwrap();
                let text = codec
                    .render_chat(&messages, case["add_generation_prompt"].as_bool().unwrap())
                    .unwrap();
                assert_eq!(text, case["text"].as_str().unwrap(), "{folder}");
                assert_eq!(codec.encode(&text, false).unwrap(), ids(&case["ids"]));
            }
        }
    }
}

/// A byte-level tokenizer of a few tokens, with `edit` applied, in a folder with a model of 300
/// rows and mask id 4.
fn folder_with(edit: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 4, "content": "<|mask|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+"}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": ["a b"]}
    });
    edit(&mut tokenizer);
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(
        dir.path().join("config.json"),
        r#"{"vocab_size": 300, "mask_token_id": 4}"#,
    )
    .unwrap();
    dir
}

fn refusal(edit: impl FnOnce(&mut Value)) -> String {
    TextCodec::load(folder_with(edit).path())
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[test]
fn the_small_tokenizer_itself_loads() {
    let codec = TextCodec::load(folder_with(|_| {}).path()).unwrap();
    assert_eq!(codec.encode("ab a<|mask|>", true).unwrap(), [2, 3, 0, 4]);
    assert_eq!(codec.special().mask, Some(4));
}

#[test]
fn damaged_descriptions_are_refused_with_the_entry_named() {
    type Edit = Box<dyn FnOnce(&mut Value)>;
    let cases: [(&str, Edit); 8] = [
        (
            "added token \"<|mask|>\" has id 9",
            Box::new(|t| t["added_tokens"][0]["id"] = json!(9)),
        ),
        ("version \"9.0\"", Box::new(|t| t["version"] = json!("9.0"))),
        (
            "id 5000000000 is not below the limit 300",
            Box::new(|t| t["model"]["vocab"]["z"] = json!(5_000_000_000u64)),
        ),
        (
            "does not compile",
            Box::new(|t| {
                t["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("(unclosed")
            }),
        ),
        (
            "repeats a repetition",
            Box::new(|t| {
                t["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("(a+)+$")
            }),
        ),
        (
            "not in the vocabulary",
            Box::new(|t| t["model"]["merges"][0] = json!("a c")),
        ),
        (
            "model type \"Trie\"",
            Box::new(|t| t["model"]["type"] = json!("Trie")),
        ),
        (
            "no token with that id",
            Box::new(|t| t["added_tokens"] = json!([])),
        ),
    ];
    for (expected, edit) in cases {
        let message = refusal(edit);
        assert!(
            message.contains(expected),
            "expected {expected:?} in {message:?}"
        );
    }
}

#[test]
fn padding_of_two_to_the_33_is_dropped() {
    let dir = folder_with(|t| {
        t["padding"] = json!({"strategy": {"Fixed": 8_589_934_592u64}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "a"});
        t["truncation"] =
            json!({"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"});
    });
    assert_eq!(
        TextCodec::load(dir.path())
            .unwrap()
            .encode("ab ab", false)
            .unwrap(),
        [2, 3, 2]
    );
}

#[test]
fn broken_json_a_web_page_and_an_lfs_pointer_are_told_apart() {
    for (content, expected) in [
        ("{\"version\":", "not JSON"),
        ("<!DOCTYPE html>", "a web page"),
        ("version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ] {
        let dir = folder_with(|_| {});
        std::fs::write(dir.path().join("tokenizer.json"), content).unwrap();
        let message = TextCodec::load(dir.path())
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(message.contains(expected), "{message}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        TextCodec::load(empty.path()),
        Err(TextError::NoTokenizer(_))
    ));
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let codec = TextCodec::load(folder_with(|_| {}).path()).unwrap();
    let of = |vocab_size, mask_token_id| {
        codec.check_model(&ExpectedIds {
            vocab_size,
            mask_token_id,
            family: "llada".into(),
        })
    };
    assert!(of(300, Some(4)).is_ok());
    assert!(
        of(3, None)
            .unwrap_err()
            .to_string()
            .contains("largest id is 3")
    );
    assert!(
        of(300, Some(7))
            .unwrap_err()
            .to_string()
            .contains("mask id expected 7 for llada")
    );
    assert!(
        of(300, Some(1))
            .unwrap_err()
            .to_string()
            .contains("ordinary token \"b\"")
    );
}

#[test]
fn a_template_that_does_not_parse_hinders_conversations_alone() {
    let dir = folder_with(|_| {});
    let config = |template: Value| {
        let config = json!({ "chat_template": template }).to_string();
        std::fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
    };
    for (template, words) in [
        (json!("{{ a }}\n{% for %}"), "line 2"),
        (
            json!([{"name": "tool_use", "template": "x"}]),
            "it names [\"tool_use\"]",
        ),
        (json!(3), "neither a string nor a list"),
        (Value::Null, "the folder has none"),
    ] {
        config(template);
        let codec = TextCodec::load(dir.path()).unwrap();
        assert_eq!(codec.encode("ab a", false).unwrap(), [2, 3, 0]);
        let error = codec.render_chat(&[ChatMessage::user("a")], true);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("chat template: ") && error.contains(words),
            "{error}"
        );
    }
}

#[test]
fn a_list_of_added_tokens_contradicts_nobody() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("vocab.json", r#"{"a": 0, "b": 1, "ab": 2, "\u0120": 3}"#),
        ("merges.txt", "a b\n"),
        ("added_tokens.json", r#"{"<x>": 4, "<e>": 5}"#),
        ("config.json", r#"{"vocab_size": 300}"#),
        (
            "tokenizer_config.json",
            r#"{"tokenizer_class": "GPT2Tokenizer", "bos_token": "<e>", "eos_token": "<e>", "unk_token": "<e>"}"#,
        ),
    ] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let codec = TextCodec::load(dir.path()).unwrap();
    assert_eq!(codec.encode("ab<x>a<e>", false).unwrap(), [2, 4, 0, 5]);
    assert_eq!(codec.notes().collect::<Vec<_>>(), Vec::<String>::new());
}
