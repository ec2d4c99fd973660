//! What a folder with an SAE is, which layer the SAE reads and of which kind it is, in the layouts
//! that the Top-K plugin knows. Nothing here needs a tensor library.

mod config;
mod kind;
mod layout;
mod openai;
mod sae;
mod site;
mod training;

use std::{fs, path::Path};

use harness_sdk::SaeFolder;
use harness_weights::{InputError, read_text};
use serde_json::Value;

use config::MAX_CONFIG;
pub use config::{k_of, policy_of, stated_site};
pub use kind::Kind;
pub use layout::{Layout, layouts_in};
pub use openai::{OpenAiHeader, normalises_input, openai_header};
pub use site::{At, NoLayer, Site, Stated, layer_of, named_by_folder};

/// What a folder is; `None` where it is none of an SAE.
///
/// # Errors
/// A folder of an SAE whose files cannot be read, contradict each other or leave its sizes or layer
/// open.
pub fn inspect(dir: &Path) -> Result<Option<SaeFolder>, InputError> {
    if is_sae(dir) {
        return sae::read(dir).map(Some);
    }
    let missing = || {
        SaeFolder::Missing(
            "it holds no SAE: no cfg.json, no config.json and no autoencoder.pt; download incomplete?"
                .to_owned(),
        )
    };
    Ok(named_by_folder(dir).map(|_| missing()))
}

/// Whether a folder is one SAE's own: weights of a known layout, or a configuration of an SAE, with
/// which a run can be planned before its weights come.
fn is_sae(dir: &Path) -> bool {
    !layouts_in(dir).is_empty() || dir.join("cfg.json").is_file() || has_trainer(dir)
}

/// Whether a `config.json` is that of an SAE: models and whole trainings have one as well. A file
/// that cannot be read as JSON is one where the folder names a layer, so that the damage is
/// reported.
fn has_trainer(dir: &Path) -> bool {
    let path = dir.join("config.json");
    let is_small = fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_CONFIG);
    if !is_small {
        return false;
    }
    match read_text(&path, MAX_CONFIG).map(|text| serde_json::from_str::<Value>(&text)) {
        Ok(Ok(config)) => config.get("trainer").is_some_and(Value::is_object),
        _ => named_by_folder(dir).is_some(),
    }
}

#[cfg(test)]
mod tests;
