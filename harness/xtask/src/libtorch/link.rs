//! The link `.libtorch` in the repository's root.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Makes `link` lead to `folder`, replacing a link that leads elsewhere or nowhere, in one step.
///
/// # Errors
/// When something that is not a link stands there, or the folder cannot be written.
pub fn point(link: &Path, folder: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|old| old == folder) {
        return Ok(());
    }
    if link
        .canonicalize()
        .is_ok_and(|real| folder.canonicalize().is_ok_and(|wanted| wanted == real))
    {
        return Ok(());
    }
    if fs::symlink_metadata(link).is_ok_and(|meta| !meta.is_symlink()) {
        bail!(
            "{} is a folder, not a link; move it away, then run this again",
            link.display()
        );
    }
    let fresh = link.with_extension(format!("{}.tmp", std::process::id()));
    symlink(folder, &fresh).with_context(|| format!("{} cannot be written", fresh.display()))?;
    fs::rename(&fresh, link).with_context(|| format!("{} cannot be written", link.display()))
}

/// A real folder at `.libtorch` is the user's: it is used when it is right, and never replaced when
/// it is not.
///
/// # Errors
/// When there is such a folder (the caller found it unusable).
pub fn refuse_unusable_folder(link: &Path) -> Result<()> {
    if fs::symlink_metadata(link).is_ok_and(|meta| !meta.is_symlink()) {
        super::folder::check(link).with_context(|| {
            format!(
                "{} is a folder of yours that cannot be used; move it away, then run this again",
                link.display()
            )
        })?;
    }
    Ok(())
}

#[cfg(unix)]
pub fn symlink(to: &Path, at: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(not(unix))]
pub fn symlink(to: &Path, at: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_dir(to, at)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_dangling_link_is_made_anew_and_a_good_one_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (link, a, b) = (
            dir.path().join(".libtorch"),
            dir.path().join("a"),
            dir.path().join("b"),
        );
        fs::create_dir(&a).unwrap();
        fs::create_dir(&b).unwrap();
        symlink(&dir.path().join("gone"), &link).unwrap();
        point(&link, &a).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), a);
        point(&link, &b).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), b);
        let before = fs::symlink_metadata(&link).unwrap().modified().unwrap();
        point(&link, &b).unwrap();
        assert_eq!(
            fs::symlink_metadata(&link).unwrap().modified().unwrap(),
            before
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            3,
            "a temporary link stayed behind"
        );
    }

    #[test]
    fn a_real_folder_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join(".libtorch");
        fs::create_dir(&link).unwrap();
        assert!(
            point(&link, dir.path())
                .unwrap_err()
                .to_string()
                .contains("not a link")
        );
        assert!(refuse_unusable_folder(&link).is_err());
        assert!(link.is_dir());
    }
}
