//! Plugins built against another version of the interface. Each version is made from today's
//! sources by substitution, so that a change of the interface shows here.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use super::bench::{Manifest, cargo, harness, install, root, succeed, target};

/// Text in place of text, in one file below the repository's root.
struct Change {
    file: &'static str,
    /// From the first occurrence of this ...
    from: &'static str,
    /// ... to the next occurrence of this, which stays ...
    to: &'static str,
    /// ... this is put.
    put: &'static str,
}

const ABI_MODEL: &str = "harness/abi/src/model.rs";
const ABI_LIB: &str = "harness/abi/src/lib.rs";
const ABI_CRATE: &str = "harness/abi/Cargo.toml";
const ABI_REMASK: &str = "harness/abi/src/remask.rs";
const ABI_JUDGE: &str = "harness/abi/src/judge.rs";
const SDK_LIB: &str = "harness/sdk/src/lib.rs";
const SDK_REMASK: &str = "harness/sdk/src/remask.rs";
const SDK_JUDGE: &str = "harness/sdk/src/judge.rs";

/// Interface 1.0: remaskers without `features`, judges without `complete_each` and batches.
const OLDER: &[Change] = &[
    Change {
        file: ABI_LIB,
        from: "FeatureView, ",
        to: "RemaskNeeds",
        put: "",
    },
    Change {
        file: ABI_LIB,
        from: "(u16, u16) = (1, 3);",
        to: "",
        put: "(u16, u16) = (1, 0);\n",
    },
    Change {
        file: ABI_CRATE,
        from: "version = \"1.3.0\"",
        to: "\n",
        put: "version = \"1.0.0\"",
    },
    Change {
        file: ABI_REMASK,
        from: "    /// Statistics of SAE features: [",
        to: "}\n",
        put: "",
    },
    Change {
        file: ABI_REMASK,
        from: "/// How SAE features changed",
        to: "/// Decides which masked",
        put: "",
    },
    Change {
        file: ABI_REMASK,
        from: "\n    /// Statistics of SAE features in this pass",
        to: "}\n\n/// A remasker as it crosses the boundary.",
        put: "",
    },
    Change {
        file: SDK_LIB,
        from: "Features, ",
        to: "Remasker",
        put: "",
    },
    Change {
        file: SDK_REMASK,
        from: "FeatureView, ",
        to: "RemaskNeeds",
        put: "",
    },
    Change {
        file: SDK_REMASK,
        from: "/// How SAE features changed",
        to: "/// Decides which masked",
        put: "",
    },
    Change {
        file: SDK_REMASK,
        from: "\n    /// Takes the statistics of SAE features",
        to: "}\n\n/// Wraps an author's remasker",
        put: "",
    },
    Change {
        file: SDK_REMASK,
        from: "\n    fn features(&mut self, view: FeatureView<'_>)",
        to: "",
        put: "}\n",
    },
    Change {
        file: ABI_LIB,
        from: "BatchProgress, BatchState, ",
        to: "Judge, Judge_TO",
        put: "",
    },
    Change {
        file: ABI_LIB,
        from: ", ReplySink, ReplySink_TO, ReplySinkMut,\n",
        to: "};",
        put: ",\n",
    },
    Change {
        file: ABI_JUDGE,
        from: "/// Takes replies as they come.",
        to: "/// Answers questions about texts.",
        put: "",
    },
    Change {
        file: ABI_JUDGE,
        from: "\n    /// As `complete`, but each reply",
        to: "}\n\n/// A judge as it crosses the boundary.",
        put: "",
    },
    Change {
        file: SDK_LIB,
        from: "BatchProgress, Judge, ",
        to: "JudgeIdentity",
        put: "Judge, ",
    },
    Change {
        file: SDK_JUDGE,
        from: ", ReplySinkMut};",
        to: "\n",
        put: "};",
    },
    Change {
        file: SDK_JUDGE,
        from: "\n    /// As [`Judge::complete`], but each reply",
        to: "}\n\n/// Replies, one for each request.",
        put: "",
    },
    Change {
        file: SDK_JUDGE,
        from: "\n    fn complete_each(\n        &mut self,\n        requests: RSlice",
        to: "}\n\nfn request(raw",
        put: "",
    },
];

/// Interface 1.1: judges without batches.
const WITHOUT_BATCHES: &[Change] = &[
    Change {
        file: ABI_LIB,
        from: "BatchProgress, BatchState, ",
        to: "Judge, Judge_TO",
        put: "",
    },
    Change {
        file: ABI_LIB,
        from: "(u16, u16) = (1, 3);",
        to: "",
        put: "(u16, u16) = (1, 1);\n",
    },
    Change {
        file: ABI_CRATE,
        from: "version = \"1.3.0\"",
        to: "\n",
        put: "version = \"1.1.0\"",
    },
    Change {
        file: ABI_JUDGE,
        from: "/// Whether a batch is still worked on",
        to: "/// Answers questions about texts.",
        put: "",
    },
    Change {
        file: ABI_JUDGE,
        from: "\n    /// Hands questions over as one batch",
        to: "}\n\n/// A judge as it crosses the boundary.",
        put: "",
    },
    Change {
        file: SDK_LIB,
        from: "BatchProgress, Judge, ",
        to: "JudgeIdentity",
        put: "Judge, ",
    },
    Change {
        file: SDK_JUDGE,
        from: "\n    /// Hands questions over as one batch",
        to: "}\n\n/// Replies, one for each request.",
        put: "",
    },
    Change {
        file: SDK_JUDGE,
        from: "\n    fn submit(\n        &mut self,\n        requests: RSlice",
        to: "}\n\nfn request(raw",
        put: "",
    },
];

/// Interface 1.2: judges that say nothing of what they have learnt.
const WITHOUT_LEARNT: &[Change] = &[
    Change {
        file: ABI_LIB,
        from: "(u16, u16) = (1, 3);",
        to: "",
        put: "(u16, u16) = (1, 2);\n",
    },
    Change {
        file: ABI_CRATE,
        from: "version = \"1.3.0\"",
        to: "\n",
        put: "version = \"1.2.0\"",
    },
    Change {
        file: ABI_JUDGE,
        from: "\n    /// What the judge has learnt",
        to: "}\n\n/// A judge as it crosses the boundary.",
        put: "",
    },
    Change {
        file: SDK_JUDGE,
        from: "\n    /// What was learnt of the server",
        to: "}\n\n/// Replies, one for each request.",
        put: "",
    },
    Change {
        file: SDK_JUDGE,
        from: "\n    fn learnt(&self) -> AbiResult",
        to: "}\n\nfn request(raw",
        put: "",
    },
];

/// The next minor version: methods are appended with default bodies.
const NEWER: &[Change] = &[
    Change {
        file: ABI_MODEL,
        from: "}\n\n/// A batch under way as it crosses the boundary.",
        to: "/// A batch under way as it crosses the boundary.",
        put: "\n    /// Appended in a later minor version.\n    fn appended(&self) -> u32 {\n        7\n    }\n}\n\n",
    },
    Change {
        file: ABI_REMASK,
        from: "}\n\n/// A remasker as it crosses the boundary.",
        to: "/// A remasker as it crosses the boundary.",
        put: "\n    /// Appended in a later minor version.\n    fn appended(&self) -> u32 {\n        7\n    }\n}\n\n",
    },
    Change {
        file: ABI_JUDGE,
        from: "}\n\n/// A judge as it crosses the boundary.",
        to: "/// A judge as it crosses the boundary.",
        put: "\n    /// Appended in a later minor version.\n    fn appended(&self) -> u32 {\n        7\n    }\n}\n\n",
    },
    Change {
        file: ABI_LIB,
        from: "(u16, u16) = (1, 3);",
        to: "",
        put: "(u16, u16) = (1, 4);\n",
    },
    Change {
        file: ABI_CRATE,
        from: "version = \"1.3.0\"",
        to: "\n",
        put: "version = \"1.4.0\"",
    },
];

/// The next major version.
const MAJOR: &[Change] = &[
    Change {
        file: ABI_LIB,
        from: "(u16, u16) = (1, 3);",
        to: "",
        put: "(u16, u16) = (2, 0);\n",
    },
    Change {
        file: ABI_CRATE,
        from: "version = \"1.3.0\"",
        to: "\n",
        put: "version = \"2.0.0\"",
    },
];

/// A changed type under the same version number.
const CHANGED: &[Change] = &[Change {
    file: ABI_REMASK,
    from: "pub struct RemaskNeeds(pub u64);",
    to: "\n",
    put: "pub struct RemaskNeeds(pub u32);",
}];

/// A plugin's source and what it offers.
struct Source {
    file: &'static str,
    /// The word in quotes that names plugin and component.
    called: &'static str,
    kind: &'static str,
}

const METRIC: &Source = &Source {
    file: "tests/bad_plugins/examples/good.rs",
    called: "\"good\"",
    kind: "metric",
};

const REMASKER: &Source = &Source {
    file: "plugins/template/kinds/remasker.rs",
    called: "\"template\"",
    kind: "remasker",
};

const JUDGE: &Source = &Source {
    file: "plugins/template/kinds/judge.rs",
    called: "\"template\"",
    kind: "judge",
};

/// Copies the interface and the SDK, changes them and builds a plugin against them. Returns its
/// library.
fn build(name: &str, source: &Source, changes: &[Change], patch: u32) -> Vec<u8> {
    // Two cargos in one target folder would wait for each other anyway.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let tree = target().join("interfaces").join(name);
    for part in ["harness/abi", "harness/sdk"] {
        copy(&root().join(part), &tree.join(part));
    }
    for change in changes {
        apply(&tree, change);
    }
    // Cargo tells packages of the same name, version and place in their workspace apart by nothing
    // else: without a version of its own, one interface would be taken for another that was built
    // before.
    let abi_crate = tree.join(ABI_CRATE);
    let abi = fs::read_to_string(&abi_crate).unwrap();
    fs::write(&abi_crate, with_patch(&abi, patch)).unwrap();
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let workspace = with_patch(&workspace, patch);
    let (_, shared) = workspace.split_once("[workspace.package]").unwrap();
    let members = "[workspace]\nresolver = \"3\"\nmembers = [\"harness/*\", \"plugin\"]\n";
    fs::write(
        tree.join("Cargo.toml"),
        format!("{members}\n[workspace.package]{shared}"),
    )
    .unwrap();
    fs::copy(
        root().join("tests/bad_plugins/Cargo.lock"),
        tree.join("Cargo.lock"),
    )
    .unwrap();
    fs::create_dir_all(tree.join("plugin/src")).unwrap();
    let package = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\n\
         [dependencies]\nharness-sdk = {{ path = \"../harness/sdk\" }}\nserde_json = \"1.0\"\n"
    );
    fs::write(tree.join("plugin/Cargo.toml"), package).unwrap();
    let source = fs::read_to_string(root().join(source.file))
        .unwrap()
        .replace(source.called, &format!("\"{name}\""));
    fs::write(tree.join("plugin/src/lib.rs"), source).unwrap();
    succeed(
        cargo()
            .current_dir(&tree)
            .args(["build", "--offline", "-p", name, "--target-dir"])
            .arg(target()),
    );
    fs::read(target().join(format!("debug/lib{name}.so"))).unwrap()
}

/// A manifest with another last part of its first version.
fn with_patch(manifest: &str, patch: u32) -> String {
    let (before, rest) = manifest.split_once("\nversion = \"").unwrap();
    let (version, after) = rest.split_once('"').unwrap();
    let (version, _) = version.rsplit_once('.').unwrap();
    format!("{before}\nversion = \"{version}.{patch}\"{after}")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target: PathBuf = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn apply(tree: &Path, change: &Change) {
    let file = tree.join(change.file);
    let text = fs::read_to_string(&file).unwrap();
    let at = text.find(change.from).unwrap_or_else(|| {
        panic!(
            "{} has no {:?}: the interface has changed",
            change.file, change.from
        )
    });
    let end = if change.to.is_empty() {
        text.len()
    } else {
        at + text[at..].find(change.to).unwrap()
    };
    let text = format!("{}{}{}", &text[..at], change.put, &text[end..]);
    fs::write(file, text).unwrap();
}

/// Lists a plugin built against another interface, whose manifest names it.
fn list(
    name: &str,
    source: &Source,
    changes: &[Change],
    patch: u32,
    abi: &str,
) -> super::bench::Ran {
    let folder = tempfile::tempdir().unwrap();
    let bytes = build(name, source, changes, patch);
    let components = [(source.kind, name)];
    let manifest = Manifest {
        abi,
        ..Manifest::new(name, &components)
    };
    install(folder.path(), name, &manifest, Some(&bytes));
    super::bench::install_bad(folder.path(), "good", &["metric"]);
    let ran = harness(folder.path(), &["plugins", "list", "--plugins", "."]);
    assert!(
        ran.out.lines().any(|line| line.contains("good")),
        "the others are listed: {ran:?}"
    );
    if ran.code == 0 {
        let check = harness(folder.path(), &["plugins", "check", name]);
        assert_eq!(check.code, 0, "what loads works: {check:?}");
    }
    ran
}

/// Kinds whose own trait has grown since, and one where it has not. [`list`] runs their checks,
/// which call `features` of every remasker, and `complete_each`, `find` and `submit` of every
/// offline judge.
#[test]
fn an_older_plugin_loads() {
    for (name, source, changes, patch, abi) in [
        ("older_interface", METRIC, OLDER, 1, "1.0"),
        ("older_remasker", REMASKER, OLDER, 1, "1.0"),
        ("older_judge", JUDGE, OLDER, 1, "1.0"),
        ("judge_without_batches", JUDGE, WITHOUT_BATCHES, 5, "1.1"),
        ("judge_that_learns_nothing", JUDGE, WITHOUT_LEARNT, 6, "1.2"),
    ] {
        let ran = list(name, source, changes, patch, abi);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.out.contains(name), "{}", ran.out);
    }
}

#[test]
fn a_newer_compatible_plugin_loads() {
    for (name, source) in [
        ("newer_interface", METRIC),
        ("newer_remasker", REMASKER),
        ("newer_judge", JUDGE),
    ] {
        let ran = list(name, source, NEWER, 2, "1.4");
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.out.contains(name), "{}", ran.out);
    }
}

#[test]
fn a_plugin_of_another_major_version_is_refused() {
    let ran = list("major_interface", METRIC, MAJOR, 3, "2.0");
    assert_eq!(ran.code, 21, "{ran:?}");
    assert!(ran.err.contains("interface 2.0"), "{}", ran.err);
    assert!(!ran.out.contains("major_interface"), "{}", ran.out);
    // Nor does a manifest help that says otherwise.
    let ran = list("major_interface", METRIC, MAJOR, 3, "1.0");
    assert_eq!(ran.code, 21, "{ran:?}");
    assert!(ran.err.contains("2.0"), "{}", ran.err);
}

#[test]
fn a_changed_layout_under_the_same_version_is_refused() {
    let ran = list("changed_interface", METRIC, CHANGED, 4, "1.3");
    assert_eq!(ran.code, 21, "{ran:?}");
    assert!(ran.err.contains("interface differs"), "{}", ran.err);
}
