//! The text of `cargo xtask --help`.

/// The commands, as `dispatch` knows them.
const COMMANDS: &[&str] = &[
    "setup", "build", "bench", "run", "harness", "install", "bundle", "test", "tidy", "docs",
    "fuzz", "zoo", "golden", "help",
];

/// What `cargo xtask --help` prints.
pub const TEXT: &str = "\
cargo xtask: set-up, build, tests and checks of this repository

The shortest way to a result, from a fresh clone:
    cargo xtask bench table2 --plugins ./plugins

Usage: cargo xtask COMMAND [ARGUMENTS]

  setup               fetch libtorch 2.11.0 once into the user's cache and link it as .libtorch;
                      after that plain `cargo build` and `cargo test` work too
  build [--dev]       set-up, then host, worker and every plugin into target/release (target/debug with --dev)
  bench NAME …        build, then `harness bench NAME …`; same exit code
  run …               build, then `harness …` (also spelled `harness`)
  install [--root D]  build, then D/bin/harness and D/share/dlm-harness; D is ~/.local unless given
  bundle [--out FILE] [--with-models]
                      build, then one archive (.tar.xz) that runs without Rust on Linux on x86-64 beside
                      Python's torch 2.11.0; with the embedded models where asked
  test [ARGS]         build, then every test; the last line is `N passed, M failed, K skipped`
                      `cargo xtask test -p harness-core` one crate; after `--` what libtest takes
  tidy [--fix]        layering, file sizes, plugin manifests, the hash of the plugin interface; --fix records that hash anew
  docs [--check]      build, then write the pages of docs/reference that come from the code; --check compares them
  fuzz [TARGET…]      the parsers of files from outside against a fuzzer, 60 seconds each; --seconds N, --jobs N, --list,
                      --replay FILE (one target), --corpus (makes the kept inputs anew); exit code 1 where something is found
  zoo …               rebuild the embedded models (tens of minutes); arguments go to harness-zoo
  golden              compute results/golden anew, after a change that is meant to change numbers

Environment
  LIBTORCH=DIR              use this libtorch 2.11.0 (a folder with lib and include)
  LIBTORCH_USE_PYTORCH=1    use the torch 2.11.0 of the Python in reach; wins over LIBTORCH
  HARNESS_CACHE=DIR         where libtorch is kept; otherwise $XDG_CACHE_HOME/dlm-harness or ~/.cache/dlm-harness

Needed: Rust, a C++ compiler and, unless one of the first two variables is set, python3 with pip.
";

/// The command that `typed` was probably meant to be: the same first three letters, or one letter away.
pub fn nearest(typed: &str) -> Option<&'static str> {
    let head = |s: &str| s.chars().take(3).collect::<String>();
    COMMANDS
        .iter()
        .copied()
        .find(|c| head(c) == head(typed) || strsim::levenshtein(c, typed) <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_command_that_was_meant() {
        assert_eq!(nearest("biuld"), None);
        assert_eq!(nearest("buid"), Some("build"));
        assert_eq!(nearest("tes"), Some("test"));
        assert_eq!(nearest("tide"), Some("tidy"));
        assert_eq!(nearest("set-up"), Some("setup"));
        assert_eq!(nearest("frobnicate"), None);
    }

    #[test]
    fn help_names_every_command() {
        for command in COMMANDS.iter().filter(|c| **c != "help") {
            assert!(
                TEXT.contains(command),
                "{command} is missing from the help text"
            );
        }
    }
}
