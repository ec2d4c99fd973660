use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Discovery, discover};

/// The smallest file that the checks take for a whole shared library: an ELF header without
/// segments or sections.
fn library() -> Vec<u8> {
    let mut bytes = vec![0u8; 64];
    bytes[..4].copy_from_slice(b"\x7fELF");
    bytes[4..7].copy_from_slice(&[2, 1, 1]);
    bytes[16] = 3;
    bytes[18] = if cfg!(target_arch = "aarch64") {
        183
    } else {
        62
    };
    bytes
}

pub(super) fn add(dir: &Path, id: &str, component: &str) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    let text = format!(
        "id = '{id}'\nversion = '1'\nabi = '1.0'\nlibrary = 'lib{id}.so'\n[[component]]\nkind = 'metric'\nname = '{component}'\n"
    );
    fs::write(dir.join("plugin.toml"), text).unwrap();
    let path = dir.join(format!("lib{id}.so"));
    fs::write(&path, library()).unwrap();
    path
}

pub(super) fn look(dir: &Path) -> Discovery {
    discover(&[dir.to_owned()], None).unwrap()
}

fn reason(dir: &Path) -> String {
    let found = look(dir);
    assert!(found.found.is_empty(), "{:?}", found.found);
    found
        .refused
        .iter()
        .map(|r| r.reason.clone())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn folders_are_searched_three_levels_deep_and_not_where_builds_lie() {
    let dir = tempfile::tempdir().unwrap();
    add(&dir.path().join("a/b/c"), "deep", "m1");
    add(&dir.path().join("a/b/c/d"), "inner", "m2");
    add(&dir.path().join("w/x/y/z"), "deeper", "m3");
    add(&dir.path().join("target/x"), "built", "m4");
    add(&dir.path().join(".git/x"), "hidden", "m5");
    let ids: Vec<String> = look(dir.path())
        .found
        .into_iter()
        .map(|p| p.manifest.id)
        .collect();
    assert_eq!(ids, ["deep"], "a folder with a manifest is one plugin");
    // The folder of one plugin may be named itself.
    assert_eq!(look(&dir.path().join("w/x/y/z")).found.len(), 1);
    assert!(discover(&[dir.path().join("none")], None).is_err());
}

#[test]
fn a_library_is_looked_up_beside_the_manifest_then_beside_the_executable() {
    let dir = tempfile::tempdir().unwrap();
    let (plugin, beside) = (dir.path().join("plugins/p"), dir.path().join("bin"));
    let library = add(&plugin, "p", "m");
    fs::create_dir_all(&beside).unwrap();
    let at = |beside: Option<&Path>| discover(&[dir.path().join("plugins")], beside).unwrap();
    assert!(
        at(Some(&beside)).found[0]
            .library
            .ends_with("plugins/p/libp.so")
    );
    fs::rename(&library, beside.join("libp.so")).unwrap();
    assert!(at(Some(&beside)).found[0].library.ends_with("bin/libp.so"));
    assert!(
        at(None).refused[0].reason.contains("is missing (looked in"),
        "{:?}",
        at(None).refused
    );
}

#[test]
fn damaged_libraries_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = add(dir.path(), "p", "m");
    let mut cut = library();
    cut[40..48].copy_from_slice(&10_000u64.to_le_bytes());
    cut[60] = 1;
    let mut foreign = library();
    foreign[18] = 40;
    for (bytes, part) in [
        (b"not a library at all".to_vec(), "no ELF header"),
        (library()[..40].to_vec(), "no ELF header"),
        (cut, "cut short"),
        (foreign, "another processor"),
    ] {
        fs::write(&path, bytes).unwrap();
        assert!(reason(dir.path()).contains(part), "{}", reason(dir.path()));
    }
}

#[cfg(unix)]
#[test]
fn files_that_anybody_may_change_and_links_that_lead_out_are_refused() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let path = add(&dir.path().join("p"), "p", "m");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(reason(dir.path()).contains("changed by anybody"));
    let outside = dir.path().join("outside.so");
    fs::write(&outside, library()).unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&outside, &path).unwrap();
    assert!(reason(dir.path()).contains("leads out"));
}

#[test]
fn duplicates_are_refused_together_and_name_each_other() {
    let dir = tempfile::tempdir().unwrap();
    add(&dir.path().join("a"), "a", "same");
    add(&dir.path().join("b"), "b", "same");
    add(&dir.path().join("c"), "c", "other");
    let got = look(dir.path());
    assert_eq!(
        got.found
            .iter()
            .map(|p| p.manifest.id.as_str())
            .collect::<Vec<_>>(),
        ["c"]
    );
    let reasons: Vec<&str> = got.refused.iter().map(|r| r.reason.as_str()).collect();
    assert!(
        reasons[0].contains("metric `same`") && reasons[0].contains("b/plugin.toml"),
        "{reasons:?}"
    );
    assert!(reasons[1].contains("a/plugin.toml"), "{reasons:?}");
}

#[test]
fn a_broken_manifest_is_refused_and_the_others_are_found() {
    let dir = tempfile::tempdir().unwrap();
    add(&dir.path().join("a"), "a", "m");
    add(&dir.path().join("b"), "b", "n");
    fs::write(dir.path().join("b/plugin.toml"), "id = \n").unwrap();
    let got = look(dir.path());
    assert_eq!((got.found.len(), got.refused.len()), (1, 1));
    assert!(
        got.refused[0].reason.contains("plugin.toml:1:"),
        "{}",
        got.refused[0].reason
    );
}
