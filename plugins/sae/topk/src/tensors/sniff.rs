//! Files that stand in the place of weights: pointers of Git LFS, pages of a web server, empty files.

use std::path::Path;

use crate::error::{Result, SaeError};

/// Refuses what is known not to be weights, from the first bytes of the file.
pub(crate) fn refuse_look_alikes(path: &Path, head: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(&head[..head.len().min(256)])
        .trim_start()
        .to_lowercase();
    if text.starts_with("version https://git-lfs.github.com/spec/") {
        return Err(SaeError::file(
            path,
            "this is a Git LFS pointer, not the weights",
            "run `git lfs pull` in the folder it came from, or download the file itself",
        ));
    }
    if text.starts_with("<!doctype html") || text.starts_with("<html") || text.starts_with("<?xml")
    {
        return Err(SaeError::file(
            path,
            "this is a web page, not the weights",
            "the download needs a login or another address; open the file to see what the server said",
        ));
    }
    if head.is_empty() {
        return Err(SaeError::file(
            path,
            "the file is empty",
            "download it again",
        ));
    }
    Ok(())
}
