//! `harness plugins new`: a crate for a plugin, from the template that is compiled and tested with
//! the workspace.

use std::{env, fs, path::PathBuf};

use clap::{Args, ValueEnum};
use harness_contract::exit;

use crate::{failure::Failure, output, root::Root};

/// Names the folder of harness-sdk to build against.
const SDK_VARIABLE: &str = "HARNESS_SDK";

macro_rules! template {
    ($file:literal) => {
        include_str!(concat!("../../../../../plugins/template/kinds/", $file))
    };
}

#[derive(Args, Debug)]
pub struct NewArgs {
    /// Name of the plugin, of its folder and of its component
    name: String,
    /// What it is
    #[arg(long)]
    kind: Kind,
    /// Folder in which the plugin's folder is made
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
}

/// The kinds of plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Reads a family of checkpoints
    Model,
    /// Reads, applies and perhaps trains SAEs
    Sae,
    /// Decides which masked positions are revealed
    Remasker,
    /// Decides where and how strongly a direction is added
    Steering,
    /// Turns measurements into numbers
    Metric,
    /// Explains features and scores texts
    Judge,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Model => "model",
            Kind::Sae => "sae",
            Kind::Remasker => "remasker",
            Kind::Steering => "steering",
            Kind::Metric => "metric",
            Kind::Judge => "judge",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Kind::Model => template!("model.rs"),
            Kind::Sae => template!("sae.rs"),
            Kind::Remasker => template!("remasker.rs"),
            Kind::Steering => template!("steering.rs"),
            Kind::Metric => template!("metric.rs"),
            Kind::Judge => template!("judge.rs"),
        }
    }

    /// What the template's component says about itself: the manifest must say the same.
    fn summary(self) -> &'static str {
        let exported = self
            .source()
            .split_once("components: [")
            .map_or("", |(_, rest)| rest);
        exported.split('"').nth(3).unwrap_or_default()
    }
}

pub fn run(args: &NewArgs) -> Result<u8, Failure> {
    check_name(&args.name)?;
    let sdk = sdk()?;
    let dir = args.path.join(&args.name);
    let fail = |error: std::io::Error| {
        Failure::new(
            exit::CANNOT_WRITE,
            format!("cannot write {}: {error}", dir.display()),
        )
    };
    fs::create_dir_all(&args.path).map_err(fail)?;
    fs::create_dir(&dir).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let message = format!("{} exists already and is left as it is", dir.display());
            Failure::new(exit::CANNOT_WRITE, message).hint("choose another name, or remove it")
        }
        _ => fail(error),
    })?;
    fs::create_dir(dir.join("src")).map_err(fail)?;
    for (name, text) in files(&args.name, args.kind, &sdk.display().to_string()) {
        fs::write(dir.join(name), text).map_err(fail)?;
    }
    // The versions that the host was built with; without them cargo chooses newer ones, which are
    // as good.
    if let Some(lock) = sdk
        .ancestors()
        .map(|dir| dir.join("Cargo.lock"))
        .find(|lock| lock.is_file())
    {
        fs::copy(lock, dir.join("Cargo.lock")).map_err(fail)?;
    }
    output::result(&format!("made {}", dir.display()))?;
    let shown = dir.display();
    output::talk(&format!(
        "{} cd {shown} && cargo build --release && harness plugins check .",
        output::bold("next:")
    ));
    Ok(exit::OK)
}

/// Files of the crate with their texts.
fn files(name: &str, kind: Kind, sdk: &str) -> [(&'static str, String); 5] {
    let fill = |text: &str| {
        text.replace("@NAME@", name)
            .replace("@LIB@", &name.replace('-', "_"))
            .replace("@KIND@", kind.name())
            .replace("@SUMMARY@", kind.summary())
            .replace("@SDK@", sdk)
    };
    let mut manifest = fill(template!("plugin.toml.txt"));
    if kind == Kind::Model {
        let summary = format!("summary = \"{}\"\n", kind.summary());
        let with_types = format!("{summary}model_types = [\"{name}\"]\n");
        manifest = manifest.replace(&summary, &with_types);
    }
    [
        ("src/lib.rs", kind.source().replace("template", name)),
        ("Cargo.toml", fill(template!("Cargo.toml.txt"))),
        ("plugin.toml", manifest),
        ("README.md", fill(template!("README.md.txt"))),
        (".gitignore", "/target\n".to_owned()),
    ]
}

/// The SDK to build against: the one named, or the one of the tree that built this program.
fn sdk() -> Result<PathBuf, Failure> {
    let named = env::var_os(SDK_VARIABLE).filter(|dir| !dir.is_empty());
    let dir = match named {
        Some(dir) => PathBuf::from(dir),
        None => Root::find()?.dir.join("harness/sdk"),
    };
    match dir.canonicalize() {
        Ok(dir) if dir.join("Cargo.toml").is_file() => Ok(dir),
        _ => Err(Failure::new(
            exit::CONFIG,
            format!("{} is not the folder of harness-sdk", dir.display()),
        )
        .hint(format!(
            "set {SDK_VARIABLE} to harness/sdk of the repository"
        ))),
    }
}

/// A name that is a package name, an identifier with `-` as `_`, and a folder name on every system.
fn check_name(name: &str) -> Result<(), Failure> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let is_plain = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    const TAKEN: [&str; 13] = [
        "test",
        "core",
        "std",
        "alloc",
        "self",
        "super",
        "crate",
        "build",
        "deps",
        "examples",
        "incremental",
        "con",
        "nul",
    ];
    if starts_well && is_plain && name.len() <= 64 && !TAKEN.contains(&name) {
        return Ok(());
    }
    let message = format!(
        "`{}` cannot be the name of a plugin",
        output::sanitize(name)
    );
    Err(Failure::new(exit::USAGE, message).hint(
        "use lower-case letters, digits, `-` and `_`, starting with a letter; no word that Rust or cargo uses",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_contract::plugin::Manifest;

    #[test]
    fn the_manifest_agrees_with_the_source() {
        for kind in Kind::value_variants() {
            let [(_, source), (_, cargo), (_, manifest), ..] = files("my-own", *kind, "/sdk");
            let manifest = Manifest::parse(&manifest).unwrap();
            let component = &manifest.components[0];
            assert_eq!(
                (
                    manifest.id.as_str(),
                    component.kind.as_str(),
                    component.name.as_str()
                ),
                ("my-own", kind.name(), "my-own")
            );
            assert_eq!(manifest.library, "libmy_own.so");
            assert!(!component.summary.is_empty(), "{kind:?}");
            assert!(
                source.contains(&format!("\"{}\"", component.summary)),
                "{kind:?}"
            );
            assert!(source.contains("id: \"my-own\""), "{kind:?}");
            assert!(cargo.contains("path = \"/sdk\""));
            assert_eq!(component.model_types.is_empty(), *kind != Kind::Model);
            assert!(!(source + &cargo).contains('@'), "{kind:?}: a mark is left");
        }
    }

    #[test]
    fn names_that_no_crate_can_have_are_refused() {
        for good in ["demo", "my-metric", "a2_b"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "Demo",
            "2x",
            "-x",
            "a/b",
            "../x",
            "a b",
            "crate",
            "größe",
            "a\u{1b}[2J",
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
