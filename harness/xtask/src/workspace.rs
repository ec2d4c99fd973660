//! Where the repository is, and how child processes are started from it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result, bail};

/// The checkout this xtask belongs to.
pub struct Workspace {
    /// The folder that holds the workspace's Cargo.toml.
    pub root: PathBuf,
    /// Where cargo puts what it builds.
    pub target: PathBuf,
}

impl Workspace {
    /// Finds the checkout from where cargo says this package lies, so that a moved clone still
    /// works.
    ///
    /// # Errors
    /// When the folder two levels up holds no Cargo.toml.
    pub fn find() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = match package.ancestors().nth(2) {
            Some(root) if root.join("Cargo.toml").is_file() => root.to_path_buf(),
            _ => bail!(
                "no workspace above {}; start this with `cargo xtask` inside the repository",
                package.display()
            ),
        };
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => env::current_dir()
                .context("the current folder cannot be read")?
                .join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The link (or folder) through which cargo and the built programs find libtorch.
    pub fn libtorch_link(&self) -> PathBuf {
        self.root.join(".libtorch")
    }

    /// The user's own `LIBTORCH`. `.cargo/config.toml` sets the variable to `.libtorch` for this
    /// process; that does not count.
    pub fn explicit_libtorch(&self) -> Option<PathBuf> {
        let value = env::var_os("LIBTORCH").filter(|v| !v.is_empty())?;
        let path = PathBuf::from(value);
        (path != self.libtorch_link()).then_some(path)
    }

    /// A cargo command in the repository's root.
    pub fn cargo(&self) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = self.command(cargo);
        command.current_dir(&self.root);
        command
    }

    /// A command that sees the environment as the user's shell has it.
    ///
    /// `cargo run` adds variables for this program; build scripts that watch them would run anew
    /// each time one switches between `cargo xtask build` and `cargo build`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(set_by_cargo_run) {
                command.env_remove(name);
            }
        }
        match self.explicit_libtorch() {
            // torch-sys resolves the path from its own folder, so a relative one must not reach it.
            Some(path) => command.env("LIBTORCH", path.canonicalize().unwrap_or(path)),
            None => command.env_remove("LIBTORCH"),
        };
        if let Some(value) = env::var_os("LD_LIBRARY_PATH") {
            match library_path_of_user(&value, &self.target) {
                Some(kept) => command.env("LD_LIBRARY_PATH", kept),
                None => command.env_remove("LD_LIBRARY_PATH"),
            };
        }
        command
    }
}

fn set_by_cargo_run(name: &str) -> bool {
    let exact = [
        "CARGO",
        "CARGO_BIN_NAME",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "OUT_DIR",
    ];
    exact.contains(&name) || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// `LD_LIBRARY_PATH` without the folders cargo put in front: those of the build and of the
/// compiler.
fn library_path_of_user(value: &OsStr, target: &Path) -> Option<OsString> {
    let kept: Vec<PathBuf> = env::split_paths(value)
        .filter(|dir| !dir.as_os_str().is_empty() && !dir.starts_with(target))
        .filter(|dir| {
            !dir.components()
                .any(|c| matches!(c.as_os_str().to_str(), Some("rustlib" | "toolchains")))
        })
        .collect();
    if kept.is_empty() {
        None
    } else {
        env::join_paths(kept).ok()
    }
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started or does not succeed; `what` names it in the message.
pub fn succeed(command: &mut Command, what: &str) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("{what} cannot be started"))?;
    if !status.success() {
        bail!("{what} failed ({status})");
    }
    Ok(())
}

/// Becomes the command where the system allows it, so that signals and the exit code are the
/// command's own.
///
/// # Errors
/// When the program cannot be started.
pub fn become_command(command: &mut Command) -> Result<ExitCode> {
    let program = command.get_program().to_os_string();
    let failed = |error: std::io::Error| {
        anyhow::Error::new(error).context(format!(
            "{} cannot be started",
            Path::new(&program).display()
        ))
    };
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        Err(failed(command.exec()))
    }
    #[cfg(not(unix))]
    {
        Ok(exit_code(command.status().map_err(failed)?))
    }
}

/// A child's exit code as ours; 1 where a signal ended it.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_cargo_run_are_told_from_the_users() {
        for name in [
            "CARGO",
            "CARGO_PKG_NAME",
            "CARGO_MANIFEST_DIR",
            "CARGO_BIN_NAME",
        ] {
            assert!(set_by_cargo_run(name), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_TERM_COLOR",
            "CARGO_NET_OFFLINE",
            "PATH",
            "LIBTORCH",
        ] {
            assert!(!set_by_cargo_run(name), "{name}");
        }
    }

    #[test]
    fn library_path_keeps_only_what_the_user_put_there() {
        let target = Path::new("/src/target");
        let value = OsStr::new(
            "/src/target/debug/deps:/src/target/debug:/opt/rust/lib/rustlib/x/lib:/opt/cuda/lib",
        );
        assert_eq!(
            library_path_of_user(value, target),
            Some(OsString::from("/opt/cuda/lib"))
        );
        assert_eq!(
            library_path_of_user(OsStr::new("/src/target/debug:"), target),
            None
        );
    }
}
