use harness_contract::{config::ConfigError, stages::Measures};
use harness_plan::bench::Overrides;

use crate::{
    KINDS,
    test_world::{CATALOGUE, DOCUMENTS, ROLLOUTS, STEERING},
};

/// What is wrong with options, as it is reported.
fn said(overrides: Overrides) -> String {
    ConfigError::check(overrides.problems)
        .unwrap_err()
        .to_string()
}

#[test]
fn options_are_values_of_a_bench() {
    let got = Overrides::from_options(
        &[STEERING],
        KINDS,
        &[
            ("--layers", "layers", "1,5"),
            ("--k", "k", "8"),
            ("--seed", "seed", "3"),
            ("--judge", "judge", "openai"),
            ("--set", "amp_factor", "0"),
            ("--limit", "limit", "2"),
            ("--seed", "seed", "4"),
            ("--rows", "rows", "qwen, dream/dream-mask"),
        ],
    );
    assert_eq!(got.problems, []);
    assert_eq!((got.layers, got.limit), (Some(vec![1, 5]), Some(2)));
    assert_eq!(
        (
            got.settings.get("k"),
            got.settings.get("seed"),
            got.settings.get("amp_factor")
        ),
        (Some(vec![8]), Some(4), Some(0.0))
    );
    assert_eq!(got.settings.text("judge"), Some("openai"));
    assert_eq!(got.rows.unwrap(), ["qwen", "dream/dream-mask"]);
}

#[test]
fn all_bad_options_are_in_one_error() {
    let error = Overrides::from_options(
        &[STEERING],
        KINDS,
        &[
            ("--k", "k", "0"),
            ("--seed", "seed", "-1"),
            ("--set", "amp_factor", "nan"),
            ("--set", "lamda", "0.3"),
            ("--layers", "layers", "1,x"),
        ],
    );
    assert_eq!(error.settings.value("seed"), None);
    let error = said(error);
    for part in [
        "--k 0: `k` is 0",
        "--seed -1: `seed` is -1",
        "`amp_factor` is nan",
        "did you mean `lambda`",
        "--layers 1,x",
    ] {
        assert!(error.contains(part), "{part} is not in\n{error}");
    }
    assert!(error.starts_with("5 problems"), "{error}");
}

#[test]
fn measures_are_a_list() {
    let read =
        |value| Overrides::from_options(&[DOCUMENTS], KINDS, &[("--measures", "measures", value)]);
    let some = Measures {
        paper_code: true,
        kl: true,
        ..Measures::default()
    };
    assert_eq!(read("kl,paper_code").settings.get("measures"), Some(some));
    assert_eq!(
        read("none").settings.get("measures"),
        Some(Measures::default())
    );
    let error = said(read("klx"));
    assert!(error.contains("did you mean `kl`"), "{error}");
}

/// An option that a bench's kind does not have is never passed over.
#[test]
fn settings_of_another_kind_are_refused() {
    let error =
        |kind, option: (&str, &str, &str)| said(Overrides::from_options(&[kind], KINDS, &[option]));
    let got = error(DOCUMENTS, ("--amp-factor", "amp_factor", "2"));
    assert!(
        got.contains("`amp_factor` is a setting of steering benches, and this is a grid bench"),
        "{got}"
    );
    let got = error(DOCUMENTS, ("--set", "context_lenght", "64"));
    assert!(got.contains("did you mean `context_length`"), "{got}");
    let got = error(STEERING, ("--set", "t_min", "0.1"));
    assert!(got.contains("this is a steering bench"), "{got}");
    let got = error(ROLLOUTS, ("--set", "shard_tokens", "9"));
    assert!(got.contains("setting of grid benches"), "{got}");
    for option in [
        ("--k", "k", "8"),
        ("--layers", "layers", "1"),
        ("--limit", "limit", "1"),
    ] {
        assert!(!error(CATALOGUE, option).is_empty());
    }
    assert!(error(DOCUMENTS, ("--limit", "limit", "1")).contains("steering benches"));
}
