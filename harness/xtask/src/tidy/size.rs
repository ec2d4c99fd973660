//! How much a clone has to carry.

use std::fs;
use std::path::Path;

use super::finding::Finding;

/// Most bytes of all files of the repository together. A machine that is lent for a run takes 64
/// MiB at a time, and the models and SAEs are most of it.
const MAX_BYTES: u64 = 44 << 20;

/// The files together are no larger than they may be.
pub fn check(root: &Path, files: &[String]) -> Option<Finding> {
    // A file that is deleted and not yet committed carries nothing.
    let size = |name| Some((fs::symlink_metadata(root.join(name)).ok()?.len(), name));
    let sizes = files.iter().filter_map(size).collect();
    of(sizes, MAX_BYTES)
}

fn of(mut sizes: Vec<(u64, &String)>, most: u64) -> Option<Finding> {
    let sum: u64 = sizes.iter().map(|(size, _)| size).sum();
    if sum <= most {
        return None;
    }
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let largest: Vec<String> = (sizes.iter().take(3))
        .map(|(size, name)| format!("{name} ({:.1} MiB)", mib(*size)))
        .collect();
    Some(Finding {
        place: ".".to_owned(),
        what: format!(
            "the files are {:.1} MiB together, more than {:.0}; the largest: {}",
            mib(sum),
            mib(most),
            largest.join(", ")
        ),
        cure: "make the new ones smaller, or leave out what can be made anew".to_owned(),
    })
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_counts_and_the_largest_are_named() {
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        let sizes = || [5, 1, 9, 2].into_iter().zip(&names).collect::<Vec<_>>();
        assert_eq!(of(sizes(), 17), None);
        let finding = of(sizes(), 16).unwrap();
        assert!(
            finding
                .what
                .contains("c (0.0 MiB), a (0.0 MiB), d (0.0 MiB)")
        );
    }

    #[test]
    fn a_file_that_is_not_there_weighs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("here"), "x").unwrap();
        let files = ["here", "gone"].map(str::to_owned);
        assert_eq!(check(dir.path(), &files), None);
    }
}
