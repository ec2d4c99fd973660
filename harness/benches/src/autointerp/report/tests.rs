use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine};
use harness_core::autointerp::Origin;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    MAX_PAGE_BYTES, Page, ReportError, Run, Selection, Steering, examples, pages,
    sae::{Sae, Score},
};
use harness_contract::{
    canonical::to_hex,
    cell::Cell,
    outputs::{
        Chosen, ExplainOutput, Explanation, LatentState, LatentWindows, Outcome, PredictOutput,
        Prediction, ScoredWindow, Window, WindowsOutput,
    },
    stages::{ExplainParams, JudgeRef, PredictParams, WindowsParams},
};
use harness_store::{Access, Provenance, Store};

fn plugin(name: &str) -> Value {
    json!({"kind": "x", "name": name, "plugin": name, "hash": "0"})
}

fn windows_cell(set: &str, layer: u32, k: u32, seed: u64) -> Cell {
    let params = json!({
        "model": {"name": "dream", "checkpoint": "c", "adapter": plugin("dream")},
        "sae": {"set": set, "policy": "mask", "layer": layer, "k": k, "hash": format!("{set}{layer}.{k}"), "architecture": plugin("topk")},
        "text": {"files": ["f"], "text_field": "text", "documents": "pack", "context_length": 128, "first_token": 0, "tokens": 100,
            "allow_short": false},
        "masks": null, "positions": "all", "latents": {"sample": {"n": 1}}, "dead_threshold": 15,
        "rules": harness_core::autointerp::WindowRules::default(), "n_logits": 8, "label_field": null, "seed": seed,
        "numerics": {"dtype": "f32", "reproducible": false},
    });
    let params: WindowsParams = serde_json::from_value(params).unwrap();
    Cell::new(params, vec![]).unwrap()
}

fn at(finished_unix: u64) -> Provenance {
    Provenance {
        finished_unix,
        ..Provenance::default()
    }
}

fn window(token: &str) -> Window {
    Window {
        origin: Origin::Top,
        row: 0,
        position: 10,
        tokens: vec![token.to_owned(); 3],
        acts: vec![0.0, 2.0, 0.0],
        masked: vec![],
    }
}

fn latent(id: u32, token: &str) -> LatentWindows {
    let scored = |active| ScoredWindow {
        window: window(token),
        active,
    };
    LatentWindows {
        latent: id,
        chosen: Chosen::Sample,
        state: LatentState::Alive,
        n_active: 20,
        density: 0.01,
        max_act: 2.0,
        threshold: 0.02,
        shown: vec![window(token)],
        scored: vec![scored(true), scored(false), scored(true), scored(false)],
        histogram: vec![(1.0, 2)],
        promoted: vec![],
        suppressed: vec![],
    }
}

/// The windows of an SAE with latents 0, 1, …, one for each token.
fn put_windows(store: &Store, cell: &Cell, tokens: &[&str], finished: u64) {
    let latents = (0..).zip(tokens).map(|(i, token)| latent(i, token));
    let output = WindowsOutput {
        latents: latents.collect(),
        labels: vec![],
        d_sae: 64,
        n_dead: 0,
        n_few: 0,
        n_rows: 1,
        n_tokens: 100,
        n_masked: 0,
        n_bad_rows: 0,
        ended_short: false,
        text_kept: None,
    };
    store.put_done(cell, &output, at(finished)).unwrap();
}

/// A judge's explanations and predictions of an SAE's windows; latent i is predicted to be active
/// in the first i + 1 windows.
fn put_judged(store: &Store, windows: &Cell, judge: &str, n: u32) {
    let judge_ref = JudgeRef {
        component: serde_json::from_value(plugin(judge)).unwrap(),
        model: Some(format!("{judge}-mini")),
    };
    let asked = ExplainParams::Asked {
        judge: judge_ref.clone(),
    };
    let explain = Cell::new(asked, vec![windows.key.clone()]).unwrap();
    let inputs = vec![windows.key.clone(), explain.key.clone()];
    let predict = Cell::new(PredictParams { judge: judge_ref }, inputs).unwrap();
    let explained = ExplainOutput {
        explanations: (0..n)
            .map(|latent| Explanation {
                latent,
                explanation: Some(format!("said by {judge}")),
                outcome: Outcome::Answered,
                error: None,
            })
            .collect(),
        judge: format!("{judge}-1"),
    };
    store.put_done(&explain, &explained, at(1)).unwrap();
    let predicted = PredictOutput {
        predictions: (0..n)
            .map(|latent| Prediction {
                latent,
                predicted: Some((0..=latent).collect()),
                outcome: Outcome::Answered,
                error: None,
            })
            .collect(),
        judge: format!("{judge}-1"),
        comparable_with_paper: false,
    };
    store.put_done(&predict, &predicted, at(1)).unwrap();
}

fn read(dir: &Path, judge: Option<&str>) -> Result<Run, ReportError> {
    let selection = Selection {
        set: None,
        judge: judge.map(str::to_owned),
    };
    Run::read(dir, &selection)
}

fn all_pages(run: &Run, max_bytes: usize) -> Vec<Page> {
    pages(run, None, max_bytes)
        .flat_map(Result::unwrap)
        .collect()
}

#[test]
fn cells_are_joined_by_their_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    let (first, second) = (windows_cell("a", 1, 8, 0), windows_cell("a", 2, 8, 0));
    put_windows(&store, &second, &["x"], 1);
    put_windows(&store, &first, &["x", "y"], 1);
    put_judged(&store, &first, "one", 2);
    // The explanations of a steering run are of features, not of windows.
    let given = ExplainParams::Given {
        explanations: Vec::new(),
        judge: "x".to_owned(),
    };
    let steering = Cell::new(given, vec!["features".into()]).unwrap();
    store
        .put_done(&steering, &json!({"explanations": [], "judge": "x"}), at(1))
        .unwrap();

    let run = read(dir.path(), None).unwrap();
    let layers: Vec<u32> = run.saes.iter().map(|sae| sae.params.sae.layer).collect();
    assert_eq!(layers, [1, 2]);
    assert_eq!(run.counts.n_unexplained, 1);
    let sae = Sae::read(dir.path(), &run.saes[0]).unwrap();
    let scores: Vec<Option<Score>> = sae.latents.iter().map(|latent| latent.score).collect();
    // Active in 0 and 2: predicted 0, and 0 and 1.
    let expected = [3, 2].map(|n_right| Some(Score { n_right, n: 4 }));
    assert_eq!(scores, expected);
    assert_eq!(sae.mean_score(), (Some(0.625), 2));
    assert_eq!(sae.latents[1].text(), Some("said by one"));
}

#[test]
fn a_place_that_is_no_window_is_no_score() {
    let active = [true, false];
    assert_eq!(Score::of(&active, &[0]), Some(Score { n_right: 2, n: 2 }));
    assert_eq!(Score::of(&active, &[]), Some(Score { n_right: 1, n: 2 }));
    assert_eq!(Score::of(&active, &[2]), None);
    assert_eq!(Score::of(&[], &[]), None);
}

#[test]
fn one_of_several_judges_is_chosen_by_any_of_its_names() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    let windows = windows_cell("a", 1, 8, 0);
    put_windows(&store, &windows, &["x"], 1);
    put_judged(&store, &windows, "one", 1);
    put_judged(&store, &windows, "two", 1);
    let error = read(dir.path(), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 judges explained a layer 1 k 8: one-1, two-1"
    );
    assert_eq!(error.hint(), "name one: --judge one-1");
    for name in ["two-1", "two", "two-mini"] {
        let run = read(dir.path(), Some(name)).unwrap();
        assert_eq!(run.saes[0].judged.as_ref().unwrap().judge, "two-1");
    }
    let error = read(dir.path(), Some("three")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no judge `three` in this run; there are one-1, two-1"
    );
}

#[test]
fn windows_of_earlier_settings_are_counted_and_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    let (old, new) = (windows_cell("a", 1, 8, 0), windows_cell("a", 1, 8, 1));
    put_windows(&store, &new, &["x", "y"], 20);
    put_windows(&store, &old, &["x"], 10);
    let run = read(dir.path(), None).unwrap();
    assert_eq!((run.saes.len(), run.counts.n_older), (1, 1));
    assert_eq!(run.saes[0].windows, new.key);
}

#[test]
fn damaged_cells_are_counted_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    let (whole, edited) = (windows_cell("a", 1, 8, 0), windows_cell("a", 2, 8, 0));
    put_windows(&store, &whole, &["x"], 1);
    put_windows(&store, &edited, &["x"], 1);
    let path = store.cell_path(&edited.key);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("0.01", "0.02")).unwrap();
    let run = read(dir.path(), None).unwrap();
    assert_eq!((run.saes.len(), run.counts.n_damaged), (1, 1));
    // A file written another way is read all the same.
    let path = store.cell_path(&whole.key);
    let value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::write(&path, format!("{value:#}")).unwrap();
    assert_eq!(read(dir.path(), None).unwrap().saes.len(), 1);
}

#[test]
fn a_page_runs_its_own_script_and_holds_its_texts_as_data() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    let windows = windows_cell("<a>{{script}}", 1, 8, 0);
    let token = "</script><script>alert(1)</script><!--";
    put_windows(&store, &windows, &[token], 1);
    put_judged(&store, &windows, "one", 1);
    let run = read(dir.path(), None).unwrap();
    let page = all_pages(&run, MAX_PAGE_BYTES).remove(0);
    assert_eq!(page.file_name, "dream_-a---script--.html");
    assert!(
        page.html
            .contains("<title>&lt;a&gt;{{script}} on dream</title>")
    );
    // The list, one SAE, the script; no text opens or ends another.
    let parts: Vec<&str> = page.html.split("<script").collect();
    assert_eq!(parts.len(), 4);
    assert_eq!(page.html.matches("</script").count(), 3);
    assert!(!page.html.contains("alert(1)</"));
    for (tag, end) in [("<script>", "</script>"), ("<style>", "</style>")] {
        let (_, rest) = page.html.split_once(tag).unwrap();
        let (text, _) = rest.split_once(end).unwrap();
        let digest = to_hex(&Sha256::digest(text.as_bytes()));
        let named = page.html.split("'sha256-").skip(1).map(|rest| {
            let (hash, _) = rest.split_once('\'').unwrap();
            to_hex(&BASE64_STANDARD.decode(hash).unwrap())
        });
        assert!(named.into_iter().any(|named| named == digest), "{tag}");
    }
    // The data read back.
    let (_, rest) = page.html.split_once("id=\"sae-0\">").unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    let block: Value = serde_json::from_str(json).unwrap();
    assert_eq!(block["tokens"], json!([token]));
    let shown = &block["latents"][0]["shown"][0];
    assert_eq!(*shown, json!(["top", 0, 10, [0, 0, 0], [[1, 2.0]], []]));
}

#[test]
fn a_large_set_is_cut_by_layer_and_then_by_k() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    for (layer, k, n) in [(1, 8, 1), (1, 9, 1), (2, 8, 12), (2, 9, 12)] {
        put_windows(&store, &windows_cell("a", layer, k, 0), &vec!["x"; n], 1);
    }
    let run = read(dir.path(), None).unwrap();
    let names = |max_bytes| -> Vec<String> {
        let pages = all_pages(&run, max_bytes);
        pages.into_iter().map(|page| page.file_name).collect()
    };
    let one = ["dream_a.html"];
    let cut = [
        "dream_a_layer1.html",
        "dream_a_layer2_k8.html",
        "dream_a_layer2_k9.html",
    ];
    assert_eq!(names(MAX_PAGE_BYTES), one);
    assert_eq!(names(4000), cut);
}

#[test]
fn examples_are_the_best_scored() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    for layer in [1, 2] {
        let windows = windows_cell("a", layer, 8, 0);
        put_windows(&store, &windows, &["x", "y", "z"], 1);
        put_judged(&store, &windows, "one", 3);
    }
    let run = read(dir.path(), None).unwrap();
    let files = examples(&run, 3).unwrap();
    assert_eq!((files.len(), files[0].n), (1, 3));
    let titles: Vec<&str> = files[0]
        .markdown
        .lines()
        .filter(|l| l.starts_with("## "))
        .collect();
    // Right: 3, 2 and 3 of 4.
    let expected = [
        "## Latent 0, layer 1, k 8",
        "## Latent 2, layer 1, k 8",
        "## Latent 0, layer 2, k 8",
    ];
    assert_eq!(titles, expected);
    assert!(
        files[0]
            .markdown
            .contains("The 3 best of 6 scored latents, judged by one-1")
    );
}

#[test]
fn a_run_without_steering_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    put_windows(&store, &windows_cell("a", 1, 8, 0), &["x"], 1);
    let error = Steering::read(dir.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("holds no steering: its cells are of the stages windows")
    );
}
