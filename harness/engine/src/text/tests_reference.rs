//! Tokenizers of every kind against what transformers makes of the same folders. The folders and
//! the recorded values are in tests/it/real_inputs/tokenizers; make.py beside them wrote them.

use std::path::Path;

use serde_json::{Value, json};

use super::tests::ids;
use super::*;

const TOKENIZERS: &str =
    include_str!("../../../../tests/it/real_inputs/tokenizers/tokenizers.json");

/// Writes the files of a recorded folder to `dir`.
fn write(dir: &Path, all: &Value, folder: &Value) {
    let put = |name: &str, text: String| std::fs::write(dir.join(name), text).unwrap();
    let config = json!({"model_type": folder["model_type"], "vocab_size": 1000});
    put("config.json", config.to_string());
    let base = &all["tokenizers"][folder["base"].as_str().unwrap()];
    if folder["parts"] == true {
        put("vocab.json", base["model"]["vocab"].to_string());
        let merges = base["model"]["merges"].as_array().unwrap();
        let line = |merge: &Value| {
            let pair: Vec<&str> = merge
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            pair.join(" ")
        };
        let lines: Vec<String> = merges.iter().map(line).collect();
        put(
            "merges.txt",
            format!("#version: 0.2\n{}\n", lines.join("\n")),
        );
    } else {
        put("tokenizer.json", base.to_string());
    }
    for (name, content) in folder["files"].as_object().unwrap() {
        put(name, content.to_string());
    }
}

#[test]
fn every_kind_of_folder_is_read_as_transformers_reads_it() {
    let all: Value = serde_json::from_str(TOKENIZERS).unwrap();
    let mut failures = Vec::new();
    let mut n_pieces = 0;
    for folder in all["folders"].as_array().unwrap() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &all, folder);
        let name = folder["name"].as_str().unwrap();
        let codec = match TextCodec::load(dir.path()) {
            Ok(codec) => codec,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let mut check = |what: &str, text: &Value, got: Value, want: &Value| {
            if got != *want {
                failures.push(format!(
                    "{name}: {what} of {text}\n  got  {got}\n  want {want}"
                ));
            }
        };
        check(
            "size",
            &Value::Null,
            json!(codec.vocab_len()),
            &folder["vocab_len"],
        );
        let special = codec.special();
        let names = json!({"bos_token_id": special.bos, "eos_token_id": special.eos, "pad_token_id": special.pad});
        check("named tokens", &Value::Null, names, &folder["names"]);
        for case in folder["cases"].as_array().unwrap() {
            let (text, plain) = (&case["text"], case.get("plain").unwrap_or(&case["ids"]));
            let input = text.as_str().unwrap();
            check(
                "ids",
                text,
                json!(codec.encode(input, true).unwrap()),
                &case["ids"],
            );
            check(
                "ids without special",
                text,
                json!(codec.encode(input, false).unwrap()),
                plain,
            );
            let all = ids(&case["ids"]);
            check(
                "text",
                text,
                json!(codec.decode(&all, false).unwrap()),
                &case["decoded"],
            );
            let visible = case.get("visible").unwrap_or(&case["decoded"]);
            check(
                "visible text",
                text,
                json!(codec.decode(&all, true).unwrap()),
                visible,
            );
            if let Some(rest) = case.get("rest") {
                let (start, end) = all.split_at(all.len() / 2);
                check(
                    "rest",
                    text,
                    json!(codec.continuation(start, end, true).unwrap()),
                    rest,
                );
            }
            if case["pieces"].is_array() {
                n_pieces += 1;
                let pieces = codec.pieces(&all, 0..all.len()).unwrap();
                check("pieces", text, json!(pieces), &case["pieces"]);
                // A window in the row shows what the row shows there.
                for start in 0..all.len().min(12) {
                    let end = (start + 5).min(all.len());
                    let window = codec.pieces(&all, start..end).unwrap();
                    let whole = pieces[start..end].concat();
                    let window = window.concat();
                    assert!(
                        window.starts_with(&whole),
                        "{name}: {text}: {window:?} {whole:?}"
                    );
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(n_pieces > 500, "{n_pieces}");
}

fn notes_of(name: &str) -> Vec<String> {
    let all: Value = serde_json::from_str(TOKENIZERS).unwrap();
    let folders = all["folders"].as_array().unwrap();
    let folder = folders
        .iter()
        .find(|folder| folder["name"] == name)
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &all, folder);
    TextCodec::load(dir.path()).unwrap().notes().collect()
}

#[test]
fn files_that_contradict_each_other_are_told_of() {
    for (folder, words) in [
        (
            "llama2-class-add-eos",
            "add_eos_token true, but tokenizer.json puts none there",
        ),
        (
            "llama3-as-llama-class",
            "add_bos_token false, but tokenizer.json puts one there",
        ),
        (
            "gpt2-prefix-generic",
            "add_prefix_space true, tokenizer.json false",
        ),
        (
            "gpt2-class-of-llama",
            "rules of GPT2Tokenizer, whatever tokenizer.json says",
        ),
        (
            "qwen2-generic-config",
            "the file differs in: normalizer, pre_tokenizer",
        ),
        ("llama2-class", "where a blank is put in front"),
        ("listed-elsewhere", "2 added tokens have another id"),
        ("listed-for-class", "6 added tokens have another id"),
        ("lost", "1 added tokens of tokenizer.json, such as \"<x>\""),
        ("other-flags", "different flags"),
    ] {
        let notes = notes_of(folder);
        let n = notes.iter().filter(|note| note.contains(words)).count();
        assert_eq!(n, 1, "{folder}: {words}: {notes:#?}");
    }
    for folder in [
        "gpt2",
        "qwen2",
        "llama3",
        "llama2-normalizer",
        "unigram",
        "wordpiece",
        "listed",
        "named",
        "map",
    ] {
        assert_eq!(notes_of(folder), Vec::<String>::new(), "{folder}");
    }
}
