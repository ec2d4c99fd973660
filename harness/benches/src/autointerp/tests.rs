//! Tables of the autointerp bench, from hand-made outputs.

use harness_core::{autointerp::Origin, record::Status};

use std::path::Path;

use super::*;
use crate::{paper_names, results::shown_figures, write_tables};
use harness_contract::outputs::{
    Chosen, ExplainOutput, Explanation, LabelLatent, LatentState, LatentWindows, Outcome,
    PredictOutput, Prediction, ScoredWindow, Window, WindowsOutput,
};
use harness_plan::{bench::Catalogue, sources::Explanations};

use crate::test_world::World;
use harness_present::text_table::Style;
use harness_present::{
    compare::{CsvTable, compare},
    figure::{Marks, render_svg},
};
use harness_store::Store;
use harness_store::{Access, Provenance};

const ONE: [(&str, &str, &str); 3] = [
    ("--rows", "rows", "dream-mask"),
    ("--layers", "layers", "4"),
    ("--k", "k", "8"),
];

fn plan(options: &[(&str, &str, &str)]) -> Plan {
    let all = [&ONE[..], options].concat();
    World::made_up().options(&all).plan("autointerp").unwrap()
}

/// A latent with four windows to predict: active in the first (a largest) and the second (at
/// random), not in the others.
fn latent(latent: u32, chosen: Chosen, state: LatentState) -> LatentWindows {
    let window = |origin, active| ScoredWindow {
        window: Window {
            origin,
            row: 0,
            position: 10,
            tokens: vec!["a".into()],
            acts: vec![f32::from(u8::from(active))],
            masked: Vec::new(),
        },
        active,
    };
    let scored = match state {
        LatentState::Alive => vec![
            window(Origin::Top, true),
            window(Origin::Random, true),
            window(Origin::Random, false),
            window(Origin::Random, false),
        ],
        _ => Vec::new(),
    };
    LatentWindows {
        latent,
        chosen,
        state,
        n_active: 20,
        density: 0.25,
        max_act: 1.0,
        threshold: 0.01,
        shown: Vec::new(),
        scored,
        histogram: vec![(1.0, 20)],
        promoted: Vec::new(),
        suppressed: Vec::new(),
    }
}

fn windows() -> WindowsOutput {
    let alive = |number| latent(number, Chosen::Sample, LatentState::Alive);
    WindowsOutput {
        latents: vec![
            alive(3),
            alive(9),
            alive(1),
            alive(5),
            alive(6),
            latent(8, Chosen::Sample, LatentState::FewWindows),
            latent(7, Chosen::Label, LatentState::Alive),
        ],
        labels: vec![LabelLatent {
            label: "sailing".into(),
            n_documents: 12,
            latent: 7,
            precision: 0.8,
            recall: 0.5,
            f1: 0.6,
        }],
        d_sae: 320,
        n_dead: 11,
        n_few: 1,
        n_rows: 2,
        n_tokens: 80,
        n_masked: 0,
        n_bad_rows: 2,
        ended_short: false,
        text_kept: None,
    }
}

/// 3 and 9 are predicted, 1 has an answer that cannot be read, 5 was refused when it was to be
/// explained, 6 failed; 7 is of a label.
fn answers() -> (ExplainOutput, PredictOutput) {
    let explained = |latent: u32, outcome: Outcome| Explanation {
        latent,
        explanation: (outcome == Outcome::Answered).then(|| format!("words: w{latent}")),
        outcome,
        error: (outcome == Outcome::Refused).then(|| "I cannot".to_owned()),
    };
    let predicted = |latent: u32, places: Option<&[u32]>, outcome: Outcome| Prediction {
        latent,
        predicted: places.map(<[u32]>::to_vec),
        outcome,
        error: (outcome == Outcome::Unparsed).then(|| "=window 99".to_owned()),
    };
    use Outcome::{Answered, Failed, NotAsked, Refused, Unparsed};
    let explain = ExplainOutput {
        explanations: [
            (3, Answered),
            (9, Answered),
            (1, Answered),
            (5, Refused),
            (6, Answered),
            (8, NotAsked),
            (7, Answered),
        ]
        .map(|(latent, outcome)| explained(latent, outcome))
        .to_vec(),
        judge: "j-1".into(),
    };
    let predict = PredictOutput {
        predictions: vec![
            predicted(3, Some(&[0, 1]), Answered),
            predicted(9, Some(&[0]), Answered),
            predicted(1, None, Unparsed),
            predicted(5, None, NotAsked),
            predicted(6, None, Failed),
            predicted(8, None, NotAsked),
            predicted(7, Some(&[]), Answered),
        ],
        judge: "j-1".into(),
        comparable_with_paper: false,
    };
    (explain, predict)
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    (dir, store)
}

fn done<T: serde::Serialize>(plan: &Plan, store: &Store, key: &str, output: &T) {
    let output = serde_json::to_value(output).unwrap();
    let cell = plan.cell(key).unwrap();
    store
        .put_done(cell, &output, Provenance::default())
        .unwrap();
}

/// A store in which the only SAE of a plan is done.
fn whole(plan: &Plan) -> (tempfile::TempDir, Store) {
    let (dir, store) = store();
    let work = plan.rows[0].work::<AutointerpWork>().unwrap();
    let (explain, predict) = answers();
    done(plan, &store, &work.windows, &windows());
    done(plan, &store, &work.explain, &explain);
    done(plan, &store, &work.predict, &predict);
    (dir, store)
}

fn tables(options: &[(&str, &str, &str)]) -> AutointerpTables {
    let plan = plan(options);
    let (_dir, store) = whole(&plan);
    derive(&plan, &store).unwrap()
}

/// Latent 3 has all four right; 9 misses the active random window. Mean 7/8, standard deviation of
/// 1 and 3/4; of five asked 7/20.
#[test]
fn scores_are_of_the_answered_and_the_others_are_counted() {
    let row = &tables(&[]).saes[0];
    assert_eq!(row.score.value, Some(0.875));
    let std_dev = row.std_dev.unwrap();
    assert!(
        (std_dev - 0.125 * 2.0_f64.sqrt()).abs() < 1e-12,
        "{std_dev}"
    );
    assert!(row.score.std_err.unwrap() > 0.0);
    assert_eq!(row.score_unanswered_counted, Some(1.75 / 5.0));
    let counts = [row.score.n, row.n_asked, row.n_not_asked, row.n_dead];
    assert_eq!(counts, [Some(2), Some(5), Some(1), Some(11)]);
    let lost = [row.n_unparsed, row.n_refused, row.n_failed];
    assert_eq!(lost, [Some(1), Some(1), Some(1)]);
    assert_eq!((row.judge.as_str(), row.status), ("j-1", Status::Ok));
    assert_eq!(row.comparable_with_paper, Some(false));
}

/// Unchecked, the second window is false: latent 3 has three right, 9 all four.
#[test]
fn random_windows_may_count_as_inactive() {
    let paper = tables(&[("--random-windows", "random_windows", "paper_code")]);
    assert_eq!(paper.saes[0].random_windows, "paper_code");
    let scores: Vec<Option<f64>> = paper.latents.iter().map(|l| l.autointerp_score).collect();
    assert_eq!(&scores[..2], [Some(0.75), Some(1.0)]);
    assert_eq!(paper.latents[0].active, [0]);
    assert_eq!(tables(&[]).latents[0].active, [0, 1]);
}

#[test]
fn every_latent_says_what_became_of_it() {
    let rows = tables(&[]).latents;
    let outcomes: Vec<(u32, &str)> = (rows.iter())
        .map(|l| (l.latent, l.outcome.as_str()))
        .collect();
    let want = [
        (3, "scored"),
        (9, "scored"),
        (1, "unparsed"),
        (5, "refused"),
        (6, "failed"),
        (8, "few_windows"),
        (7, "scored"),
    ];
    assert_eq!(outcomes, want);
    assert_eq!(rows[3].error.as_deref(), Some("I cannot"));
    assert_eq!((rows[0].n_correct, rows[1].n_correct), (Some(4), Some(3)));
    assert_eq!(rows[6].chosen, "label");
}

#[test]
fn labels_have_the_score_of_their_latent() {
    let tables = tables(&[]);
    let row = &tables.labels[0];
    // Predicting none to be active is right about the two inactive windows, which is what the judge
    // did.
    assert_eq!(
        (row.autointerp_score, row.none_score),
        (Some(0.5), Some(0.5))
    );
    assert_eq!((row.label.as_str(), row.f1), ("sailing", 0.6));
    assert_eq!(row.explanation.as_deref(), Some("words: w7"));
}

#[test]
fn files_hold_every_row_and_can_be_read_again() {
    let plan = plan(&[]);
    let (dir, store) = whole(&plan);
    let derived = derive(&plan, &store).unwrap();
    let files = write_tables(&plan, &derived, &store).unwrap();
    let names: Vec<String> = (files.iter())
        .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let want = [
        "autointerp.csv",
        "latents.csv",
        "autointerp_labels.csv",
        "explanations.jsonl",
    ];
    assert_eq!(names, want);
    for (file, columns, n) in [
        (&files[0], header(&autointerp_columns()), 1),
        (&files[1], header(&latent_columns()), 7),
        (&files[2], header(&label_columns()), 1),
    ] {
        let table = CsvTable::read(file).unwrap();
        assert_eq!(table.columns, columns);
        assert_eq!(table.rows.len(), n);
        assert!(
            compare(&table, &table, &crate::tests::compare_options())
                .unwrap()
                .is_equal()
        );
    }
    // The columns come first, in its order.
    let text = std::fs::read_to_string(&files[0]).unwrap();
    let first = "model,sae,sae_id,layer,k,autointerp_score,std_dev,std_err,n_latents,n_dead,n_unparsed,n_refused,n_failed,judge";
    assert!(text.starts_with(first), "{text}");

    let read = Explanations::read(&dir.path().join("explanations.jsonl")).unwrap();
    let latents: Vec<u32> = read
        .of(&plan.rows[0].sae_hash)
        .iter()
        .map(|l| l.latent)
        .collect();
    // Best score first; 5 has no explanation, and 7 was not chosen but found by its label.
    assert_eq!(latents, [3, 9, 1, 6]);
}

#[test]
fn the_report_names_what_is_missing() {
    let plan = plan(&[]);
    let (_dir, store) = whole(&plan);
    let text = derive(&plan, &store).unwrap().print(&plan, Style::Plain);
    for part in [
        "dream-mask read in dream: autointerp_score",
        "0.875 ± 0.0",
        "2/5",
        "Dream-Mask L10: 0.",
        "mean over 1 SAEs: 0.875; the authors' 36 of Dream-Mask: 0.733",
        "answers that were not what was asked for 1, refused 1, failed otherwise 1, not asked about, dead or with too few windows 1",
        "judge j-1: not the paper's",
        "2 lines of the text could not be used",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn the_picture_has_a_panel_for_each_set_and_gaps_for_what_is_missing() {
    let plan = World::made_up().plan("autointerp").unwrap();
    let (_dir, empty) = store();
    let figures = shown_figures(&plan, &derive(&plan, &empty).unwrap());
    let [(name, figure)] = figures.as_slice() else {
        panic!("{} figures", figures.len());
    };
    assert_eq!((name.as_str(), figure.panels.len()), ("autointerp", 6));
    render_svg(figure).unwrap();
    let plan = self::plan(&[]);
    let (_dir, whole) = whole(&plan);
    let figure = &shown_figures(&plan, &derive(&plan, &whole).unwrap())[0].1;
    let Marks::Lines(lines) = &figure.panels[0].marks else {
        panic!("lines");
    };
    assert_eq!(lines[0].points[0].y, Some(0.875));
}

#[test]
fn what_is_not_done_has_no_number() {
    let plan = plan(&[]);
    let (_dir, empty) = store();
    let row = derive(&plan, &empty).unwrap().saes.remove(0);
    assert_eq!(
        (row.status, row.score.n, row.score.value),
        (Status::Missing, None, None)
    );

    let (_dir, half) = store();
    let work = plan.rows[0].work::<AutointerpWork>().unwrap();
    done(&plan, &half, &work.windows, &windows());
    let tables = derive(&plan, &half).unwrap();
    assert_eq!(
        (tables.saes[0].n_dead, tables.saes[0].n_asked),
        (Some(11), None)
    );
    assert_eq!(tables.latents[0].outcome, "missing");
    assert!(tables.explanations.is_empty());
}

fn header<R>(columns: &[harness_present::Column<R>]) -> Vec<&'static str> {
    columns.iter().map(|column| column.name).collect()
}

/// Scores of ours in the layers and k of the paper, against the authors' file.
#[test]
fn our_scores_meet_the_authors_on_their_keys() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tables = Catalogue::open(&root.join("benchmarks/tables"), crate::KINDS).unwrap();
    let names = paper_names(&tables.load("autointerp").unwrap());
    let ours = "model,sae,layer,k,autointerp_score,judge,n_latents\nqwen,qwen,1,50,0.9,x,100\ndream,dream-mask,27,820,0.5,x,99\nllama,llama,1,50,0.5,x,100\n";
    let mut left = CsvTable::parse("ours.csv", ours.as_bytes()).unwrap();
    let mut right =
        CsvTable::read(&root.join("results/paper/official_repo_autointerp.csv")).unwrap();
    left.rename("autointerp_score", "autointerp_score_mean")
        .unwrap();
    left.use_names(&names).unwrap();
    assert_eq!(left.keep_columns_of(&right), ["judge"]);
    let dropped = right.keep_columns_of(&left);
    assert_eq!(dropped, ["std_dev_over_latents", "complete_run", "source"]);
    let found = compare(&left, &right, &crate::tests::compare_options()).unwrap();
    assert_eq!(found.key, ["model", "sae", "layer", "k"]);
    // Two keys are in both; llama is in ours alone.
    assert_eq!((found.rows, found.values), (2, 4));
    assert!((found.largest["autointerp_score_mean"]).is_finite());
    let unknown = left.rename("score", "s").unwrap_err();
    assert!(
        unknown.to_string().contains("no column `score`"),
        "{unknown}"
    );
}
