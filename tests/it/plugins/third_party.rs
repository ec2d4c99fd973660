//! Crates made by `harness plugins new`, outside the workspace, against a host that is not built
//! again.

use std::fs;

use super::bench::{cargo, harness, host_binary, root, succeed};

const KINDS: [&str; 6] = ["metric", "remasker", "steering", "judge", "sae", "model"];

#[test]
fn a_new_crate_of_every_kind_builds_passes_its_checks_and_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let host = || fs::metadata(host_binary()).unwrap().modified().unwrap();
    let before = host();
    let target = root().join("target/third_party");
    for kind in KINDS {
        let name = format!("demo-{kind}");
        let new = harness(folder.path(), &["plugins", "new", &name, "--kind", kind]);
        assert_eq!(new.code, 0, "{new:?}");
        let dir = folder.path().join(&name);
        // One target folder for all: only the crates themselves differ.
        succeed(
            cargo()
                .current_dir(&dir)
                .args(["test", "--release", "--offline", "--target-dir"])
                .arg(&target),
        );
        succeed(
            cargo()
                .current_dir(&dir)
                .args(["build", "--release", "--offline", "--target-dir"])
                .arg(&target),
        );
        let library = format!("libdemo_{kind}.so");
        let built = dir.join("target/release");
        fs::create_dir_all(&built).unwrap();
        fs::copy(target.join("release").join(&library), built.join(&library)).unwrap();

        let check = harness(&dir, &["plugins", "check", "."]);
        assert_eq!(check.code, 0, "{kind}: {check:?}");
        let warns = check.out.lines().any(|line| line.starts_with("warning"));
        assert!(!warns, "{kind}: {}", check.out);
        let list = harness(folder.path(), &["plugins", "list", "--plugins", &name]);
        assert_eq!(list.code, 0, "{kind}: {list:?}");
        let is_listed = |line: &str| line.starts_with(kind) && line.contains(&name);
        assert!(list.out.lines().any(is_listed), "{kind}: {}", list.out);
    }
    let list = harness(folder.path(), &["plugins", "list", "--plugins", "."]);
    assert_eq!(list.code, 0, "{list:?}");
    for kind in KINDS {
        assert!(list.out.contains(&format!("demo-{kind}")), "{}", list.out);
    }
    assert_eq!(before, host(), "the host is not built again");
}

#[test]
fn an_existing_folder_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/notes"), "keep").unwrap();
    let new = harness(
        folder.path(),
        &["plugins", "new", "mine", "--kind", "judge"],
    );
    assert_ne!(new.code, 0);
    let entries = fs::read_dir(folder.path().join("mine")).unwrap().count();
    assert_eq!(entries, 1, "nothing is written into it");
}
