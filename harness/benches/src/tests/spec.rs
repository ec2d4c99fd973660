use harness_contract::{config::ConfigError, stages::Measures};
use harness_plan::bench::{BenchFile, BenchSpec, Profile};

use crate::{KINDS, test_world::DOCUMENTS};

const GOOD: &str = r#"
title = "A bench"
table = "by_k"
[settings]
seed = 1
scorer = "gpt2"
[zoo]
k = [8]
[real]
k = [50, 80]
[[rows]]
family = "f"
model = "dream"
sae = "dream-mask"
policy = "mask"
token_scope = "all-tokens"
layers = { zoo = [1, 2], real = [5] }
paper = { model = "Dream-7B", sae = "Dream-Mask" }
"#;

const GRID: &str = r#"
title = "A grid"
table = "grid"
[settings]
seed = 1
[zoo]
k = [8]
measures = ["kl"]
[real]
documents = "truncate"
[[rows]]
family = "f"
model = "dream"
sae = "dream-mask"
policy = "mask"
layers = { zoo = [1, 2], real = [5] }
[[rows]]
family = "f"
model = "dream-sft"
sae = "dream-mask"
policy = "mask"
layers = { zoo = [1, 2], real = [5] }
"#;

fn parse(text: &str) -> Result<BenchSpec, ConfigError> {
    match BenchFile::parse("b", "b.toml", text, KINDS)? {
        BenchFile::Own(spec) => Ok(*spec),
        BenchFile::Same(same) => panic!("{same:?}"),
    }
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn a_grid_bench_reads_and_has_settings_of_its_own() {
    let b = parse(GRID).unwrap();
    assert_eq!((b.kinds(), b.store.as_str()), (vec![DOCUMENTS], "b"));
    assert!(b.zoo.get::<Measures>("measures").unwrap().kl);
    assert_eq!(b.real.text("documents"), Some("truncate"));
    assert!(b.rows[1].is_called("dream-sft/dream-mask") && b.rows[1].is_called("dream-mask"));
    assert!(!b.rows[1].is_called("dream/dream-mask"));
    let got = error(&GRID.replace("seed = 1", "seed = 1\nn_prefix = 3"));
    assert!(
        got.contains(
            "b.toml:6:12: `n_prefix` is a setting of steering benches, and this is a grid bench"
        ),
        "{got}"
    );
    let got = error(&GRID.replace("seed = 1", "t_mn = 0.1"));
    assert!(got.contains("did you mean `t_min`"), "{got}");
    let twice = GRID.replace("\"dream-sft\"", "\"dream\"");
    assert!(error(&twice).contains("two rows are of SAE set `dream-mask` on dream"));
    let got = error(&GRID.replace("[\"kl\"]", "[\"klx\"]"));
    assert!(got.contains("did you mean `kl`"), "{got}");
}

#[test]
fn a_bench_reads() {
    let b = parse(GOOD).unwrap();
    assert_eq!(
        (b.table.name(), b.settings.get("seed"), b.zoo.get("k")),
        ("by_k", Some(1), Some(vec![8]))
    );
    assert_eq!(
        (b.models(), b.sae_sets()),
        (vec!["dream", "gpt2"], vec!["dream-mask"])
    );
    assert_eq!(b.rows[0].layers(Profile::Zoo), [1, 2]);
    assert_eq!(b.rows[0].settings.text("token_scope"), Some("all-tokens"));
}

#[test]
fn misspelt_keys_at_every_level() {
    let got = error(
        &GOOD
            .replace("layers = {", "layres = {")
            .replace("seed =", "sead =")
            .replace("table =", "tabel ="),
    );
    for part in [
        "did you mean `layers`",
        "did you mean `seed`",
        "did you mean `table`",
        "`layers` is missing in `rows`",
    ] {
        assert!(got.contains(part), "{part} is not in\n{got}");
    }
    assert!(error(&GOOD.replace("zoo = [1", "zo = [1")).contains("did you mean `zoo`"));
}

#[test]
fn every_bad_value_at_once() {
    let bad = GOOD
        .replace("seed = 1", "seed = -1\namp_factor = nan")
        .replace("k = [8]", "k = [0]")
        .replace("\"mask\"", "\"msak\"");
    let got = error(&bad);
    for part in [
        "4 problems",
        "`seed` is -1",
        "`amp_factor` is nan",
        "`k` is 0",
        "did you mean `mask`",
    ] {
        assert!(got.contains(part), "{part} is not in\n{got}");
    }
}

#[test]
fn rows_and_variants_fit_the_table() {
    assert!(error(&GOOD[..GOOD.find("[[rows]]").unwrap()]).contains("it has no rows"));
    assert!(error(&GOOD.replace("by_k", "variants")).contains("has `variants` when"));
    let rows = &GOOD[GOOD.find("[[rows]]").unwrap()..];
    assert!(
        error(&format!("{GOOD}{rows}")).contains("two rows are of SAE set `dream-mask` on dream")
    );
    let varied =
        GOOD.replace("by_k", "variants") + "[[variants]]\ngroup = 'g'\nsae = 'dream-msk'\n";
    assert!(error(&varied).contains("did you mean `dream-mask`"));
}
