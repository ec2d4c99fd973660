//! Templates by themselves, and the table of the reference's renderings in tests/it.

use super::*;

const TEMPLATES: &str =
    include_str!("../../../../../tests/it/real_inputs/tokenizers/templates.json");

fn template(source: &str) -> Result<ChatTemplate, TextError> {
    ChatTemplate::compile(
        Path::new("model"),
        source,
        vec![("bos_token".into(), "<s>".into())],
    )
}

#[test]
fn python_methods_special_tokens_and_trailing_newline() {
    let chat = template("{{ bos_token }}{% for m in messages %}\n{{ m['content'].strip().upper() }};{% endfor %}\n\n\n").unwrap();
    assert_eq!(
        chat.render(&[ChatMessage::user(" hi ")], true).unwrap(),
        "<s>HI;\n"
    );
}

#[test]
fn an_endless_template_ends_with_an_error() {
    let chat =
        template("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}")
            .unwrap();
    let error = chat.render(&[], false).unwrap_err().to_string();
    assert!(error.contains("does not end"), "{error}");
}

#[test]
fn a_template_can_refuse_and_a_broken_one_names_its_line() {
    let chat = template("{{ raise_exception('roles must alternate') }}").unwrap();
    assert!(
        chat.render(&[], false)
            .unwrap_err()
            .to_string()
            .contains("roles must alternate")
    );
    let error = template("{{ a }}\n{% for %}")
        .err()
        .map(|e| e.to_string())
        .unwrap_or_default();
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn tojson_is_pythons() {
    let chat = template("{{ messages | tojson }}").unwrap();
    assert_eq!(
        chat.render(&[ChatMessage::user("<é>")], false).unwrap(),
        "[{\"role\": \"user\", \"content\": \"<é>\"}]"
    );
}

#[test]
fn templates_render_as_transformers_renders_them() {
    let all: Value = serde_json::from_str(TEMPLATES).unwrap();
    let messages: Vec<ChatMessage> = serde_json::from_value(all["messages"].clone()).unwrap();
    let names = [
        ("bos_token", "<s>"),
        ("eos_token", "</s>"),
        ("pad_token", "<pad>"),
    ];
    let mut failures = Vec::new();
    for case in all["cases"].as_array().unwrap() {
        let source = case["template"].as_str().unwrap();
        let names = names.map(|(name, token)| (name.to_owned(), token.to_owned()));
        let rendered = ChatTemplate::compile(Path::new("model"), source, names.to_vec())
            .and_then(|chat| chat.render(&messages, case["add_generation_prompt"] == true));
        let same = match (&rendered, case["text"].as_str()) {
            (Ok(got), Some(want)) => got == want,
            (got, want) => got.is_err() == want.is_none(),
        };
        if !same {
            failures.push(format!(
                "{source}\n  got  {rendered:?}\n  want {}",
                case["text"]
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
