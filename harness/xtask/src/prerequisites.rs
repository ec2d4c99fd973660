//! What has to be on the machine already, and the command that puts it there.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::python;
use crate::workspace::Workspace;

/// Something the build cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prerequisite {
    /// A Python 3 interpreter, to fetch and unpack libtorch.
    Python,
    /// Its pip.
    Pip,
    /// A C++17 compiler, for the binding of libtorch and for the tokenizer's regex library.
    Compiler,
}

impl Prerequisite {
    /// What is missing, why it is needed, and the command that cures it.
    pub fn message(self) -> String {
        let (what, debian, fedora, macos) = match self {
            Self::Python => (
                "python3 is not installed; it fetches libtorch",
                "apt-get install python3 python3-pip",
                "dnf install python3 python3-pip",
                "brew install python",
            ),
            Self::Pip => (
                "python3 has no pip; it fetches libtorch",
                "apt-get install python3-pip",
                "dnf install python3-pip",
                "python3 -m ensurepip",
            ),
            Self::Compiler => (
                "no C++ compiler; the binding of libtorch is compiled from C++",
                "apt-get install g++",
                "dnf install gcc-c++",
                "xcode-select --install",
            ),
        };
        let mut text = format!(
            "{what}. Install it with\n    {debian}      (Debian, Ubuntu)\n    {fedora}      (Fedora)\n    {macos}      (macOS)"
        );
        match self {
            Self::Python | Self::Pip => text.push_str("\nor point LIBTORCH at a libtorch 2.11.0 you already have, or set LIBTORCH_USE_PYTORCH=1 to use an installed torch 2.11.0."),
            Self::Compiler => text.push_str("\nor set CXX to the compiler's name."),
        }
        text
    }
}

/// Checks that Python and pip answer.
///
/// # Errors
/// With the message of what is missing.
pub fn need_pip(ws: &Workspace) -> Result<()> {
    if !answers(python::interpreter(ws).arg("--version")) {
        bail!(Prerequisite::Python.message());
    }
    if !answers(python::interpreter(ws).args(["-m", "pip", "--version"])) {
        bail!(Prerequisite::Pip.message());
    }
    Ok(())
}

/// Checks that the C++ compiler that the `cc` crate will call answers.
///
/// # Errors
/// With the message of what is missing.
pub fn need_compiler(ws: &Workspace) -> Result<()> {
    let named = std::env::var("CXX")
        .ok()
        .filter(|name| !name.trim().is_empty());
    let line = named.as_deref().unwrap_or("c++");
    // CXX may carry a wrapper or flags: `ccache g++ -m64`.
    let mut words = line.split_whitespace();
    let found = words
        .next()
        .is_some_and(|program| answers(ws.command(program).args(words).arg("--version")));
    if !found {
        let named = named.map_or(String::new(), |cxx| format!("CXX={cxx} does not answer: "));
        bail!("{named}{}", Prerequisite::Compiler.message());
    }
    Ok(())
}

fn answers(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_names_the_command_that_cures_it() {
        for (missing, cure) in [
            (Prerequisite::Python, "apt-get install python3"),
            (Prerequisite::Pip, "apt-get install python3-pip"),
            (Prerequisite::Compiler, "apt-get install g++"),
        ] {
            assert!(missing.message().contains(cure), "{missing:?}");
        }
        assert!(
            Prerequisite::Pip
                .message()
                .contains("LIBTORCH_USE_PYTORCH=1")
        );
    }
}
