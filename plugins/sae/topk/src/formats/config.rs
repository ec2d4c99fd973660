//! Configurations of SAEs: JSON from outside, and what its words mean.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    error::{Result, SaeError},
    set::layer_of_folder,
    tensors::refuse_look_alikes,
};

const MAX_CONFIG: u64 = 1 << 20;

/// Reads a JSON object.
pub(crate) fn read(path: &Path) -> Result<Value> {
    let size = fs::metadata(path)
        .map_err(SaeError::io(path, "read it"))?
        .len();
    if size > MAX_CONFIG {
        let what = format!("a configuration of {size} bytes, limit {MAX_CONFIG}");
        return Err(SaeError::file(path, what, "download it again"));
    }
    let bytes = fs::read(path).map_err(SaeError::io(path, "read it"))?;
    refuse_look_alikes(path, &bytes)?;
    let json: Value = serde_json::from_slice(&bytes)
        .map_err(|e| SaeError::file(path, format!("not JSON: {e}"), "download it again"))?;
    if !json.is_object() {
        return Err(SaeError::file(
            path,
            "not a JSON object",
            "download it again",
        ));
    }
    Ok(json)
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

/// Block whose output a hook names; `None` where there is no hook.
///
/// TransformerLens writes `blocks.3.hook_resid_post`, module paths `model.layers.3`; the output of such a
/// module is the residual after the block. Any other site is refused.
pub(crate) fn layer_of_hook(path: &Path, hook: &str) -> Result<Option<u64>> {
    if hook.is_empty() {
        return Ok(None);
    }
    let block = hook
        .strip_prefix("blocks.")
        .and_then(|h| h.strip_suffix(".hook_resid_post"));
    let module = ["layers.", "h.", "blocks.", "resid_post_layer_"]
        .iter()
        .find_map(|p| {
            let at = hook.rfind(p)?;
            (at == 0 || hook[..at].ends_with('.')).then(|| &hook[at + p.len()..])
        });
    if let Some(layer) = block.or(module).and_then(|l| l.parse().ok()) {
        return Ok(Some(layer));
    }
    Err(SaeError::uncertain(
        path,
        format!(
            "it reads `{}`, not the residual stream after a block",
            hook.escape_debug()
        ),
        "only SAEs on block outputs (blocks.L.hook_resid_post, layers.L) are used here",
    ))
}

/// The layer that folders above the SAE state, checked against the one its configuration states.
pub(crate) fn layer(config: &Path, dir: &Path, stated: Option<u64>) -> Result<Option<u64>> {
    let folder = dir.ancestors().take(2).find_map(layer_of_folder);
    match (stated, folder) {
        (Some(a), Some(b)) if a != b => Err(SaeError::file(
            config,
            format!("it is for layer {a}, but lies in a folder of layer {b}"),
            "move it to its own folder",
        )),
        (a, b) => Ok(a.or(b)),
    }
}

/// Positions it was trained on: what the configuration says, else what a folder's name says.
pub(crate) fn policy(dir: &Path, stated: &str) -> String {
    if !stated.is_empty() {
        return stated.to_string();
    }
    let word = dir.ancestors().take(4).find_map(|folder| {
        let name = folder.file_name()?.to_str()?.to_lowercase();
        let mut words = name.split(|c: char| !c.is_alphanumeric());
        words
            .find(|w| matches!(*w, "mask" | "unmask"))
            .map(str::to_string)
    });
    word.unwrap_or_default()
}
