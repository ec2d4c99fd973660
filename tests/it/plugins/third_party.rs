//! Crates made by `harness plugins new`, outside the workspace, against a host that is not built
//! again.

use std::{fs, path::Path};

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
        if kind == "model" {
            inspects_a_checkpoint(&dir, &name);
        }
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

/// The adapter of the template states no facts for plans: those that its other methods tell do.
fn inspects_a_checkpoint(dir: &Path, model_type: &str) {
    let config = format!(
        r#"{{"model_type":"{model_type}","hidden_size":8,"num_hidden_layers":3,"vocab_size":16,"max_position_embeddings":32}}"#
    );
    fs::create_dir(dir.join("checkpoint")).unwrap();
    fs::write(dir.join("checkpoint/config.json"), config).unwrap();
    let inspect = harness(dir, &["inspect", "checkpoint", "--plugins", "."]);
    assert_eq!(inspect.code, 0, "{inspect:?}");
    let said: Vec<(&str, &str)> = (inspect.out.lines())
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(what, value)| (what, value.trim()))
        .collect();
    for expected in [
        ("family", model_type),
        ("objective", "autoregressive"),
        ("blocks", "3"),
        ("d_model", "8"),
        ("vocabulary", "16"),
    ] {
        assert!(said.contains(&expected), "{expected:?}: {}", inspect.out);
    }
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
