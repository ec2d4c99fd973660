//! `harness plugins check` on plugins that load and misbehave: the host survives and says which
//! test found what.

use super::bench::{Ran, harness, install_bad};

/// Checks one of tests/bad_plugins, which must load beside a good one.
fn check(name: &str, kinds: &[&str], what: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    install_bad(folder.path(), "good", &["metric"]);
    install_bad(folder.path(), name, kinds);
    let list = harness(folder.path(), &["plugins", "list", "--plugins", "."]);
    assert_eq!(list.code, 0, "it loads: {list:?}");
    harness(folder.path(), &["plugins", "check", what])
}

/// The status of a test, and the reason that follows it.
fn status<'a>(ran: &'a Ran, test: &str) -> (&'a str, &'a str) {
    let lines: Vec<&str> = ran.out.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.ends_with(&format!(" {test}")))
        .unwrap_or_else(|| panic!("no {test} in:\n{}", ran.out));
    let status = lines[at].split_whitespace().next().unwrap_or_default();
    let reason = lines.get(at + 1).filter(|line| line.starts_with(' '));
    (status, reason.map_or("", |reason| reason.trim()))
}

#[test]
fn a_panic_in_a_constructor_is_an_error_that_names_it() {
    let ran = check(
        "panics_in_constructor",
        &["steering"],
        "panics_in_constructor",
    );
    assert_eq!(ran.code, 21, "{ran:?}");
    let test = "panics-in-constructor:steering/panics-in-constructor:construct";
    let (status, reason) = status(&ran, test);
    assert_eq!(status, "failed");
    assert!(
        reason.contains("constructor") && reason.contains("no instance for you"),
        "{reason}"
    );
}

#[test]
fn a_panic_in_a_method_is_an_error_that_names_it() {
    let ran = check("panics_in_method", &["remasker"], "panics_in_method");
    assert_eq!(ran.code, 21, "{ran:?}");
    for test in ["complete", "rows", "odd"] {
        let test = format!("panics-in-method:remasker/panics-in-method:{test}");
        let (status, reason) = status(&ran, &test);
        assert_eq!(status, "failed", "{test}");
        assert!(reason.contains("select panicked"), "{test}: {reason}");
    }
}

#[test]
fn a_wrong_number_of_answers_or_values_is_found() {
    let ran = check("wrong_length", &["judge", "metric"], "wrong_length");
    assert_eq!(ran.code, 21, "{ran:?}");
    let (judge, reason) = status(&ran, "wrong-length:judge/wrong-length:order");
    assert_eq!(judge, "failed");
    assert!(reason.contains("4 requests got 3 replies"), "{reason}");
    let (metric, reason) = status(&ran, "wrong-length:metric/wrong-length:pieces");
    assert_eq!(metric, "failed");
    assert!(reason.contains("another"), "{reason}");
}

#[test]
fn broken_laws_are_found() {
    let ran = check("unlawful", &["remasker", "steering"], "unlawful");
    assert_eq!(ran.code, 21, "{ran:?}");
    let (rows, reason) = status(&ran, "unlawful:remasker/unlawful:rows");
    assert_eq!(rows, "failed");
    assert!(reason.contains("than alone"), "{reason}");
    assert_eq!(
        status(&ran, "unlawful:remasker/unlawful:complete").0,
        "success"
    );
    let (amp, reason) = status(&ran, "unlawful:steering/unlawful:amp-zero");
    assert_eq!(amp, "failed");
    assert!(reason.contains("at amp_factor 0"), "{reason}");
    assert_eq!(
        status(&ran, "unlawful:steering/unlawful:padding").0,
        "success"
    );
}

#[test]
fn a_remasker_that_does_not_miss_its_features_is_found() {
    let ran = check("deaf", &["remasker"], "deaf");
    assert_eq!(ran.code, 21, "{ran:?}");
    let (features, reason) = status(&ran, "deaf:remasker/deaf:features");
    assert_eq!(features, "failed");
    assert!(
        reason.contains("a step without the features it needs is accepted"),
        "{reason}"
    );
    assert_eq!(status(&ran, "deaf:remasker/deaf:complete").0, "success");
}

#[test]
fn a_plugin_that_ends_its_process_crashes_its_own_tests_only() {
    let ran = check("aborts", &["metric"], ".");
    assert_eq!(ran.code, 21, "{ran:?}");
    assert_eq!(status(&ran, "aborts:metric/aborts:pieces").0, "crashed");
    assert_eq!(status(&ran, "aborts:metric/aborts:spec").0, "success");
    let good = |line: &&str| line.contains(" good:");
    let good: Vec<&str> = ran.out.lines().filter(good).collect();
    assert!(
        good.len() > 10 && good.iter().all(|line| line.starts_with("success")),
        "the good plugin passes beside it: {}",
        ran.out
    );
}
