//! `tokenizer_cases.json`: encoding, decoding and chat templates, for every checkpoint folder of
//! the family.

use std::path::Path;

use harness_engine::text::{ChatMessage, ExpectedIds, TextCodec};
use serde_json::Value;

use super::compare;
use super::report::Recorder;

/// What the family's manifest says about token ids.
pub(super) struct Expected<'a> {
    pub cases: &'a Value,
    pub manifest: &'a Value,
}

/// Runs every case against the tokenizer of `checkpoint`; checks are named `<label>/<case>`.
pub(super) fn run(
    record: &mut Recorder<'_>,
    label: &str,
    checkpoint: &Path,
    expected: &Expected<'_>,
) {
    let codec = match TextCodec::load(checkpoint) {
        Ok(codec) => codec,
        Err(error) => return record.failed(&format!("{label}/load"), error),
    };
    if let Some(want) = expected.cases["vocab_len"].as_f64() {
        record.compared(
            &format!("{label}/vocab_len"),
            compare::number(Some(codec.vocab_len() as f64), Some(want)),
        );
    }
    for (i, case) in list(expected.cases, "encode").iter().enumerate() {
        record.attempt(&format!("{label}/encode.{i}"), |record| {
            encode_case(record, &format!("{label}/encode.{i}"), &codec, case)
        });
    }
    for (i, case) in list(expected.cases, "chat").iter().enumerate() {
        record.attempt(&format!("{label}/chat.{i}"), |record| {
            chat_case(record, &format!("{label}/chat.{i}"), &codec, case)
        });
    }
    if let Some(ids) = expected.manifest["special_ids"].as_object() {
        let names: Vec<&String> = ids.keys().collect();
        let got: Vec<u32> = names
            .iter()
            .map(|name| codec.token_to_id(name).unwrap_or(u32::MAX))
            .collect();
        let want: Vec<u32> = ids
            .values()
            .map(|id| id.as_u64().map_or(u32::MAX - 1, |id| id as u32))
            .collect();
        record.compared(&format!("{label}/special_ids"), compare::ids(&got, &want));
    }
    if let Some(mask) = expected.manifest["mask_token_id"].as_i64() {
        let check = format!("{label}/mask_token_id");
        record.attempt(&check, |record| {
            codec.check_model(&ExpectedIds {
                vocab_size: usize::MAX,
                mask_token_id: Some(mask),
                family: String::new(),
            })?;
            let got = codec.special().mask.map(f64::from);
            record.compared(&check, compare::number(got, Some(mask as f64)));
            Ok::<(), harness_engine::text::TextError>(())
        });
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(case: &'a Value, key: &str) -> Result<&'a str, String> {
    case[key]
        .as_str()
        .ok_or_else(|| format!("the case has no text {key:?}"))
}

fn ids(case: &Value, key: &str) -> Result<Vec<u32>, String> {
    let list = case[key]
        .as_array()
        .ok_or_else(|| format!("the case has no ids {key:?}"))?;
    list.iter()
        .map(|id| {
            id.as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| format!("{key}: {id} is no id"))
        })
        .collect()
}

fn encode_case(
    record: &mut Recorder<'_>,
    name: &str,
    codec: &TextCodec,
    case: &Value,
) -> Result<(), String> {
    let say = |error: harness_engine::text::TextError| error.to_string();
    let input = text(case, "text")?;
    let with = ids(case, "ids")?;
    record.compared(
        &format!("{name}.ids"),
        compare::ids(&codec.encode(input, true).map_err(say)?, &with),
    );
    record.compared(
        &format!("{name}.ids_no_special"),
        compare::ids(
            &codec.encode(input, false).map_err(say)?,
            &ids(case, "ids_no_special")?,
        ),
    );
    record.compared(
        &format!("{name}.decoded"),
        compare::text(
            &codec.decode(&with, false).map_err(say)?,
            text(case, "decoded")?,
        ),
    );
    let hidden = codec.decode(&with, true).map_err(say)?;
    record.compared(
        &format!("{name}.decoded_skip_special"),
        compare::text(&hidden, text(case, "decoded_skip_special")?),
    );
    Ok(())
}

fn chat_case(
    record: &mut Recorder<'_>,
    name: &str,
    codec: &TextCodec,
    case: &Value,
) -> Result<(), String> {
    let say = |error: harness_engine::text::TextError| error.to_string();
    let messages: Vec<ChatMessage> = serde_json::from_value(case["messages"].clone())
        .map_err(|error| format!("messages: {error}"))?;
    let prompt = case["add_generation_prompt"].as_bool().unwrap_or(false);
    let rendered = codec.render_chat(&messages, prompt).map_err(say)?;
    record.compared(
        &format!("{name}.text"),
        compare::text(&rendered, text(case, "text")?),
    );
    record.compared(
        &format!("{name}.ids"),
        compare::ids(
            &codec.encode(&rendered, false).map_err(say)?,
            &ids(case, "ids")?,
        ),
    );
    Ok(())
}
