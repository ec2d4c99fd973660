//! Rows 39 to 42: plugins that are refused, that return nonsense, and that take their process with
//! them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::Value;

use crate::{
    cells::records,
    plugins::bench::{Manifest, install, install_bad, library, line_of},
    support::{
        Ran, copy_folder, harness, result, root, run, signal, start, succeed, wait_for_cells,
    },
};

/// Components of tests/bad_plugins/examples/culprits.rs.
const CULPRITS: &[(&str, &str)] = &[
    ("sae", "behaves"),
    ("sae", "segfaults"),
    ("sae", "aborts"),
    ("sae", "exits"),
    ("sae", "panics"),
    ("sae", "hangs"),
    ("sae", "leaks"),
    ("sae", "returns-nan"),
    ("sae", "wrong-latent"),
    ("sae", "negative-count"),
    ("sae", "decodes-infinity"),
    ("remasker", "order-segfaults"),
    ("remasker", "order-hangs"),
    ("remasker", "order-panics"),
];
/// Rows of the one SAE of [`grid`] that is a culprit, by layer and k.
const CULPRIT: &str = ",5,8,";

/// The host with a cache of its own: no plugin has been opened yet.
fn host(dir: &Path) -> Command {
    let mut command = harness();
    command.env("HARNESS_CACHE", dir.join("cache"));
    command
}

/// A bench with the culprits beside the repository's plugins.
fn bench(dir: &Path, table: &str, out: &str) -> Command {
    let culprits = dir.join("plugins");
    if !culprits.is_dir() {
        let bytes = fs::read(library("culprits")).unwrap();
        install(
            &culprits,
            "culprits",
            &Manifest::new("culprits", CULPRITS),
            Some(&bytes),
        );
    }
    let mut command = host(dir);
    command
        .args(["bench", table, "--plugins", "plugins", "--plugins"])
        .arg(culprits)
        .arg("--out")
        .arg(dir.join(out))
        .args(["--workers", "1", "--reproducible"]);
    command
}

/// Four SAEs of an architecture that are run together, one of which is the culprit.
fn grid(dir: &Path, architecture: &str) -> Command {
    let mut command = bench(dir, "fidelity", architecture);
    command
        .args(["--rows", "dream-mask", "--layers", "4,5", "--k", "4,8"])
        .args(["--budget-tokens", "600", "--context-length", "48"])
        .args(["--measures", "none"])
        .args(["--set", &format!("architecture={architecture}")]);
    command
}

/// The table without the culprit's rows, and these.
fn rows(out: &Path) -> (Vec<String>, Vec<String>) {
    let table = result(out, "fidelity.csv");
    (table.lines().map(str::to_owned)).partition(|row| !row.contains(CULPRIT))
}

/// The rows of the others when nobody misbehaves.
fn others() -> &'static [String] {
    static OTHERS: OnceLock<Vec<String>> = OnceLock::new();
    OTHERS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        succeed(&mut grid(dir.path(), "behaves"));
        rows(&dir.path().join("behaves")).0
    })
}

/// The failures in a store.
fn failures(out: &Path) -> Vec<Value> {
    let failure = |record: Value| record.get("failure").cloned();
    (records(out).into_iter())
        .filter_map(failure)
        .filter(|failure| !failure.is_null())
        .collect()
}

/// Runs [`grid`]: the culprit's cell fails, named with its method, and the others are what they are
/// without it.
fn costs_only_its_cell(architecture: &str, method: &str, args: &[&str]) -> (Ran, Value) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join(architecture);
    let ran = run(grid(dir.path(), architecture).args(args));
    assert_eq!(ran.code, 5, "{architecture}: {}", ran.stderr);
    let blamed = format!("plugin `culprits`, sae `{architecture}`, {method}: ");
    let status = run(host(dir.path()).args(["status", "--out"]).arg(&out));
    for told in [&ran.stderr, &status.stderr] {
        assert!(told.contains(&blamed), "{architecture}: {told}");
    }
    assert!(
        ran.stderr.contains("1 cell failed"),
        "{architecture}: {}",
        ran.stderr
    );

    let (ours, culprit) = rows(&out);
    assert_eq!(ours, others(), "{architecture}");
    assert!(
        culprit.iter().all(|row| !row.ends_with(",ok")),
        "{culprit:?}"
    );
    let failures = failures(&out);
    let [failure] = failures.as_slice() else {
        panic!("{architecture}: {failures:?}");
    };
    assert_eq!(failure["plugin"], "culprits");
    assert_eq!(failure["component"], format!("sae `{architecture}`"));
    assert_eq!(failure["method"], method);
    (ran, failure.clone())
}

#[test]
fn row_40_nonsense_fails_its_cell() {
    for (architecture, method, what) in [
        ("returns-nan", "encode", "an activation is NaN"),
        (
            "wrong-latent",
            "encode",
            "a latent is 208, it must be in -1 to 207",
        ),
        (
            "negative-count",
            "encode",
            "a number of active latents is -1",
        ),
        (
            "decodes-infinity",
            "decode",
            "a reconstruction is NaN or infinite",
        ),
        ("panics", "encode", "no encoding for you"),
    ] {
        let (_, failure) = costs_only_its_cell(architecture, method, &[]);
        let message = failure["message"].as_str().unwrap();
        assert!(message.contains(what), "{architecture}: {message}");
        assert_eq!(failure["kind"], "plugin");
    }
}

#[test]
fn row_40_sleeping_for_ever_fails_its_cell_after_a_time() {
    let (ran, failure) = costs_only_its_cell("hangs", "encode", &["--cell-timeout", "12"]);
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("no sign of life for 12 s"), "{message}");
    assert!(message.contains("--cell-timeout"), "{message}");
    assert_eq!(failure["kind"], "timed_out");
    // Of four cells, of two, of one.
    assert_eq!(
        ran.stderr.matches("in smaller parts").count(),
        2,
        "{}",
        ran.stderr
    );
}

#[test]
fn row_41_a_process_that_ends_costs_its_cell() {
    for (architecture, what, signal) in [
        ("segfaults", "signal 11 (SIGSEGV", Some(11)),
        ("aborts", "signal 6 (SIGABRT", Some(6)),
        ("exits", "ended with exit code 0", None),
    ] {
        let (ran, failure) = costs_only_its_cell(architecture, "encode", &[]);
        let message = failure["message"].as_str().unwrap();
        assert!(message.contains(what), "{architecture}: {message}");
        assert_eq!(failure["kind"], "worker_died");
        assert_eq!(failure["signal"].as_i64(), signal, "{architecture}");
        if architecture == "aborts" {
            assert_eq!(failure["log"], "culprits: now it aborts");
            assert!(ran.stderr.contains("last words"), "{}", ran.stderr);
        }
    }
}

/// The plugin would take 20 GB, at the speed of memory.
#[test]
fn row_41_a_leak_costs_its_cell_and_not_the_machine() {
    let limit = 1024;
    let (_, failure) = costs_only_its_cell("leaks", "encode", &["--worker-memory", "1G"]);
    let message = failure["message"].as_str().unwrap();
    assert_eq!(failure["kind"], "too_much_memory", "{message}");
    let numbers: Vec<u64> = (message.split_whitespace())
        .filter_map(|word| word.parse().ok())
        .collect();
    let [held, may] = numbers[..] else {
        panic!("two numbers: {message}");
    };
    assert_eq!(may, limit, "{message}");
    assert!(held > limit && held < 4 * limit, "{message}");
}

/// Two orders, two questions, four steps.
fn orders(dir: &Path, orders: &str) -> Command {
    let mut command = bench(dir, "decoding-order", "orders");
    command
        .args(["--layers", "5", "--k", "8", "--orders", orders])
        .args(["--n-questions", "2", "--set", "shard_questions=1"])
        .args(["--dlm-steps", "4", "--max-new-tokens", "8"]);
    command
}

#[test]
fn row_41_a_bad_decoding_order_leaves_the_others_and_the_run_goes_on_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("orders");
    let all = "origin,order-segfaults,order-panics";
    let ran = run(&mut orders(dir.path(), all));
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    for order in ["order-segfaults", "order-panics"] {
        let blamed = format!("plugin `culprits`, remasker `{order}`, select: ");
        assert!(ran.stderr.contains(&blamed), "{}", ran.stderr);
    }
    assert!(ran.stderr.contains("4 cells failed"), "{}", ran.stderr);
    assert!(ran.stderr.contains("2 cells done"), "{}", ran.stderr);
    let without = succeed(&mut orders(dir.path(), "origin"));
    assert!(
        without.stderr.contains("nothing to do"),
        "{}",
        without.stderr
    );

    // A supervisor that is killed while a plugin hangs leaves no worker behind, and all it has
    // finished.
    let hung = tempfile::tempdir().unwrap();
    let hung_out = hung.path().join("orders");
    let mut child = start(&mut orders(hung.path(), "origin,order-hangs"));
    wait_for_cells(&hung_out, 2, &mut child);
    signal("-KILL", child.id());
    child.wait().unwrap();
    succeed(&mut orders(hung.path(), "origin"));
    let name = "decoding-order_summary.csv";
    assert_eq!(result(&hung_out, name), result(&out, name));
}

/// A folder with a good plugin.
fn with_good(dir: &Path) -> PathBuf {
    let plugins = dir.join("plugins");
    install_bad(&plugins, "good", &["metric"]);
    plugins
}

fn list(dir: &Path, plugins: &Path, args: &[&str]) -> Ran {
    run(host(dir)
        .args(["plugins", "list", "--plugins"])
        .arg(plugins)
        .args(args))
}

/// What `tests/it/plugins` does not have: `refused.rs` has files that are no libraries,
/// `interface.rs` other interfaces.
#[test]
fn row_39_refused_before_anything_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = with_good(dir.path());
    let good = fs::read(library("good")).unwrap();
    let mut foreign = good.clone();
    foreign[18] = 243;
    for (id, bytes) in [
        ("foreign", &foreign),
        ("writable", &good),
        ("linked", &good),
    ] {
        let components = [("metric", id)];
        install(&plugins, id, &Manifest::new(id, &components), Some(bytes));
    }
    let everybody = fs::Permissions::from_mode(0o666);
    fs::set_permissions(plugins.join("writable/libplugin.so"), everybody).unwrap();
    let inside = plugins.join("linked/libplugin.so");
    let outside = dir.path().join("elsewhere.so");
    fs::rename(&inside, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &inside).unwrap();

    let ran = list(dir.path(), &plugins, &[]);
    assert_eq!(ran.code, 21, "{}", ran.stderr);
    for (id, reason) in [
        ("foreign", "built for another processor (ELF machine 243"),
        ("writable", "can be changed by anybody"),
        ("linked", "a link that leads out"),
    ] {
        let line = line_of(&ran.stderr, id);
        assert!(line.contains(reason), "{line}");
    }
    assert!(ran.stdout.contains("good"), "{}", ran.stdout);
}

#[test]
fn row_39_a_hash_that_is_not_in_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = with_good(dir.path());
    install_bad(&plugins, "unlawful", &["remasker", "steering"]);
    let unlocked = list(dir.path(), &plugins, &["--locked"]);
    assert_eq!(unlocked.code, 21);
    assert!(
        unlocked.stderr.contains("has no plugins.lock"),
        "{}",
        unlocked.stderr
    );

    succeed(
        host(dir.path())
            .args(["plugins", "lock", "--plugins"])
            .arg(&plugins),
    );
    let lock = fs::read_to_string(plugins.join("plugins.lock")).unwrap();
    assert!(!lock.contains(&dir.path().display().to_string()), "{lock}");
    assert_eq!(list(dir.path(), &plugins, &["--locked"]).code, 0);

    let path = plugins.join("good/libplugin.so");
    let hash = |bytes: &[u8]| harness_contract::canonical::sha256_hex(bytes);
    let mut bytes = fs::read(&path).unwrap();
    let before = hash(&bytes);
    bytes.push(0);
    fs::write(&path, &bytes).unwrap();
    let after = hash(&bytes);
    let ran = list(dir.path(), &plugins, &["--locked"]);
    assert_eq!(ran.code, 21);
    let line = line_of(&ran.stderr, "good");
    assert!(line.contains(&before) && line.contains(&after), "{line}");
    assert!(ran.stdout.contains("unlawful") && !ran.stdout.contains("good"));
    let warned = list(dir.path(), &plugins, &[]);
    assert_eq!(warned.code, 0, "{}", warned.stderr);
    assert!(warned.stderr.contains(&after) && warned.stdout.contains("good"));

    // A bench opens nothing at all.
    let shipped = dir.path().join("shipped");
    copy_folder(&root().join("plugins"), &shipped);
    succeed(
        host(dir.path())
            .args(["plugins", "lock", "--plugins"])
            .arg(&shipped),
    );
    let bench = |extra: &Path| {
        let mut command = host(dir.path());
        command
            .args(["bench", "fidelity", "--locked", "--plugins"])
            .arg(&shipped)
            .arg("--plugins")
            .arg(extra)
            .arg("--out")
            .arg(dir.path().join("out"))
            .args(["--rows", "dream-mask", "--layers", "5", "--k", "8"])
            .args(["--budget-tokens", "600", "--context-length", "48"]);
        run(&mut command)
    };
    let refused = bench(&plugins);
    assert_eq!(refused.code, 21, "{}", refused.stderr);
    assert!(refused.stderr.contains(&after), "{}", refused.stderr);
    assert!(!dir.path().join("out/cells").exists());
    assert_eq!(bench(&shipped).code, 0);
}

/// A library that ends whoever opens it is looked at by a process that can be spared.
#[test]
fn row_39_opening_a_library_that_ends_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    install_bad(&plugins, "aborts_on_open", &["sae"]);
    let good = fs::read(library("culprits")).unwrap();
    install(
        &plugins,
        "culprits",
        &Manifest::new("culprits", CULPRITS),
        Some(&good),
    );
    let listed = list(dir.path(), &plugins, &[]);
    assert_eq!(listed.code, 21, "{}", listed.stderr);
    let line = line_of(&listed.stderr, "aborts_on_open");
    assert!(line.contains("signal 6 (SIGABRT"), "{line}");
    assert!(listed.stdout.contains("behaves"), "{}", listed.stdout);
    let cache = fs::read_to_string(dir.path().join("cache/opened_plugins.json")).unwrap();
    let hash = |path: &Path| harness_contract::canonical::sha256_hex(&fs::read(path).unwrap());
    assert!(cache.contains(&hash(&plugins.join("culprits/libplugin.so"))));
    assert!(!cache.contains(&hash(&plugins.join("aborts_on_open/libplugin.so"))));

    let ran = run(&mut grid(dir.path(), "behaves"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        ran.stderr.matches("ended its process").count(),
        1,
        "{}",
        ran.stderr
    );
    let needed = run(&mut grid(dir.path(), "aborts-on-open"));
    assert_eq!(needed.code, 21, "{}", needed.stderr);
    assert!(
        needed.stderr.contains("signal 6 (SIGABRT"),
        "{}",
        needed.stderr
    );
    let check = run(host(dir.path())
        .args(["plugins", "check"])
        .arg(plugins.join("aborts_on_open")));
    assert_eq!(check.code, 21, "{}", check.stderr);
    assert!(check.stdout.contains("crashed"), "{}", check.stdout);
}

#[test]
fn row_42_plugins_of_the_same_name_are_both_refused_and_both_named() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    let bytes = fs::read(library("good")).unwrap();
    let components: &[(&str, &str)] = &[("metric", "good")];
    for twin in ["first", "second"] {
        install(
            &plugins,
            twin,
            &Manifest::new("good", components),
            Some(&bytes),
        );
    }
    install_bad(&plugins, "unlawful", &["remasker", "steering"]);
    let ran = list(dir.path(), &plugins, &[]);
    assert_eq!(ran.code, 21, "{}", ran.stderr);
    assert!(
        ran.stdout.contains("unlawful"),
        "the others are listed: {}",
        ran.stdout
    );
    assert!(
        !ran.stdout.contains("good"),
        "neither twin is: {}",
        ran.stdout
    );
    for (one, other) in [("first", "second"), ("second", "first")] {
        let names_both = |line: &&str| {
            let at = |name: &str| line.find(&format!("/{name}/"));
            at(one)
                .zip(at(other))
                .is_some_and(|(one, other)| one < other)
        };
        assert!(
            ran.stderr.lines().any(|line| names_both(&line)),
            "{one} is refused naming {other}: {}",
            ran.stderr
        );
    }
}
