//! What the tests of plugins share: the host, built libraries, and folders of plugins.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// Root of the repository.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// A cargo that builds apart from this workspace.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo told this test is about this workspace.
    for (key, _) in env::vars_os() {
        let key_text = key.to_string_lossy();
        if key_text.starts_with("CARGO_") && key_text != "CARGO_HOME" || key_text == "RUSTFLAGS" {
            cargo.env_remove(&key);
        }
    }
    cargo
}

/// Runs a command and returns its output; it must succeed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Folder of the host: that of this test's profile. Host and worker are built when they are not
/// there.
fn host_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = env::current_exe().unwrap();
        let folder = test.parent().and_then(Path::parent).unwrap().to_path_buf();
        let is_missing = |name: &str| !folder.join(name).is_file();
        if is_missing("harness") || is_missing("harness-worker") {
            let mut build = cargo();
            build
                .current_dir(root())
                .args(["build", "-p", "harness", "-p", "harness-worker"]);
            if folder.ends_with("release") {
                build.arg("--release");
            }
            succeed(&mut build);
        }
        folder
    })
}

pub fn host_binary() -> PathBuf {
    host_folder().join("harness")
}

/// What a run of the host ended with.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs `harness` in a folder.
pub fn harness(folder: &Path, args: &[&str]) -> Ran {
    let output = Command::new(host_binary())
        .current_dir(folder)
        .args(args)
        .env_remove("HARNESS_PLUGINS")
        .env_remove("HARNESS_SDK")
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The library of one of tests/bad_plugins, built.
pub fn library(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let target = target();
        succeed(
            cargo()
                .current_dir(root().join("tests/bad_plugins"))
                .args(["build", "--offline", "--examples", "--target-dir"])
                .arg(&target),
        );
        target.join("debug/examples")
    });
    folder.join(format!("lib{name}.so"))
}

/// Where bad plugins and other interfaces are built: one folder, so that what they share is built
/// once.
pub fn target() -> PathBuf {
    root().join("target/bad_plugins")
}

/// What a `plugin.toml` says.
pub struct Manifest<'a> {
    pub id: &'a str,
    pub version: &'a str,
    pub abi: &'a str,
    /// Kind and name of each component.
    pub components: &'a [(&'a str, &'a str)],
    /// Further lines before the components.
    pub more: &'a str,
}

impl<'a> Manifest<'a> {
    /// A manifest that agrees with a plugin of this id, with these kinds of components of the same
    /// name.
    pub fn new(id: &'a str, components: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            id,
            version: "0.1.0",
            abi: "1.3",
            components,
            more: "",
        }
    }

    fn text(&self) -> String {
        let Self {
            id,
            version,
            abi,
            more,
            ..
        } = self;
        let mut text = format!(
            "id = \"{id}\"\nversion = \"{version}\"\nabi = \"{abi}\"\nlibrary = \"libplugin.so\"\n\
             license = \"MIT\"\nsummary = \"a plugin of the tests\"\n{more}\n"
        );
        for (kind, name) in self.components {
            text.push_str(&format!(
                "[[component]]\nkind = \"{kind}\"\nname = \"{name}\"\nsummary = \"of the tests\"\n"
            ));
        }
        text
    }
}

/// Writes `plugins/FOLDER/plugin.toml`, and the library beside it where there is one.
pub fn install(plugins: &Path, folder: &str, manifest: &Manifest<'_>, library: Option<&[u8]>) {
    let folder = plugins.join(folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("plugin.toml"), manifest.text()).unwrap();
    if let Some(bytes) = library {
        fs::write(folder.join("libplugin.so"), bytes).unwrap();
    }
}

/// Installs one of tests/bad_plugins under its own name.
pub fn install_bad(plugins: &Path, name: &str, kinds: &[&str]) {
    let id = name.replace('_', "-");
    let components: Vec<(&str, &str)> = kinds.iter().map(|kind| (*kind, id.as_str())).collect();
    let bytes = fs::read(library(name)).unwrap();
    install(
        plugins,
        name,
        &Manifest::new(&id, &components),
        Some(&bytes),
    );
}

/// The line that speaks of a folder.
pub fn line_of<'a>(text: &'a str, folder: &str) -> &'a str {
    let part = format!("/{folder}/");
    text.lines()
        .find(|line| line.contains(&part))
        .unwrap_or_else(|| panic!("nothing is said of {folder} in:\n{text}"))
}
