//! Configurations of SAEs: JSON from outside, and what its words mean.

use std::path::Path;

use harness_weights::read_object;
use sae_folder::{Kind, layer_of, stated_site};
use serde_json::Value;

use crate::error::{Result, SaeError};

const MAX_CONFIG: u64 = 1 << 20;

/// Reads a JSON object.
pub(crate) fn read(path: &Path) -> Result<Value> {
    Ok(Value::Object(read_object(path, MAX_CONFIG)?))
}

/// A size that must be there.
pub(crate) fn size(path: &Path, json: &Value, pointer: &str) -> Result<u64> {
    let n = json
        .pointer(pointer)
        .and_then(Value::as_u64)
        .filter(|n| (1..=1 << 28).contains(n));
    n.ok_or_else(|| {
        let found = json
            .pointer(pointer)
            .map_or("missing".to_string(), Value::to_string);
        let what = format!(
            "`{}` is {found}, expected a size",
            pointer.trim_start_matches('/')
        );
        SaeError::file(
            path,
            what,
            "the configuration is damaged or of another layout",
        )
    })
}

/// Refuses a setting unless it is absent, null, or one of the understood values.
pub(crate) fn only(
    path: &Path,
    json: &Value,
    key: &str,
    understood: &[Value],
    cure: &str,
) -> Result<()> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(()),
        Some(v) if understood.contains(v) => Ok(()),
        Some(v) => {
            let words: Vec<String> = understood.iter().map(Value::to_string).collect();
            let what = format!("`{key}` is {v}; understood: {}", words.join(", "));
            Err(SaeError::uncertain(path, what, cure))
        }
    }
}

/// First of several places that holds a word.
pub(crate) fn text(json: &Value, pointers: &[&str]) -> String {
    let found = pointers
        .iter()
        .find_map(|p| json.pointer(p).and_then(Value::as_str));
    found.unwrap_or_default().to_string()
}

/// The layer of the SAE in a folder: what its configuration states, or else the names of its
/// folders.
pub(crate) fn layer(path: &Path, dir: &Path, json: &Value) -> Result<Option<u64>> {
    let of = || layer_of(stated_site(json)?.as_ref(), dir);
    of().map(|layer| layer.map(u64::from)).map_err(|why| {
        let hint = "only SAEs on the residual stream after a block are used";
        SaeError::uncertain(path, why.to_string(), hint)
    })
}

/// Refuses kinds of SAE other than Top-K by their names.
pub(crate) fn only_top_k(path: &Path, json: &Value, cure: &str) -> Result<()> {
    match Kind::of(json).filter(|kind| !kind.is_top_k()) {
        None => Ok(()),
        Some(kind) => {
            let what = format!("it is a {} SAE ({}), not Top-K", kind.name, kind.said);
            Err(SaeError::uncertain(path, what, cure))
        }
    }
}
