//! The weight files of a checkpoint and of an SAE, as the host checks them before a worker is
//! started.

use std::{fs, path::Path};

use crate::{
    InputError, Result, check_download, check_folder, read_tensors, read_weights, untied_head,
};

/// Checks a checkpoint's folder and all its weight files that are there; what a person should know
/// of them. A folder without any passes: it can be planned for before its weights come.
///
/// # Errors
/// A folder that is something else, such as an adapter or a cache entry; a weight file that is
/// damaged; a shard that the index names and that is missing or outside the folder.
pub fn check_checkpoint(dir: &Path) -> Result<Vec<String>> {
    check_folder(dir)?;
    match read_weights(dir)? {
        Some(weights) => Ok(untied_head(dir, &weights)?.into_iter().collect()),
        None => Ok(Vec::new()),
    }
}

/// Checks the weight file of an SAE as far as that takes no unpickling. A folder without one
/// passes.
///
/// # Errors
/// A damaged safetensors file; a `.pt` file that was not downloaded.
pub fn check_sae(dir: &Path) -> Result<()> {
    let io = InputError::io(dir);
    for entry in fs::read_dir(dir).map_err(&io)? {
        let path = entry.map_err(&io)?.path();
        match path.extension().and_then(|end| end.to_str()) {
            Some("safetensors") => drop(read_tensors(&path)?),
            Some("pt") => check_download(&path)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
