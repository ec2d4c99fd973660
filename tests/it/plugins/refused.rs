//! Plugins that are refused: with the reason and exit code 21, the others still listed.

use std::fs;

use super::bench::{Manifest, harness, install, install_bad, library, line_of};

const GOOD: &[(&str, &str)] = &[("metric", "good")];

#[test]
fn every_refused_plugin_is_named_with_its_reason_and_the_others_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path();
    let good = fs::read(library("good")).unwrap();
    install_bad(plugins, "good", &["metric"]);

    let manifest = |id: &'static str| Manifest::new(id, GOOD);
    install(plugins, "missing", &manifest("missing"), None);
    install(
        plugins,
        "truncated",
        &named("truncated"),
        Some(&good[..good.len() / 2]),
    );
    install(plugins, "headless", &named("headless"), Some(&good[..40]));
    install(
        plugins,
        "text",
        &named("text"),
        Some(b"version https://git-lfs.github.com/spec/v1\n"),
    );
    install(
        plugins,
        "executable",
        &named("executable"),
        Some(&executable()),
    );
    let nothing = fs::read(library("exports_nothing")).unwrap();
    install(plugins, "nothing", &named("nothing"), Some(&nothing));
    fs::create_dir(plugins.join("broken")).unwrap();
    fs::write(plugins.join("broken/plugin.toml"), "id = \"broken\nversion").unwrap();

    let ran = harness(folder.path(), &["plugins", "list", "--plugins", "."]);
    assert_eq!(ran.code, 21, "{ran:?}");
    assert!(
        ran.out
            .lines()
            .any(|line| line.starts_with("metric") && line.contains("good"))
    );
    for (folder, reason) in [
        ("missing", "is missing"),
        ("truncated", "libplugin.so"),
        ("headless", "ELF"),
        ("text", "ELF"),
        ("executable", "not a shared library"),
        ("nothing", "exports no plugin"),
        ("broken", "plugin.toml"),
    ] {
        let line = line_of(&ran.err, folder);
        assert!(
            line.contains("refused") && line.contains(reason),
            "{folder}: {line}"
        );
    }
}

/// A manifest whose component is called like the plugin.
fn named(id: &'static str) -> Manifest<'static> {
    let components: &'static [(&str, &str)] = match id {
        "truncated" => &[("metric", "truncated")],
        "headless" => &[("metric", "headless")],
        "text" => &[("metric", "text")],
        "executable" => &[("metric", "executable")],
        _ => &[("metric", "nothing")],
    };
    Manifest::new(id, components)
}

/// An ELF header of a program, not of a library.
fn executable() -> Vec<u8> {
    let mut bytes = fs::read(library("good")).unwrap();
    bytes[16] = 2;
    bytes
}

#[test]
fn a_manifest_that_disagrees_with_its_library_is_refused() {
    let bytes = fs::read(library("good")).unwrap();
    let other: &[(&str, &str)] = &[("metric", "other")];
    let more: &[(&str, &str)] = &[("metric", "good"), ("judge", "good")];
    let kind: &[(&str, &str)] = &[("judge", "good")];
    let base = || Manifest::new("good", GOOD);
    let cases = [
        (
            "id",
            Manifest {
                id: "impostor",
                ..base()
            },
        ),
        (
            "version",
            Manifest {
                version: "9.9.9",
                ..base()
            },
        ),
        (
            "components",
            Manifest {
                components: other,
                ..base()
            },
        ),
        (
            "components",
            Manifest {
                components: more,
                ..base()
            },
        ),
        (
            "components",
            Manifest {
                components: kind,
                ..base()
            },
        ),
        (
            "libtorch",
            Manifest {
                more: "torch = \"2.11.0\"",
                ..base()
            },
        ),
        (
            "libtorch",
            Manifest {
                more: "torch = \"1.0.0\"",
                ..base()
            },
        ),
        (
            "interface",
            Manifest {
                abi: "1.7",
                ..base()
            },
        ),
        (
            "interface",
            Manifest {
                abi: "2.0",
                ..base()
            },
        ),
        (
            "built for",
            Manifest {
                more: "target = \"riscv64gc-unknown-linux-gnu\"",
                ..base()
            },
        ),
    ];
    for (reason, manifest) in cases {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path(), "differs", &manifest, Some(&bytes));
        let ran = harness(folder.path(), &["plugins", "list", "--plugins", "."]);
        assert_eq!(ran.code, 21, "{reason}: {ran:?}");
        assert!(ran.err.contains(reason), "{reason}: {}", ran.err);
        assert!(!ran.out.contains("good"), "{reason}: {}", ran.out);
    }
}
