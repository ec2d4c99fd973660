//! `harness golden`: parity through the real plugins, and that it can fail.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{Ran, harness, root, run, shared};

fn golden(dir: &Path, options: &[&str]) -> Ran {
    let mut command = harness();
    command.arg("golden").arg(dir).args(options);
    run(command.args(["--plugins", "plugins"]))
}

fn checks(ran: &Ran) -> Vec<Value> {
    ran.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The fixtures of the repository: they are compared whole, and nothing of them is passed over.
#[test]
fn fixtures_of_every_family_hold() {
    let ran = golden(&root().join("tests/parity"), &["--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let checks = checks(&ran);
    assert!(checks.len() > 500, "{} checks", checks.len());
    for check in &checks {
        assert_eq!(check["status"], "pass", "{check}");
        for field in ["family", "check", "n", "max_abs", "atol", "rtol", "reason"] {
            assert!(check.get(field).is_some(), "{field} is not in {check}");
        }
    }
    for family in ["dream", "llada", "qwen2", "llama", "gpt2", "units"] {
        let of_family = |check: &&Value| check["family"] == family;
        assert!(checks.iter().any(|check| of_family(&check)), "{family}");
    }
    let summary = " passed, 0 failed, 0 skipped; ";
    assert!(ran.stderr.contains(summary), "{}", ran.stderr);
}

#[test]
fn fixtures_of_one_family_hold() {
    let Some(fixtures) = shared("golden") else {
        return;
    };
    let ran = golden(&fixtures, &["--family", "llama", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let checks = checks(&ran);
    assert!(checks.len() > 100, "{} checks", checks.len());
    for check in &checks {
        assert_eq!(check["family"], "llama", "{check}");
        assert!(
            check["status"] == "pass" || check["status"] == "skip",
            "{check}"
        );
    }
    assert!(ran.stderr.contains(" passed, 0 failed, "), "{}", ran.stderr);
}

/// One changed value of a fixture is found and named, and nothing else.
#[test]
fn changed_fixture_is_named() {
    let fixtures = root().join("tests/parity");
    let dir = tempfile::tempdir().unwrap();
    copy(&fixtures.join("gpt2"), &dir.path().join("gpt2"));
    let mut index: Value =
        serde_json::from_slice(&fs::read(fixtures.join("index.json")).unwrap()).unwrap();
    let families = index["families"].as_object_mut().unwrap();
    families.retain(|name, _| name == "gpt2");
    fs::write(dir.path().join("index.json"), index.to_string()).unwrap();
    copy(&fixtures.join("units"), &dir.path().join("units"));
    add_to_first_value(
        &dir.path().join("gpt2/golden/forward.safetensors"),
        ".logits",
        0.05,
    );

    let ran = golden(dir.path(), &["--family", "gpt2", "--json"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let checks = checks(&ran);
    let failed: Vec<&str> = checks
        .iter()
        .filter(|check| check["status"] == "fail")
        .filter_map(|check| check["check"].as_str())
        .collect();
    assert!(
        !failed.is_empty() && failed.iter().all(|name| name.contains(".logits")),
        "{failed:?}"
    );
    assert!(
        ran.stderr.contains("failed: gpt2/forward/"),
        "{}",
        ran.stderr
    );
}

#[test]
fn folder_without_fixtures_is_a_bad_input() {
    let dir = tempfile::tempdir().unwrap();
    let ran = golden(dir.path(), &[]);
    assert_eq!(ran.code, 20);
    assert!(ran.stderr.contains("holds no index.json"), "{}", ran.stderr);
}

/// Adds to the first number of the first f32 tensor whose name ends so.
fn add_to_first_value(file: &Path, name_end: &str, by: f32) {
    let mut bytes = fs::read(file).unwrap();
    let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + header_len]).unwrap();
    let tensors = header.as_object().unwrap();
    let (_, tensor) = tensors
        .iter()
        .find(|(name, tensor)| name.ends_with(name_end) && tensor["dtype"] == "F32")
        .unwrap();
    let at = 8 + header_len + tensor["data_offsets"][0].as_u64().unwrap() as usize;
    let value = f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) + by;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    fs::write(file, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}
