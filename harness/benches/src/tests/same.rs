use harness_contract::config::ConfigError;
use harness_plan::bench::{BenchFile, BenchSpec};

use crate::KINDS;

const BASE: &str = r#"
title = "A grid"
table = "grid"
[settings]
seed = 1
[zoo]
[real]
[[rows]]
family = "f"
model = "dream"
sae = "dream-mask"
policy = "mask"
layers = { zoo = [1], real = [5] }
[[rows]]
family = "f"
model = "qwen"
sae = "qwen"
policy = "clean"
layers = { zoo = [1], real = [5] }
"#;

fn base() -> BenchSpec {
    match BenchFile::parse("base", "base.toml", BASE, KINDS).unwrap() {
        BenchFile::Own(spec) => *spec,
        BenchFile::Same(same) => panic!("{same:?}"),
    }
}

fn same(text: &str) -> Result<BenchSpec, ConfigError> {
    match BenchFile::parse("fig", "fig.toml", text, KINDS)? {
        BenchFile::Same(same) => same.of(vec![base()]),
        BenchFile::Own(spec) => panic!("{spec:?}"),
    }
}

#[test]
fn rows_and_results_are_those_of_the_other() {
    let text = "title = 'A figure'\nsame_as = 'base'\ntable = 'delta'\nrows = ['qwen']\n";
    let fig = same(text).unwrap();
    assert_eq!((fig.name.as_str(), fig.store.as_str()), ("fig", "base"));
    assert_eq!((fig.table.name(), fig.sae_sets()), ("delta", vec!["qwen"]));
    assert_eq!(fig.settings, base().settings);
    assert_eq!(
        same("title = 'x'\nsame_as = ['base']\n").unwrap().rows,
        base().rows
    );
}

#[test]
fn what_does_not_fit_is_said() {
    let error = |more: &str| {
        let text = format!("title = 'x'\nsame_as = 'base'\n{more}");
        same(&text).unwrap_err().to_string()
    };
    assert!(error("rows = ['qwn']").contains("did you mean `qwen`"));
    assert!(error("table = 'by_k'").contains("cannot be derived from rows of a grid bench"));
    assert!(error("[settings]\nseed = 2").contains("unknown key `settings`"));
}
