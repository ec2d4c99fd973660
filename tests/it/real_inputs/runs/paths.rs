//! Paths that are not UTF-8, as folders of the Latin-1 days have them. Plugins are given paths as
//! text, so commands that would hand one on end with 2 and name it; nothing panics, and nothing
//! waits for a worker that was told nothing.

use std::{
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{copy_folder, harness, root, run, succeed, words};

/// `dir/m\xff`.
fn odd(dir: &Path) -> PathBuf {
    dir.join(OsStr::from_bytes(b"m\xff"))
}

/// The command ends with 2 and names the path.
fn is_refused(command: &mut Command) {
    let ran = run(command);
    assert_eq!(ran.code, 2, "{command:?}: {}", ran.stderr);
    for part in [r"m\xFF", "is not UTF-8", "hint: rename it"] {
        assert!(ran.stderr.contains(part), "{command:?}: {}", ran.stderr);
    }
}

fn with(words: &[&str], option: &str, path: &Path) -> Command {
    let mut command = harness();
    command.args(words).args(["--plugins", "plugins"]);
    command.arg(option).arg(path);
    command
}

const TRAIN: [&str; 9] = [
    "train", "--layers", "1", "--k", "8", "--d-sae", "64", "--tokens", "4096",
];
const BENCH: [&str; 8] = [
    "bench", "fidelity", "--rows", "qwen", "--layers", "1", "--k", "8",
];

#[test]
fn paths_given_to_workers_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let odd = odd(dir.path());
    symlink(root().join("benchmarks/zoo/qwen"), &odd).unwrap();
    is_refused(&mut with(&["generate", "--prompt", "x"], "--model", &odd));
    let text = dir.path().join("text.txt");
    std::fs::write(&text, "A line of text.\n".repeat(2000)).unwrap();
    let mut train = with(&TRAIN, "--model", &odd);
    is_refused(train.arg("--out").arg(dir.path()).arg("--data").arg(&text));
    let odd_text = odd.with_extension("txt");
    symlink(&text, &odd_text).unwrap();
    let mut train = with(&TRAIN, "--model", Path::new("qwen"));
    is_refused(
        train
            .arg("--out")
            .arg(dir.path())
            .arg("--data")
            .arg(&odd_text),
    );
    let mut train = with(&TRAIN, "--model", Path::new("qwen"));
    is_refused(
        train
            .arg("--out")
            .arg(dir.path().join(OsStr::from_bytes(b"om\xff"))),
    );
    let fixtures = dir.path().join(OsStr::from_bytes(b"fm\xff"));
    std::fs::create_dir(&fixtures).unwrap();
    std::fs::write(fixtures.join("index.json"), "{}").unwrap();
    let mut golden = harness();
    golden.args(words("golden --plugins plugins"));
    is_refused(golden.arg(&fixtures));
}

#[test]
fn benches_refuse_them_before_anything_is_computed() {
    let dir = tempfile::tempdir().unwrap();
    let odd = odd(dir.path());
    copy_folder(&root().join("benchmarks/zoo/qwen"), &odd);
    let mut named = OsString::from("qwen=");
    named.push(&odd);
    let out = dir.path().join("out");
    let mut bench = with(&BENCH, "--model", Path::new(&named));
    is_refused(bench.arg("--out").arg(&out));
    is_refused(&mut with(
        &BENCH,
        "--out",
        &dir.path().join(OsStr::from_bytes(b"om\xff")),
    ));
    // In such a folder relative paths are no better.
    let plugins = root().join("plugins");
    let mut bench = harness();
    bench.args(BENCH).arg("--plugins").arg(&plugins);
    is_refused(bench.current_dir(&odd));
}

#[test]
fn homes_and_caches_may_have_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let odd = odd(dir.path());
    std::fs::create_dir(&odd).unwrap();
    let mut generate = with(
        &["generate", "--prompt", "She said"],
        "--model",
        Path::new("qwen"),
    );
    generate.args(words("--max-new-tokens 2 --json"));
    generate
        .env("HOME", &odd)
        .env("HARNESS_CACHE", odd.join("cache"));
    generate.env(OsStr::from_bytes(b"A\xff"), OsStr::from_bytes(b"\xff"));
    succeed(&mut generate);
    assert!(odd.join("cache/opened_plugins.json").is_file());
    // A folder beside the plugins that is none.
    let plugins = dir.path().join("plugins");
    copy_folder(&root().join("plugins/models/qwen"), &plugins.join("qwen"));
    std::fs::create_dir(plugins.join(OsStr::from_bytes(b"p\xff"))).unwrap();
    let manifest = plugins.join(OsStr::from_bytes(b"p\xff/plugin.toml"));
    std::fs::write(manifest, "id = 7").unwrap();
    let ran = run(harness()
        .args(words("plugins list --plugins"))
        .arg(&plugins));
    assert_eq!(ran.code, 21, "{}", ran.stderr);
    assert!(ran.stdout.contains("qwen"), "{}", ran.stdout);
}
