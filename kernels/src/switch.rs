//! Which kernels of ours are left out, so that a doubt about one can be settled by running without
//! it.

use std::{collections::BTreeSet, env, sync::OnceLock};

/// The environment variable that names kernels to leave out, with commas between them; `all` leaves
/// out every one that has a switch. libtorch's own operations take their place.
pub const VARIABLE: &str = "HARNESS_WITHOUT_KERNELS";

/// Kernels that can be left out. `cuda` stands for all CUDA forms.
pub const NAMES: [&str; 5] = ["linear", "rms_norm", "rotate_halves", "swiglu", "cuda"];

/// Whether a kernel of [`NAMES`] is used; the environment is read once a process.
pub(crate) fn is_on(name: &str) -> bool {
    static OFF: OnceLock<BTreeSet<String>> = OnceLock::new();
    let off = OFF.get_or_init(|| parse(&env::var(VARIABLE).unwrap_or_default()));
    !off.contains(name)
}

/// What a value of [`VARIABLE`] leaves out; names that no kernel has are passed over here and
/// refused by [`check`].
fn parse(value: &str) -> BTreeSet<String> {
    let mut off: BTreeSet<String> = words(value).map(str::to_owned).collect();
    if off.contains("all") {
        off.extend(NAMES.map(str::to_owned));
    }
    off
}

fn words(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

/// Checks the environment: a misspelt name would leave nothing out, and the doubt would remain.
///
/// # Errors
/// The names that no kernel has.
pub fn check() -> std::result::Result<(), String> {
    unknown(&env::var(VARIABLE).unwrap_or_default())
}

fn unknown(value: &str) -> std::result::Result<(), String> {
    let is_known = |word: &&str| *word == "all" || NAMES.contains(word);
    let unknown: Vec<&str> = words(value).filter(|word| !is_known(word)).collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{VARIABLE} names `{}`; there are {} and all",
            unknown.join("`, `"),
            NAMES.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_left_out_by_name_or_all_together() {
        assert!(parse("").is_empty());
        assert_eq!(
            parse(" swiglu, cuda"),
            ["swiglu", "cuda"].map(str::to_owned).into()
        );
        assert!(NAMES.iter().all(|name| parse("all").contains(*name)));
        assert!(unknown("swiglu,all").is_ok());
        let error = unknown("swiglu,norm").unwrap_err();
        assert!(
            error.contains("`norm`") && error.contains("rms_norm"),
            "{error}"
        );
    }
}
