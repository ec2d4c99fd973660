//! The tests of each kind of component, by the kind's name in manifests.

use super::{
    judge, metric, model, remasker, sae, steering,
    subject::{Named, Subject},
    verdict::Checked,
};

/// The tests of one kind.
pub(super) struct Kind {
    pub(super) tests: &'static [Named],
    /// Runs the test of a name.
    pub(super) run: fn(&str, &Subject<'_>) -> Checked,
}

/// The tests of a kind; `None` for one that is not known.
pub(super) fn of(name: &str) -> Option<Kind> {
    let (tests, run): (_, fn(&str, &Subject<'_>) -> Checked) = match name {
        "model" => (model::TESTS, model::run),
        "sae" => (sae::TESTS, sae::run),
        "remasker" => (remasker::TESTS, remasker::run),
        "steering" => (steering::TESTS, steering::run),
        "metric" => (metric::TESTS, metric::run),
        "judge" => (judge::TESTS, judge::run),
        _ => return None,
    };
    Some(Kind { tests, run })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::check::component;

    #[test]
    fn every_kind_has_tests_of_unique_names() {
        for kind in harness_contract::plugin::KINDS {
            let tests = of(kind).unwrap().tests;
            let all = component::TESTS.iter().chain(tests);
            let all: Vec<&str> = all.map(|(name, _)| *name).collect();
            let unique: BTreeSet<&&str> = all.iter().collect();
            assert!(!tests.is_empty() && unique.len() == all.len(), "{kind}");
        }
        assert!(of("metrik").is_none());
    }
}
