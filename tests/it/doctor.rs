//! `harness doctor`: a report that is complete whatever is missing, exit codes, and cures.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::Value;

use crate::{
    plugins::bench::{Manifest, install, install_bad},
    support::{Ran, harness, root, run, says, succeed, write},
};

/// Sections with the keys that each has in every report.
const SECTIONS: [(&str, &[&str]); 7] = [
    (
        "libtorch",
        &[
            "version", "needed", "folder", "origin", "has_cuda", "cuda", "python", "reason",
        ],
    ),
    ("driver", &["version", "cuda", "gpus", "reason"]),
    (
        "device",
        &[
            "asked",
            "name",
            "compute_capability",
            "count",
            "cores",
            "instruction_set",
            "reason",
        ],
    ),
    ("memory", &["total_bytes", "free_bytes", "reason"]),
    ("plugins", &["loaded", "refused", "reason"]),
    (
        "peak",
        &["f32_gflops", "bf16_gflops", "copy_gb_per_s", "reason"],
    ),
    ("parity", &["models", "tolerance", "reason"]),
];

/// `harness doctor --json` with more arguments.
fn doctor(args: &[&str]) -> Command {
    let mut command = harness();
    command.args(["doctor", "--json"]).args(args);
    command
}

/// The report, which has all its keys.
fn report(ran: &Ran) -> Value {
    let report: Value = serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", ran.stdout, ran.stderr));
    for (section, keys) in SECTIONS {
        let found = report[section].as_object();
        let found = found.unwrap_or_else(|| panic!("no section {section} in {report:#}"));
        assert_eq!(found.keys().collect::<Vec<_>>(), keys, "{section}");
    }
    let fits = report["fits"].as_array().expect("fits are a list");
    let names: Vec<&str> = (fits.iter())
        .map(|fit| fit["model"].as_str().expect("a model has a name"))
        .collect();
    assert_eq!(names, ["Dream-7B", "LLaDA-8B", "Qwen2.5-7B", "LLaMA-3-8B"]);
    for problem in problems(&report) {
        says(&problem.to_string(), &["\"what\":", "\"do\":"]);
    }
    report
}

fn problems(report: &Value) -> &[Value] {
    report["problems"].as_array().expect("problems are a list")
}

/// Problems that stop commands.
fn faults(report: &Value) -> Vec<&Value> {
    let stops = |problem: &&Value| problem["exit_code"] != 0;
    problems(report).iter().filter(stops).collect()
}

/// Nothing was measured, and it is said why.
fn is_unmeasured(report: &Value, section: &str, values: &[&str], reason: &str) {
    for value in values {
        assert_eq!(report[section][value], Value::Null, "{section}.{value}");
    }
    let said = report[section]["reason"].as_str().unwrap_or_default();
    says(said, &[reason]);
}

#[test]
fn a_sound_machine_is_measured_and_nothing_is_wrong() {
    let ran = succeed(&mut doctor(&[]));
    let report = report(&ran);
    assert_eq!(faults(&report), Vec::<&Value>::new());
    let version = report["libtorch"]["version"].as_str().expect("a version");
    assert!(version.starts_with("2.11.0"), "{version}");
    let folder = report["libtorch"]["folder"].as_str().expect("a folder");
    assert!(Path::new(folder).join("libtorch_cpu.so").is_file());
    assert_eq!(report["device"]["asked"], "cpu");
    assert!(report["device"]["cores"].as_u64() > Some(0));
    let set = report["device"]["instruction_set"].as_str();
    assert!(set.is_some_and(|set| ["portable", "avx2", "avx512"].contains(&set)));
    let bytes = |key: &str| report["memory"][key].as_u64().expect("bytes");
    assert!(bytes("free_bytes") > 0 && bytes("free_bytes") <= bytes("total_bytes"));
    let n_loaded = report["plugins"]["loaded"].as_array().map_or(0, Vec::len);
    assert!(n_loaded >= 10, "{n_loaded}");
    for key in ["f32_gflops", "bf16_gflops", "copy_gb_per_s"] {
        assert!(report["peak"][key].as_f64() > Some(0.0), "{key}");
    }
    let models = report["parity"]["models"].as_array().expect("models");
    assert!(models.len() >= 7, "{models:?}");
    for model in models {
        assert_eq!(model["agrees"], true, "{model}");
        assert!(model["max_abs_difference"].as_f64() < Some(1e-3), "{model}");
        assert!(model["max_abs_logit"].as_f64() > Some(1.0), "{model}");
    }
    for fit in report["fits"].as_array().expect("fits") {
        let number = |key: &str| fit[key].as_u64().expect("a number");
        assert_eq!(number("weight_bytes"), 2 * number("parameters"));
        let needed = number("weight_bytes") + number("activation_bytes");
        assert_eq!(number("needed_bytes"), needed);
        assert!(fit["fits"].is_boolean(), "{fit}");
    }
}

#[test]
fn people_get_a_line_for_each_section() {
    let ran = succeed(harness().arg("doctor"));
    let sections = SECTIONS.map(|(section, _)| section);
    let models = ["Dream-7B", "LLaDA-8B", "Qwen2.5-7B", "LLaMA-3-8B"];
    let mut lines = ran.stdout.lines();
    for name in sections.iter().chain(&models) {
        let line = lines.next().unwrap_or_default();
        assert_eq!(line.split_whitespace().nth(1), Some(*name), "{line}");
    }
    assert_eq!(lines.next(), None);
    let bad: Vec<&str> = ran.stdout.lines().filter(|l| l.starts_with('✗')).collect();
    assert_eq!(bad, Vec::<&str>::new());
}

#[test]
fn a_libtorch_of_another_version_is_named_in_a_complete_report() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("libtorch");
    fs::create_dir_all(other.join("lib")).unwrap();
    fs::write(other.join("build-version"), "2.6.0+cu124\n").unwrap();
    let mut command = doctor(&[]);
    command
        .env_remove("LIBTORCH_USE_PYTORCH")
        .env("LIBTORCH", &other);
    let ran = run(&mut command);
    assert_eq!(ran.code, 22, "{}", ran.stderr);
    let report = report(&ran);
    let libtorch = &report["libtorch"];
    assert_eq!(libtorch["version"], "2.6.0+cu124");
    assert_eq!(libtorch["origin"], "named by LIBTORCH");
    assert_eq!(libtorch["cuda"], "12.4");
    let why = "is 2.6.0, this build needs 2.11.0";
    let faults = faults(&report);
    assert_eq!(faults.len(), 1, "{faults:?}");
    says(faults[0]["what"].as_str().unwrap(), &[why, "libtorch"]);
    says(faults[0]["do"].as_str().unwrap(), &["unset LIBTORCH"]);
    says(&ran.stderr, &["error:", why, "hint:", "unset LIBTORCH"]);
    is_unmeasured(&report, "plugins", &["loaded"], why);
    is_unmeasured(&report, "parity", &["models"], why);
    is_unmeasured(&report, "device", &["instruction_set"], why);
    let peak = ["f32_gflops", "bf16_gflops", "copy_gb_per_s"];
    is_unmeasured(&report, "peak", &peak, why);
    // What needs no libtorch is known all the same.
    assert!(report["memory"]["free_bytes"].as_u64() > Some(0));
    assert!(report["fits"][0]["fits"].is_boolean());
}

/// Number 99 is on no machine, with CUDA or without.
#[test]
fn a_device_that_is_not_there_is_named_in_a_complete_report() {
    let ran = run(&mut doctor(&["--device", "cuda:99"]));
    assert_eq!(ran.code, 22, "{}", ran.stderr);
    let report = report(&ran);
    assert_eq!(report["device"]["asked"], "cuda:99");
    let faults = faults(&report);
    assert_eq!(faults.len(), 1, "{faults:?}");
    says(faults[0]["what"].as_str().unwrap(), &["device cuda:99 "]);
    says(faults[0]["do"].as_str().unwrap(), &["--device cpu"]);
    says(&ran.stderr, &["error: device cuda:99 ", "hint: "]);
    let why = report["device"]["reason"].as_str().expect("a reason");
    let peak = ["f32_gflops", "bf16_gflops", "copy_gb_per_s"];
    is_unmeasured(&report, "peak", &peak, why);
    is_unmeasured(&report, "parity", &["models"], why);
    assert!(report["memory"]["free_bytes"].is_null());
    assert!(report["memory"]["reason"].is_string());
    for fit in report["fits"].as_array().unwrap() {
        assert_eq!(fit["fits"], Value::Null);
        assert!(fit["needed_bytes"].as_u64() > Some(15 << 30) || fit["model"] != "LLaMA-3-8B");
    }
    // One fault hides no other part.
    let n_loaded = report["plugins"]["loaded"].as_array().map_or(0, Vec::len);
    assert!(n_loaded >= 10, "{n_loaded}");
    assert!(report["libtorch"]["folder"].is_string());
}

/// Puts a stand-in for the driver's library into a folder; false, said aloud, without a C compiler.
fn put_stand_in_driver(dir: &Path) -> bool {
    let source = root().join("tests/it/doctor/driver.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(dir.join("libcuda.so.1"))
        .arg(source)
        .status();
    match compiled {
        Ok(status) => assert!(status.success(), "the stand-in does not compile"),
        Err(error) => {
            eprintln!("skipped: there is no C compiler: {error}");
            return false;
        }
    }
    true
}

/// What the driver says is asked without libtorch: the device is described, with its memory, where
/// libtorch cannot use it. A libtorch with CUDA would ask the stand-in for more than it has.
#[test]
fn a_device_that_only_the_driver_knows_is_described() {
    let dir = tempfile::tempdir().unwrap();
    if !put_stand_in_driver(dir.path()) {
        return;
    }
    let doctor = || {
        let mut command = doctor(&["--device", "cuda:0"]);
        command.env("LD_LIBRARY_PATH", dir.path());
        command
    };
    let ran = run(&mut doctor());
    assert_eq!(ran.code, 22, "{}", ran.stderr);
    let report = report(&ran);
    if report["libtorch"]["has_cuda"] == true {
        eprintln!("skipped: this libtorch has CUDA");
        return;
    }
    assert_eq!(report["driver"]["cuda"], "12.4");
    let device = &report["device"];
    assert_eq!(device["name"], "Stand-in 9000");
    assert_eq!(device["compute_capability"], "9.1");
    assert_eq!(device["count"], 1);
    says(
        device["reason"].as_str().unwrap(),
        &["this libtorch has no CUDA"],
    );
    let memory = &report["memory"];
    assert_eq!(memory["total_bytes"].as_u64(), Some(80 << 30));
    assert_eq!(memory["free_bytes"].as_u64(), Some(70 << 30));
    assert_eq!(memory["reason"], Value::Null);
    let fits = report["fits"].as_array().unwrap();
    assert!(fits.iter().all(|fit| fit["fits"] == true), "{fits:?}");

    // A driver that does not start says why in its own words.
    let ran = run(doctor().env("STAND_IN_FAULT", "802"));
    assert_eq!(ran.code, 22, "{}", ran.stderr);
    let words = "CUDA_ERROR_SYSTEM_NOT_READY (system not yet initialized)";
    says(&ran.stderr, &["the NVIDIA driver does not start", words]);
    let ran = run(doctor().env("STAND_IN_FAULT", "77"));
    says(&ran.stderr, &["the NVIDIA driver does not start: error 77"]);
}

#[test]
fn bad_plugins_are_reported_beside_the_good() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    install_bad(&plugins, "good", &["metric"]);
    install_bad(&plugins, "exports_nothing", &["metric"]);
    install_bad(&plugins, "aborts_on_open", &["metric"]);
    let gone = Manifest::new("gone", &[("metric", "gone")]);
    install(&plugins, "gone", &gone, None);
    let folder = plugins.display().to_string();
    let ran = run(&mut doctor(&["--plugins", &folder]));
    assert_eq!(ran.code, 21, "{}", ran.stderr);
    let report = report(&ran);
    let loaded = report["plugins"]["loaded"].as_array().unwrap();
    let ids: Vec<&Value> = loaded.iter().map(|plugin| &plugin["id"]).collect();
    assert_eq!(ids, ["good"]);
    for (name, reason) in [
        ("exports_nothing", "exports no plugin"),
        ("aborts_on_open", "ended its process"),
        ("gone", "is missing"),
    ] {
        let of = |text: &Value| {
            let text = text.as_str().unwrap_or_default();
            text.contains(&format!("/{name}/")) && !text.is_empty()
        };
        let refused = report["plugins"]["refused"].as_array().unwrap();
        let refused = refused.iter().find(|refused| of(&refused["path"]));
        let refused = refused.unwrap_or_else(|| panic!("{name} is not refused: {report:#}"));
        says(refused["reason"].as_str().unwrap(), &[reason]);
        let told = faults(&report).into_iter().any(|fault| of(&fault["what"]));
        assert!(told, "{name} is no problem: {report:#}");
        let line = ran
            .stderr
            .lines()
            .find(|l| l.contains(&format!("/{name}/")));
        says(line.unwrap_or_default(), &["error:", reason]);
    }
    // No plugin there reads the models, which is no fault of the device.
    assert!(report["peak"]["f32_gflops"].as_f64() > Some(0.0));
    let models = report["parity"]["models"].as_array().unwrap();
    let unread = |model: &Value| model["agrees"].is_null() && model["reason"].is_string();
    assert!(models.iter().all(unread), "{models:?}");
    assert_eq!(faults(&report).len(), 3);
}

#[test]
fn another_torch_of_python_is_named_with_its_cure() {
    let dir = tempfile::tempdir().unwrap();
    let torch = dir.path().join("site-packages/torch");
    let version = "__version__ = '2.6.0+cu124'\ncuda: Optional[str] = '12.4'\n";
    write(&torch.join("version.py"), version);
    let python = dir.path().join("bin/python3");
    write(
        &python,
        &format!("#!/bin/sh\nprintf %s '{}'\n", torch.display()),
    );
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = doctor(&[]);
    command.env_remove("VIRTUAL_ENV").env(
        "PATH",
        format!("{}:{path}", dir.path().join("bin").display()),
    );
    let ran = succeed(&mut command);
    let report = report(&ran);
    let found = &report["libtorch"]["python"];
    assert_eq!(found["version"], "2.6.0+cu124");
    assert_eq!(found["is_usable"], false);
    let problem = (problems(&report).iter())
        .find(|problem| problem["what"].as_str().unwrap().contains("2.6.0+cu124"))
        .unwrap_or_else(|| panic!("it is no problem: {report:#}"));
    says(
        problem["what"].as_str().unwrap(),
        &[torch.to_str().unwrap(), "needs 2.11.0"],
    );
    says(
        problem["do"].as_str().unwrap(),
        &["pip install torch==2.11.0"],
    );
    assert_eq!(problem["exit_code"], 0);
    says(&ran.stderr, &["warning:", "2.6.0+cu124"]);
}

#[test]
fn a_product_without_its_files_is_not_well() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = doctor(&["--plugins", "plugins"]);
    let ran = run(command.env("HARNESS_ROOT", dir.path()));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    says(
        &ran.stderr,
        &["error: HARNESS_ROOT=", "holds no benchmarks/tables"],
    );
    let report = report(&ran);
    is_unmeasured(&report, "parity", &["models"], "no embedded models");
    assert!(report["peak"]["f32_gflops"].as_f64() > Some(0.0));
}

#[test]
fn folders_of_plugins_that_are_named_must_be_there() {
    let ran = run(&mut doctor(&["--plugins", "no-such-folder"]));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    says(&ran.stderr, &["no-such-folder", "there is no such folder"]);
}

#[test]
fn the_help_teaches_by_examples() {
    let help = succeed(harness().args(["doctor", "--help"])).stdout;
    says(
        &help,
        &[
            "--device",
            "--json",
            "--plugins",
            "Examples:",
            "harness doctor --device cuda:0",
            "22",
        ],
    );
}
