//! The whole run against the parity fixtures, through plugins built beside this test.

use std::path::{Path, PathBuf};

use harness_engine::plugin::Registry;

use super::{
    report::{CheckRecord, Status, Summary},
    run::run_folder,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixtures() -> PathBuf {
    root().join("tests/parity")
}

/// The plugins that are built beside this test.
fn plugins() -> Registry {
    let registry = Registry::load(&[root().join("plugins")]).unwrap();
    for kind in ["model", "sae", "remasker", "steering"] {
        assert!(
            registry
                .components()
                .any(|component| component.kind == kind),
            "no {kind} plugin: run cargo xtask build first"
        );
    }
    registry
}

fn collect(dir: &Path, registry: &Registry, family: Option<&str>) -> (Vec<CheckRecord>, Summary) {
    let mut records = Vec::new();
    let mut keep = |record: &CheckRecord| records.push(record.clone());
    let summary = run_folder(dir, registry, family, &mut keep).unwrap();
    (records, summary)
}

#[test]
fn every_fixture_of_every_family_holds() {
    all_hold(&fixtures());
}

/// More cases, sharded checkpoints and every layout of an SAE.
#[test]
fn every_fixture_of_the_larger_set_holds() {
    let golden = root().join("../shared/golden");
    match golden.is_dir() {
        true => all_hold(&golden),
        false => eprintln!("skipped: ../shared not present"),
    }
}

fn all_hold(golden: &Path) {
    let (records, summary) = collect(golden, &plugins(), None);
    for record in records.iter().filter(|r| r.status != Status::Pass) {
        eprintln!(
            "{:?} {}/{}: {}",
            record.status, record.family, record.check, record.reason
        );
    }
    assert_eq!(summary.fail, 0);
    assert!(
        summary.pass > 500 && summary.values > 100_000,
        "{summary:?}"
    );
    for family in ["dream", "llada", "qwen2", "llama", "gpt2", "units"] {
        assert!(
            records.iter().any(|r| r.family == family),
            "no check of {family}"
        );
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::write(&target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// Adds `by` to the float32 `at` of tensor `name`.
fn tamper(path: &Path, name: &str, at: usize, by: f32) {
    let mut bytes = std::fs::read(path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let about: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let offset = about[name]["data_offsets"][0].as_u64().unwrap() as usize + 8 + header + 4 * at;
    let value = f32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap());
    bytes[offset..offset + 4].copy_from_slice(&(value + by).to_le_bytes());
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn one_changed_value_fails_the_checks_that_hold_it_and_no_other() {
    let (golden, registry) = (fixtures(), plugins());
    let dir = tempfile::tempdir().unwrap();
    for part in ["llada", "units"] {
        copy(&golden.join(part), &dir.path().join(part));
    }
    std::fs::copy(golden.join("index.json"), dir.path().join("index.json")).unwrap();
    let file = dir.path().join("llada/golden/forward.safetensors");
    tamper(&file, "len9.logits", 100, 0.05);
    tamper(&file, "len9.resid_post.1", 0, f32::NAN);
    let (records, _) = collect(dir.path(), &registry, Some("llada"));
    let failed: Vec<&str> = records
        .iter()
        .filter(|r| r.status == Status::Fail)
        .map(|r| r.check.as_str())
        .collect();
    let expected = ["forward/len9.resid_post.1", "forward/len9.logits"];
    assert_eq!(failed, expected);
    let nan = records
        .iter()
        .find(|r| r.check == "forward/len9.resid_post.1")
        .unwrap();
    assert!(serde_json::to_value(nan).unwrap()["max_abs"].is_null());
}

#[test]
fn an_unknown_family_and_a_folder_without_an_index_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::default();
    let none = run_folder(dir.path(), &registry, None, &mut |_| {});
    assert!(none.unwrap_err().to_string().contains("index.json"));
    let tolerance = r#"{"atol": 1e-4, "rtol": 1e-4}"#;
    let index = format!(
        r#"{{"families": {{"tiny": {{"kind": "tiny", "dir": "tiny"}}}}, "tolerances": {{"float32_resid": {tolerance}, "float32_logits": {tolerance},
        "float32_loss": {tolerance}, "ev": {{"atol": 1e-4}}, "sae": {tolerance}}}}}"#
    );
    std::fs::write(dir.path().join("index.json"), &index).unwrap();
    let unknown = run_folder(dir.path(), &registry, Some("dreem"), &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("\"dreem\" is not in this folder; it has tiny"),
        "{unknown}"
    );
    let mut failed = Vec::new();
    let summary = run_folder(dir.path(), &registry, None, &mut |r| {
        failed.push(r.check.clone())
    })
    .unwrap();
    assert_eq!((summary.fail, failed), (1, vec!["fixtures".to_owned()]));
    std::fs::write(
        dir.path().join("index.json"),
        index.replace("\"dir\": \"tiny\"", "\"dir\": \"../up\""),
    )
    .unwrap();
    let outside = run_folder(dir.path(), &registry, None, &mut |_| {});
    assert!(
        outside
            .unwrap_err()
            .to_string()
            .contains("leaves the folder")
    );
}
