//! Rows 43 and 44: devices that are not there, and memory that runs out. A device of too little
//! memory is played by a plugin that reports it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use crate::cells::manifest;
use crate::{
    bench::{copy_of_reference, small},
    plugins::bench::{Manifest, install, library},
    support::{Ran, cell_files, clean, harness, programs, result, run, says, succeed},
};

/// No device, a libtorch without CUDA, a libtorch of another version, none at all: what was found
/// and what is needed, and the way that is left. Code 22, before any cell is touched.
#[test]
fn row_43_devices_and_libtorch() {
    let dir = tempfile::tempdir().unwrap();
    let out = copy_of_reference(dir.path());
    let cells = cell_files(&out, "").len();
    // Number 99 is on no machine, with CUDA or without.
    let ran = run(small(&out).args(["--seed", "2", "--device", "cuda:99"]));
    assert_eq!(ran.code, 22, "{}", ran.stderr);
    assert!(ran.stderr.contains("--device cpu"), "{}", ran.stderr);
    let found = ["CUDA devices found", "this libtorch has no CUDA"];
    assert!(
        found.iter().any(|part| ran.stderr.contains(part)),
        "{}",
        ran.stderr
    );
    assert_eq!(cell_files(&out, "").len(), cells);

    // A libtorch that says it is another.
    let other = dir.path().join("libtorch");
    fs::create_dir_all(other.join("lib")).unwrap();
    fs::write(other.join("build-version"), "2.6.0+cu124\n").unwrap();
    let mut command = small(&out);
    command
        .args(["--seed", "2"])
        .env_remove("LIBTORCH_USE_PYTORCH")
        .env_remove("HARNESS_TORCH")
        .env("LIBTORCH", &other);
    let ran = run(&mut command);
    assert_eq!(ran.code, 22, "{}", ran.stderr);
    for part in [
        "is 2.6.0, this build needs 2.11.0",
        "unset LIBTORCH",
        "--device cpu",
    ] {
        assert!(
            ran.stderr.contains(part),
            "{part} is not in\n{}",
            ran.stderr
        );
    }

    // A libtorch that does not say, and is none.
    fs::remove_file(other.join("build-version")).unwrap();
    for library in ["libtorch.so", "libtorch_cpu.so", "libc10.so"] {
        fs::write(other.join("lib").join(library), "not a library").unwrap();
    }
    let ran = run(&mut command);
    assert_eq!(ran.code, 22, "{}", ran.stderr);
    for part in ["libtorch", "2.11.0", "--device cpu"] {
        assert!(
            ran.stderr.contains(part),
            "{part} is not in\n{}",
            ran.stderr
        );
    }

    // None at all, and a Python's that is another.
    let bin = dir.path().join("deep/down/bin");
    fs::create_dir_all(&bin).unwrap();
    for name in ["harness", "harness-worker"] {
        fs::copy(programs().join(name), bin.join(name)).unwrap();
    }
    let python = dir.path().join("python3");
    let refused = |torch: &Path, parts: &[&str]| {
        fs::write(
            &python,
            format!("#!/bin/sh\nprintf '%s' '{}'\n", torch.display()),
        )
        .unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(bin.join("harness"));
        clean(&mut command);
        for variable in [
            "HARNESS_TORCH",
            "LIBTORCH",
            "LIBTORCH_USE_PYTORCH",
            "LD_LIBRARY_PATH",
            "VIRTUAL_ENV",
        ] {
            command.env_remove(variable);
        }
        command.env("PATH", dir.path());
        let ran = run(command.args(["plugins", "list", "--plugins", "plugins"]));
        assert_eq!(ran.code, 22, "{}", ran.stderr);
        says(&ran.stderr, parts);
        says(
            &ran.stderr,
            &["pip install torch==2.11.0", "cargo xtask setup"],
        );
    };
    refused(
        Path::new(""),
        &["no libtorch is found", "python3 has no torch"],
    );
    fs::write(other.join("version.py"), "__version__ = '2.7.1+cu128'\n").unwrap();
    let needed = "of python3, is 2.7.1, this build needs 2.11.0";
    refused(&other, &[needed, "HARNESS_TORCH"]);
}

/// Texts of one row of table2, in an order of the plugin that has too little memory.
fn texts(out: &Path, plugins: &Path, order: &str) -> Command {
    let mut command = small(out);
    command
        .args([
            "--rows",
            "dream-mask",
            "--workers",
            "1",
            "--set",
            &format!("order={order}"),
        ])
        .arg("--plugins")
        .arg(plugins);
    command
}

/// Too little memory for a batch: half of it is tried once, which is said and counted, and the
/// values are those of small batches. Where half is too much too, or bytes are promised
/// (`--reproducible`), the cell fails: code 22, and what is done stays.
#[test]
fn row_44_out_of_memory() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    let parts = [("remasker", "fits-one-row"), ("remasker", "fits-nothing")];
    let bytes = fs::read(library("short_of_memory")).unwrap();
    install(
        &plugins,
        "short_of_memory",
        &Manifest::new("short-of-memory", &parts),
        Some(&bytes),
    );

    let [whole, halved, none, pinned] =
        ["whole", "halved", "none", "pinned"].map(|name| dir.path().join(name));
    // Batches of two rows do not fit, those of one do.
    let ran = succeed(texts(&halved, &plugins, "fits-one-row").args(["--batch", "2"]));
    assert!(
        ran.stderr
            .contains("out of memory in batches of 2 rows; run again in batches of 1"),
        "{}",
        ran.stderr
    );
    let counted = manifest(&halved)["counters"]["halved_cells"]
        .as_u64()
        .unwrap();
    assert!(counted > 0, "{}", ran.stderr);
    let ran = succeed(texts(&whole, &plugins, "fits-one-row").args(["--batch", "1"]));
    assert!(!ran.stderr.contains("out of memory"), "{}", ran.stderr);
    assert_eq!(manifest(&whole)["counters"]["halved_cells"], 0);
    assert_eq!(result(&whole, "table2.csv"), result(&halved, "table2.csv"));

    let kept = |ran: &Ran, out: &Path| {
        assert_eq!(ran.code, 22, "{}", ran.stderr);
        assert!(ran.stderr.contains("short-of-memory"), "{}", ran.stderr);
        assert!(ran.stderr.contains("no memory for"), "{}", ran.stderr);
        // Features need no order, and are there for whoever goes on.
        assert!(!cell_files(out, "\"stage\":\"features\"").is_empty());
        assert_eq!(run(harness().args(["verify", "--out"]).arg(out)).code, 0);
    };
    let ran = run(texts(&none, &plugins, "fits-nothing").args(["--batch", "2"]));
    kept(&ran, &none);
    assert!(
        ran.stderr.contains("batches of 2 and of 1 rows were tried"),
        "{}",
        ran.stderr
    );
    let ran =
        run(texts(&pinned, &plugins, "fits-one-row").args(["--batch", "2", "--reproducible"]));
    kept(&ran, &pinned);
    assert!(!ran.stderr.contains("run again"), "{}", ran.stderr);
}
