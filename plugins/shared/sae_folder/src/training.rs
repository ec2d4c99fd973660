//! What configurations say of an SAE's training.

use serde_json::{Map, Value, json};

/// What the host asks of a training, and the places that say it; the first found counts.
const COUNTS: [(&str, &[&str]); 8] = [
    ("tokens", &["/harness/tokens"]),
    ("epochs", &["/harness/epochs"]),
    ("batch", &["/harness/batch", "/buffer/out_batch_size"]),
    (
        "model_batch",
        &["/harness/model_batch", "/buffer/refresh_batch_size"],
    ),
    (
        "context_length",
        &["/harness/context_length", "/buffer/ctx_len"],
    ),
    ("seed", &["/harness/seed", "/trainer/seed"]),
    (
        "steps",
        &[
            "/harness/steps_done",
            "/harness/final/steps",
            "/trainer/steps",
        ],
    ),
    ("n_dead", &["/harness/final/n_dead"]),
];
const NUMBERS: [(&str, &[&str]); 4] = [
    ("lr", &["/harness/trainer/lr", "/trainer/lr"]),
    ("ev", &["/harness/final/ev"]),
    ("loss", &["/harness/final/loss"]),
    ("l0", &["/harness/final/l0"]),
];

/// A field at the top of a configuration or in `metadata`, where SAELens keeps what is not the SAE
/// itself.
fn at<'a>(config: &'a Value, place: &str) -> Option<&'a Value> {
    let found = config
        .pointer(place)
        .or_else(|| config.pointer(&format!("/metadata{place}")));
    found.filter(|value| !value.is_null())
}

/// The first of some fields that holds a word.
pub(crate) fn text(config: &Value, places: &[&str]) -> Option<String> {
    let mut texts = places
        .iter()
        .filter_map(|place| at(config, place)?.as_str());
    texts.find(|text| !text.is_empty()).map(str::to_owned)
}

/// The training of an SAE as far as its configuration states it.
pub(crate) fn of(config: &Value) -> Value {
    let mut training = Map::new();
    for (name, places) in COUNTS {
        let count = |place: &&str| {
            let value = at(config, place)?;
            // Means over the last steps are written as `3.0`.
            (value.as_u64()).or_else(|| Some(value.as_f64().filter(|_| name == "n_dead")? as u64))
        };
        if let Some(count) = places.iter().find_map(count) {
            training.insert(name.to_owned(), json!(count));
        }
    }
    for (name, places) in NUMBERS {
        let mut numbers = places
            .iter()
            .filter_map(|place| at(config, place)?.as_f64());
        if let Some(number) = numbers.next() {
            training.insert(name.to_owned(), json!(number));
        }
    }
    // dictionary_learning: steps of the trainer, rows its buffer hands out.
    let count = |place: &str| at(config, place)?.as_u64();
    let rows = || count("/trainer/steps")?.checked_mul(count("/buffer/out_batch_size")?);
    if !training.contains_key("tokens")
        && let Some(rows) = rows()
    {
        training.insert("tokens".to_owned(), json!(rows));
    }
    let texts = at(config, "/harness/data").and_then(Value::as_array);
    if let Some(texts) = texts.filter(|texts| texts.iter().all(Value::is_string)) {
        training.insert("data".to_owned(), json!(texts));
    }
    let rates = at(config, "/harness/mask_rate").and_then(Value::as_array);
    let rate = |i: usize| rates?.get(i)?.as_f64();
    if let (Some(least), Some(most)) = (rate(0), rate(1)) {
        training.insert("mask_rate".to_owned(), json!([least, most]));
    }
    Value::Object(training)
}
