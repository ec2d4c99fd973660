//! The weight files of a checkpoint and of an SAE.

use std::{fs, path::Path};

use harness_contract::sources::SourceError;
use harness_weights::{check_download, check_folder, read_tensors, read_weights, untied_head};

/// Checks a checkpoint's folder and all its weight files that are there; what a person should know
/// of them. A folder without any passes: it can be planned for before its weights come.
///
/// # Errors
/// A folder that is something else, such as an adapter or a cache entry; a weight file that is
/// damaged; a shard that the index names and that is missing or outside the folder.
pub fn check_checkpoint(dir: &Path) -> Result<Vec<String>, SourceError> {
    check_folder(dir)?;
    match read_weights(dir)? {
        Some(weights) => Ok(untied_head(dir, &weights)?.into_iter().collect()),
        None => Ok(Vec::new()),
    }
}

/// Checks the weight file of an SAE as far as that takes no unpickling. A folder without one passes.
///
/// # Errors
/// A damaged safetensors file; a `.pt` file that was not downloaded.
pub fn check_sae(dir: &Path) -> Result<(), SourceError> {
    let io = |source| SourceError::Io {
        path: dir.to_owned(),
        source,
    };
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        match path.extension().and_then(|end| end.to_str()) {
            Some("safetensors") => drop(read_tensors(&path)?),
            Some("pt") => check_download(&path)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_things_under_the_name_of_weights_are_named() {
        let dir = tempfile::tempdir().unwrap();
        check_sae(dir.path()).unwrap();
        let of = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            let said = check_sae(dir.path());
            fs::remove_file(path).unwrap();
            said.unwrap_err().to_string()
        };
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
        for name in ["sae.safetensors", "ae.pt"] {
            assert!(of(name, pointer).contains("Git LFS pointer"));
            assert!(of(name, b"<!DOCTYPE html><html>").contains("web page"));
            assert!(of(name, b"").contains("is empty"));
        }
        assert!(of("sae.safetensors", b"PK\x03\x04......").contains("pickled PyTorch file"));
        assert!(of("sae.safetensors", b"GGUF....").contains("GGUF"));
        assert!(
            read_tensors(Path::new("no/such"))
                .unwrap_err()
                .to_string()
                .contains("no/such")
        );
    }
}
