//! Canonical JSON and the hashes made from it.
//!
//! Two values that compare equal have the same text: object keys sorted by code point, no white
//! space, numbers as serde_json prints them (shortest text that reads back the same). An integer
//! and a float of the same value differ (`2` and `2.0`); stage parameters are typed, so a field is
//! always one of them.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The canonical text of a value.
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

/// SHA-256 of bytes, as 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    to_hex(&Sha256::digest(bytes))
}

/// SHA-256 of the canonical text of anything that serialises.
///
/// # Errors
/// When the value has no JSON form (a map with keys that are not strings).
pub fn hash_of<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    Ok(sha256_hex(
        canonical_json(&serde_json::to_value(value)?).as_bytes(),
    ))
}

/// Lower-case hex digits of a digest.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_value(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn known_text_and_digest() {
        let value = json!({"b": [1, 2.5, null, true], "a": {"y": "\u{7}\"", "x": -0.1}});
        assert_eq!(
            canonical_json(&value),
            r#"{"a":{"x":-0.1,"y":"\u0007\""},"b":[1,2.5,null,true]}"#
        );
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    fn reversed(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut pairs: Vec<_> = map.iter().map(|(k, v)| (k.clone(), reversed(v))).collect();
                pairs.reverse();
                Value::Object(pairs.into_iter().collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(reversed).collect()),
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn order_of_keys_does_not_matter(value in any_json()) {
            prop_assert_eq!(canonical_json(&value), canonical_json(&reversed(&value)));
        }

        #[test]
        fn text_reads_back_as_the_same_text(value in any_json()) {
            let text = canonical_json(&value);
            let again: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(canonical_json(&again), text);
        }
    }
}
