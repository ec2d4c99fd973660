use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use harness_contract::{
    cell::Cell,
    protocol::Sources,
    stages::{
        Dtype, JudgeParams, JudgeRef, ModelRef, Numerics, PerplexityParams, PluginRef, ScoreParams,
    },
};
use harness_store::{ManifestPlugin, RunManifest};

fn any_units() -> impl Strategy<Value = Vec<Unit>> {
    let seconds = prop_oneof![Just(0.0), 0.1..10.0, 100.0..400.0];
    let unit = (0..4usize, prop::collection::vec(seconds, 0..8));
    prop::collection::vec(unit, 0..30).prop_map(|units| {
        let mut n = 0;
        let mut key = || {
            n += 1;
            format!("cell {n}")
        };
        let unit = |(model, cells): (usize, Vec<f64>)| Unit {
            model: format!("model {model}"),
            cells: cells.into_iter().map(|seconds| (key(), seconds)).collect(),
        };
        units.into_iter().map(unit).collect()
    })
}

proptest! {
    #[test]
    fn every_cell_is_in_one_chunk_and_chunks_are_few(
        units in any_units(), seconds in 1.0..200.0f64, most in 1..12usize,
    ) {
        let chunks = cut(units.clone(), seconds, most);
        prop_assert!(chunks.len() <= most);
        let keys = |chunks: &[Chunk]| {
            let mut keys: Vec<String> = chunks.iter().flat_map(|c| c.cells.clone()).collect();
            keys.sort();
            keys
        };
        let all = units.iter().flat_map(|unit| &unit.cells);
        let mut all: Vec<String> = all.map(|(key, _)| key.clone()).collect();
        all.sort();
        prop_assert_eq!(keys(&chunks), all);
        let total: f64 = units.iter().flat_map(|u| &u.cells).map(|(_, s)| s).sum();
        let cut_total: f64 = chunks.iter().map(|chunk| chunk.seconds).sum();
        prop_assert!((total - cut_total).abs() < 1e-6 * total.max(1.0));
        prop_assert!(chunks.iter().all(|chunk| !chunk.cells.is_empty()));
    }

    /// Where there may be as many chunks as there are: one model each, near the size wanted, units
    /// whole unless too large.
    #[test]
    fn chunks_keep_together_what_belongs_together(units in any_units(), seconds in 1.0..200.0f64) {
        let chunks = cut(units.clone(), seconds, usize::MAX);
        let place: BTreeMap<&str, usize> = chunks.iter().enumerate()
            .flat_map(|(i, chunk)| chunk.cells.iter().map(move |key| (key.as_str(), i)))
            .collect();
        for chunk in &chunks {
            prop_assert_eq!(chunk.models.len(), 1);
            prop_assert!(chunk.seconds <= 2.0 * seconds || chunk.cells.len() == 1);
        }
        for unit in units {
            let total: f64 = unit.cells.iter().map(|(_, s)| s).sum();
            let places: BTreeSet<usize> = unit.cells.iter().map(|(key, _)| place[key.as_str()]).collect();
            prop_assert!(places.len() <= 1 || total > 2.0 * seconds);
        }
    }

    #[test]
    fn shares_are_a_partition(seconds in prop::collection::vec(0.0..100.0f64, 0..20), of in 1..25usize) {
        let chunk = |seconds| Chunk { seconds, ..Chunk::default() };
        let chunks: Vec<Chunk> = seconds.into_iter().map(chunk).collect();
        let mut all: Vec<usize> = (0..of).flat_map(|index| share(&chunks, index, of)).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..chunks.len()).collect::<Vec<_>>());
    }
}

#[test]
fn the_largest_chunks_are_shared_out_first() {
    let chunk = |seconds| Chunk {
        seconds,
        ..Chunk::default()
    };
    let chunks = [1.0, 2.0, 3.0, 6.0].map(chunk);
    assert_eq!(share(&chunks, 0, 2), [3]);
    assert_eq!(share(&chunks, 1, 2), [0, 1, 2]);
    assert_eq!(share(&chunks, 2, 4), [2]);
    assert!(share(&chunks, 4, 5).is_empty());
}

#[test]
fn measured_cells_say_how_long_others_take() {
    let adapter = PluginRef {
        kind: "model".to_owned(),
        name: "Dream".to_owned(),
        plugin: "dream".to_owned(),
        hash: String::new(),
    };
    let cell = |checkpoint: &str, max_tokens: u32| {
        let params = PerplexityParams {
            model: ModelRef {
                name: "dream".to_owned(),
                checkpoint: checkpoint.to_owned(),
                adapter: adapter.clone(),
            },
            max_tokens,
            numerics: Numerics {
                dtype: Dtype::F32,
                reproducible: false,
                allow_nan: false,
            },
        };
        Cell::new(params, vec![]).unwrap()
    };
    let mut estimate = Estimate::assumed(2e11);
    let texts = cell("a", 1);
    assert_eq!(estimate.seconds(&texts, 4e11), 2.0);
    estimate.add(&texts, 10.0, 1e9);
    // As those of its stage and model; then as all, by what is computed; then as those of its stage
    // whose work nobody knows.
    assert_eq!(estimate.seconds(&cell("a", 2), 2e9), 20.0);
    assert_eq!(estimate.seconds(&cell("b", 2), 3e9), 30.0);
    let score = Cell::new(ScoreParams::default(), vec![]).unwrap();
    estimate.add(&score, 3.0, 0.0);
    estimate.add(&score, 5.0, 0.0);
    assert_eq!(estimate.seconds(&score, 0.0), 4.0);
    let judge = JudgeRef {
        component: adapter,
        model: None,
    };
    let judge = Cell::new(JudgeParams { judge }, vec![]).unwrap();
    assert!(estimate.seconds(&judge, 0.0) > 0.0);
}

#[test]
fn shares_are_named_or_told_by_the_scheduler() {
    let shard = |text: &str| text.parse::<Shard>();
    let nothing = |_: &str| None;
    assert_eq!(shard("2/4").unwrap().resolve(9, nothing), Ok((2, 4)));
    assert_eq!(shard("2").unwrap().resolve(9, nothing), Ok((2, 9)));
    for wrong in ["4/4", "1/0", "auto/0", "", "/", "-1/2", "a", "1/", "1/2/3"] {
        assert!(shard(wrong).is_err(), "{wrong}");
    }
    let kubernetes = |name: &str| (name == "JOB_COMPLETION_INDEX").then(|| "3".to_owned());
    assert_eq!(shard("auto/8").unwrap().resolve(9, kubernetes), Ok((3, 8)));
    assert_eq!(shard("auto").unwrap().resolve(9, kubernetes), Ok((3, 9)));
    let error = shard("auto").unwrap().resolve(2, kubernetes).unwrap_err();
    assert!(
        error.contains("JOB_COMPLETION_INDEX names share 3"),
        "{error}"
    );
    let error = shard("auto").unwrap().resolve(2, nothing).unwrap_err();
    assert!(error.contains("SLURM_ARRAY_TASK_ID"), "{error}");
    let word = |_: &str| Some("x".to_owned());
    assert!(shard("auto").unwrap().resolve(2, word).is_err());
    assert!(shard("3").unwrap().resolve(2, nothing).is_err());
}

fn plan_file(cells: &[&str]) -> ShardPlan {
    let manifest = RunManifest {
        harness: "0.1.0".to_owned(),
        plugins: vec![ManifestPlugin {
            id: "lexical".to_owned(),
            version: "1".to_owned(),
            hash: "old".to_owned(),
        }],
        ..RunManifest::default()
    };
    ShardPlan {
        schema: SHARDS_SCHEMA,
        id: "1-2".to_owned(),
        bench: "table2".to_owned(),
        args: vec![
            "table2".to_owned(),
            "--out".to_owned(),
            "a folder".to_owned(),
        ],
        folder: "/somewhere".into(),
        basis: Basis::of(&manifest, &Sources::default()),
        chunks: vec![Chunk {
            models: vec!["dream".to_owned()],
            seconds: 1.5,
            cells: cells.iter().map(|key| (*key).to_owned()).collect(),
        }],
    }
}

#[test]
fn a_plan_reads_back_and_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/plan.json");
    let plan = plan_file(&["a", "b"]);
    plan.write(&path).unwrap();
    assert_eq!(ShardPlan::read(&path).unwrap(), plan);
    let text = std::fs::read_to_string(&path).unwrap();
    let newer = text.replacen("\"schema\": 1", "\"schema\": 2", 1);
    for (wrong, message) in [
        (newer.as_str(), "use the harness that wrote it"),
        ("[1]", "not a plan"),
        ("{", "not a plan"),
        (&text[..text.len() / 2], "not a plan"),
    ] {
        std::fs::write(&path, wrong).unwrap();
        let error = ShardPlan::read(&path).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.exit_code(), 20);
    }
    let error = ShardPlan::read(&dir.path().join("none")).unwrap_err();
    assert!(error.to_string().contains("cannot read"), "{error}");
}
