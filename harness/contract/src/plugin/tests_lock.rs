use std::{fs, path::Path};

use super::{
    Discovery, LOCK_FILE, Lock, PluginChoice,
    tests::{add, look},
};

fn lock(dir: &Path) {
    let discovery = look(dir);
    Lock::of(dir, &discovery.found).write(dir).unwrap();
}

fn chosen(dir: &Path, locked: bool) -> Discovery {
    let choice = PluginChoice {
        locked,
        ..PluginChoice::of(&[dir.to_owned()])
    };
    choice.discover(None).unwrap()
}

fn ids(discovery: &Discovery) -> Vec<&str> {
    (discovery.found.iter())
        .map(|plugin| plugin.manifest.id.as_str())
        .collect()
}

#[test]
fn a_lock_is_readable_sorted_and_without_places() {
    let dir = tempfile::tempdir().unwrap();
    add(&dir.path().join("x/b"), "zebra", "m1");
    add(&dir.path().join("y"), "ant", "m2");
    lock(dir.path());
    let text = fs::read_to_string(dir.path().join(LOCK_FILE)).unwrap();
    assert!(text.starts_with("# The plugins of this folder"), "{text}");
    let at = |what: &str| {
        text.find(what)
            .unwrap_or_else(|| panic!("{what} in {text}"))
    };
    assert!(at("id = \"ant\"") < at("id = \"zebra\""));
    assert!(at("id = \"zebra\"") < at("manifest = \"x/b/plugin.toml\""));
    assert!(!text.contains(&dir.path().display().to_string()), "{text}");
    let read = Lock::read(dir.path()).unwrap().unwrap();
    assert_eq!(read, Lock::of(dir.path(), &look(dir.path()).found));
    let found = chosen(dir.path(), true);
    assert_eq!(ids(&found), ["zebra", "ant"]);
    assert_eq!(found.refused, []);
}

#[test]
fn what_differs_is_refused_with_both_hashes_and_the_rest_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let library = add(&dir.path().join("a"), "changed", "m1");
    add(&dir.path().join("b"), "same", "m2");
    add(&dir.path().join("c"), "gone", "m3");
    lock(dir.path());
    let before = look(dir.path()).found[0].hash.clone();
    let mut bytes = fs::read(&library).unwrap();
    bytes[60] = 1;
    fs::write(&library, bytes).unwrap();
    fs::remove_dir_all(dir.path().join("c")).unwrap();
    add(&dir.path().join("d"), "new", "m4");
    let after = look(dir.path()).found[0].hash.clone();
    assert_ne!(before, after);

    let found = chosen(dir.path(), true);
    assert_eq!(ids(&found), ["same"]);
    let reason = |id: &str| {
        let of = |list: &[super::RefusedPlugin]| {
            let plugin = list.iter().find(|p| p.id.as_deref() == Some(id));
            plugin.map(|p| p.reason.clone()).unwrap_or_default()
        };
        assert_eq!(of(&found.refused), of(&found.differing), "{id}");
        of(&found.refused)
    };
    assert!(reason("changed").contains(&before) && reason("changed").contains(&after));
    assert!(reason("new").contains("not in plugins.lock"));
    assert!(reason("gone").contains("not here"));

    let free = chosen(dir.path(), false);
    assert_eq!(ids(&free), ["changed", "same", "new"]);
    assert_eq!((free.differing.len(), free.refused.len()), (3, 0));
}

#[test]
fn a_manifest_is_part_of_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    add(&dir.path().join("a"), "plugin", "m1");
    lock(dir.path());
    let path = dir.path().join("a/plugin.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n")).unwrap();
    let found = chosen(dir.path(), true);
    assert!(found.found.is_empty());
    assert!(
        found.refused[0]
            .reason
            .starts_with("its manifest has SHA-256")
    );
}

#[test]
fn without_a_lock_or_with_a_broken_one_nothing_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    add(&dir.path().join("a"), "plugin", "m1");
    assert_eq!(chosen(dir.path(), false).differing, []);
    let none = chosen(dir.path(), true);
    assert!(none.found.is_empty());
    assert!(none.refused[0].reason.contains("has no plugins.lock"));
    for text in ["version = 2\n", "version", "version = 1\nwhat = 2\n"] {
        fs::write(dir.path().join(LOCK_FILE), text).unwrap();
        let broken = chosen(dir.path(), true);
        assert!(broken.found.is_empty(), "{text}");
        assert!(!broken.refused[0].reason.contains('\n'), "{text}");
        assert_eq!(chosen(dir.path(), false).differing.len(), 1);
    }
}

#[test]
fn libraries_are_avoided_and_singled_out_by_hash() {
    let dir = tempfile::tempdir().unwrap();
    add(&dir.path().join("a"), "one", "m1");
    let library = add(&dir.path().join("b"), "two", "m2");
    let mut bytes = fs::read(&library).unwrap();
    bytes[60] = 1;
    fs::write(&library, bytes).unwrap();
    let all = look(dir.path());
    let (one, two) = (all.found[0].hash.clone(), all.found[1].hash.clone());
    let mut choice = PluginChoice::of(&[dir.path().to_owned()]);
    choice.avoid.insert(one, "it bites".to_owned());
    let found = choice.discover(None).unwrap();
    assert_eq!(
        (ids(&found), found.refused[0].reason.as_str()),
        (vec!["two"], "it bites")
    );
    choice.avoid.clear();
    choice.only.insert(two);
    assert_eq!(ids(&choice.discover(None).unwrap()), ["two"]);
}
