//! Tokenizers, decoding and chat templates through the binaries. The tables of ids, texts and
//! renderings of transformers are checked beside the code (`harness/engine/src/text`); they are in
//! the folder `tokenizers` here, with the script that wrote them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Map, Value, json};

use crate::cells::records;
use crate::support::{copy_folder, harness, root, succeed, words};

/// A copy of an embedded model with some of its files written anew.
fn model(dir: &Path, name: &str, files: &[(&str, Value)]) -> PathBuf {
    let copy = dir.join(format!("copy-{name}"));
    let _ = fs::remove_dir_all(&copy);
    copy_folder(&root().join("benchmarks/zoo").join(name), &copy);
    for (file, content) in files {
        fs::write(copy.join(file), content.to_string()).unwrap();
    }
    copy
}

fn file(model: &str, name: &str) -> Value {
    let path = root().join("benchmarks/zoo").join(model).join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn with(mut value: Value, name: &str, content: Value) -> Value {
    value[name] = content;
    value
}

/// What a greedy continuation of six tokens gives as JSON, and standard error without its speed.
fn generate(model: &Path, prompt: &str, more: &[&str]) -> (Value, String) {
    let mut command = harness();
    command
        .args(words("generate --plugins plugins --threads 1 --json"))
        .args(words("--temperature 0 --max-new-tokens 6"))
        .arg(format!("--prompt={prompt}"))
        .arg("--model")
        .arg(model)
        .args(more);
    let ran = succeed(&mut command);
    let said = ran.stderr.lines().filter(|l| !l.ends_with(" tokens/s"));
    let said: Vec<&str> = said.collect();
    (serde_json::from_str(&ran.stdout).unwrap(), said.join("\n"))
}

#[test]
fn tokens_that_only_other_files_bring_are_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let config = file("gpt2", "tokenizer_config.json");
    let plain = model(dir.path(), "gpt2", &[]);
    let prompt = "the <mark> baker";
    let (before, _) = generate(&plain, prompt, &[]);
    let mut listed = config["added_tokens_decoder"].clone();
    listed["2037"] = json!({"content": "<mark>", "special": false, "normalized": false});
    let by_list = with(config.clone(), "added_tokens_decoder", listed);
    let by_name = with(config.clone(), "mark_token", json!("<mark>"));
    let by_more = with(config, "extra_special_tokens", json!(["<mark>"]));
    let n = |value: &Value| value["prompt_tokens"].as_u64().unwrap();
    for config in [by_list, by_name, by_more] {
        let marked = model(dir.path(), "gpt2", &[("tokenizer_config.json", config)]);
        let (after, said) = generate(&marked, prompt, &[]);
        assert!(n(&after) < n(&before), "{after} {before}\n{said}");
    }
}

#[test]
fn files_that_disagree_are_told_of_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = with(
        file("llama", "tokenizer_config.json"),
        "add_eos_token",
        json!(true),
    );
    let odd = model(dir.path(), "llama", &[("tokenizer_config.json", config)]);
    let (_, said) = generate(&odd, "the baker", &[]);
    assert_eq!(said.matches("add_eos_token").count(), 2, "{said}");
    assert_eq!(said.matches("add_eos_token true").count(), 1, "{said}");
    let (_, said) = generate(&model(dir.path(), "llama", &[]), "the baker", &[]);
    assert!(!said.contains("tokenizer"), "{said}");
}

/// The embedded llama's tokenizer in the form of SentencePiece: the same ids for words with a blank
/// in front, a blank put before the text, and a decoder that takes the first one off.
fn sentencepiece(dir: &Path) -> PathBuf {
    let mut tokenizer = file("llama", "tokenizer.json");
    let marked = |text: &str| text.replace('Ġ', "▁");
    let vocab: Map<String, Value> = (tokenizer["model"]["vocab"].as_object().unwrap().iter())
        .map(|(token, id)| (marked(token), id.clone()))
        .collect();
    let merges: Vec<Value> = (tokenizer["model"]["merges"].as_array().unwrap().iter())
        .map(|merge| match merge {
            Value::String(line) => marked(line).into(),
            pair => serde_json::from_str(&marked(&pair.to_string())).unwrap(),
        })
        .collect();
    tokenizer["model"]["vocab"] = vocab.into();
    tokenizer["model"]["merges"] = merges.into();
    tokenizer["pre_tokenizer"] = Value::Null;
    tokenizer["normalizer"] = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]});
    tokenizer["decoder"] = json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
    model(dir, "llama", &[("tokenizer.json", tokenizer)])
}

#[test]
fn continuations_keep_the_blank_in_front() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = root().join("benchmarks/zoo/llama");
    let (want, _) = generate(&bytes, " the baker", &[]);
    let (got, _) = generate(&sentencepiece(dir.path()), "the baker", &[]);
    assert_eq!(
        (&got["tokens"], &got["text"]),
        (&want["tokens"], &want["text"])
    );
    assert!(got["text"].as_str().unwrap().starts_with(' '), "{got}");
}

fn autointerp(out: &Path, model: &Path, data: &Path) -> Command {
    let mut command = harness();
    command
        .args(words("bench autointerp --plugins plugins --rows llama"))
        .args(words("--layers 2 --k 8 --latents 3 --threads 1"))
        .args(words("--budget-tokens 9000 --set label_field=none"))
        .arg("--model")
        .arg(format!("llama={}", model.display()))
        .arg("--data")
        .arg(data)
        .arg("--out")
        .arg(out);
    command
}

/// Texts of all windows of a run.
fn windows(out: &Path) -> Vec<String> {
    let text = |window: &Value| {
        let tokens = window["tokens"].as_array().unwrap();
        tokens.iter().filter_map(Value::as_str).collect::<String>()
    };
    let cells = records(out);
    let latents = cells
        .iter()
        .filter(|cell| cell["stage"] == "windows")
        .flat_map(|cell| cell["output"]["latents"].as_array().unwrap());
    latents
        .flat_map(|latent| latent["shown"].as_array().unwrap().iter().map(text))
        .collect()
}

#[test]
fn windows_keep_the_blanks_between_words() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.jsonl");
    let words = "the baker walks to the river and the miller sings of bread and rain ";
    let line = json!({"text": words.repeat(12).trim()});
    fs::write(&data, format!("{line}\n").repeat(90)).unwrap();
    let out = dir.path().join("out");
    succeed(&mut autointerp(&out, &sentencepiece(dir.path()), &data));
    let windows = windows(&out);
    assert!(!windows.is_empty());
    for window in windows {
        let n = window.trim().split(' ').count();
        assert!(n >= 8, "{n} words in {window:?}");
        assert!(words.repeat(3).contains(window.trim()), "{window:?}");
    }
}

#[test]
fn chat_templates_may_use_what_transformers_gives_them() {
    let dir = tempfile::tempdir().unwrap();
    let turn = "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}";
    let all = format!("{{% for m in messages %}}{turn}{{% endfor %}}");
    let config = file("qwen", "tokenizer_config.json");
    let tokens = |template: &str| {
        let config = with(config.clone(), "chat_template", json!(template));
        let model = model(dir.path(), "qwen", &[("tokenizer_config.json", config)]);
        let (ran, said) = generate(&model, "the baker", &["--chat"]);
        (ran["prompt_tokens"].clone(), ran["tokens"].clone(), said)
    };
    let want = tokens(&all);
    for template in [
        format!("{{% if tools is not none or documents is not none %}}tools{{% endif %}}{all}"),
        format!("{{% for m in messages %}}{{% generation %}}{turn}{{% endgeneration %}}{{% endfor %}}"),
        "{% for m in messages %}{{ '<|im_start|>%s\\n%s<|im_end|>\\n' % (m.role, m.content) }}{% endfor %}".to_owned(),
        format!("{{{{ {{'a': [1]}} | tojson(ensure_ascii=False) if false }}}}{all}"),
    ] {
        assert_eq!(tokens(&template), want, "{template}");
    }
    // The date is one for all runs, and that is said.
    let dated = tokens(&format!("{{{{ strftime_now('%d %b %Y') }}}}{all}"));
    let fixed = tokens(&format!("26 Jul 2024{all}"));
    assert_eq!((&dated.0, &dated.1), (&fixed.0, &fixed.1));
    assert!(dated.2.contains("26 Jul 2024 in every run"), "{}", dated.2);
}

#[test]
fn what_a_chat_template_asks_for_in_vain_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (template, named) in [
        ("{{ messages | xmlattr }}", "xmlattr"),
        ("{{ lipsum() }}", "lipsum"),
        ("{{ messages[0].content.encode() }}", "encode"),
        ("{% trans %}x{% endtrans %}", "trans"),
        ("{{ raise_exception('no system turn') }}", "no system turn"),
    ] {
        let config = with(
            file("qwen", "tokenizer_config.json"),
            "chat_template",
            json!(template),
        );
        let model = model(dir.path(), "qwen", &[("tokenizer_config.json", config)]);
        let mut command = harness();
        command
            .args(words(
                "generate --plugins plugins --prompt=hi --chat --model",
            ))
            .arg(&model);
        let ran = crate::support::run(&mut command);
        assert_eq!(ran.code, 20, "{template}: {}", ran.stderr);
        assert!(ran.stderr.contains(named), "{template}: {}", ran.stderr);
    }
}
