//! What every bench keeps to.

mod catalogue;
mod forecast;
mod judge;
mod keys;
mod overrides;
mod own_rows;
mod part;
mod pinned;
mod same;
mod settings;
mod shards;
mod spec;
mod text;

use std::path::{Path, PathBuf};

use harness_contract::sources::{SaeAnswer, find};
use harness_plan::{bench::ViewSpec, sources::Answers};
use harness_store::{Access, Store};

use super::{test_world::World, *};
use harness_present::compare::CompareOptions;
use harness_present::figure::test_support::{BLUE, drawn};

#[test]
fn a_bench_draws_itself_and_its_figures_before_anything_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    for (bench, expected) in [
        ("fig9", &["fig9"][..]),
        ("fig7", &["fig7", "fig7_ev"]),
        ("fig8", &["fig8"]),
        ("transfer", &["transfer", "transfer_ev", "fig12"]),
    ] {
        let mut plan = World::made_up().plan(bench).unwrap();
        plan.views.push(ViewSpec {
            name: "without_rows".into(),
            title: String::new(),
            table: test_world::spec("fig8").table,
            rows: Vec::new(),
        });
        let derived = derive(&plan, &store).unwrap();
        let files = write_figures(&plan, derived.as_ref(), &store).unwrap();
        let names: Vec<String> = files
            .iter()
            .map(|file| file.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, expected, "{bench}");
        for file in files {
            let svg = std::fs::read_to_string(&file).unwrap();
            assert!(svg.lines().any(|line| line == "no values"), "{bench}");
            let samples = drawn(&svg, "circle", BLUE).len();
            assert!(
                samples <= 2,
                "{bench}: {samples} markers besides the legend's"
            );
        }
    }
}

/// Exact comparison by the keys of the benches' tables.
pub fn compare_options() -> CompareOptions {
    CompareOptions {
        known_keys: key_columns(),
        ..CompareOptions::default()
    }
}

/// What the Top-K plugin's own reader of folders says, and of a checkpoint a made-up adapter.
pub fn answers(roots: impl IntoIterator<Item = PathBuf>) -> Answers {
    let mut answers = Answers::default();
    let said = |dir: &Path| match sae_folder::inspect(dir) {
        Ok(None) => SaeAnswer::Nothing,
        Ok(Some(folder)) => {
            let text = folder.to_json().to_string();
            SaeAnswer::of_plugin(&text, "topk", &["topk".to_owned()]).unwrap()
        }
        Err(error) => SaeAnswer::Bad {
            message: error.to_string(),
        },
    };
    for root in roots.into_iter().filter(|root| root.is_dir()) {
        if let Some(answer) = test_world::model_answer(&root) {
            answers.add(root.clone(), answer);
        }
        let found = find(&root, &mut |dir| {
            answers.add(dir.to_owned(), said(dir));
            Ok(said(dir))
        });
        found.unwrap();
    }
    answers
}
