use harness_core::{record::Status, stats::Estimate};

use super::*;
use crate::test_world::{World, spec};
use crate::write_tables;
use harness_contract::{
    outputs::ScoreOutput,
    protocol::{Counters, Failure, FailureKind},
    stages::Stage,
};
use harness_plan::expand::PlannedRow;
use harness_present::text_table::Style;
use harness_store::{Access, Provenance, Store};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    (dir, store)
}

/// Scores that differ from row to row and keep S = C + 0.3 P.
fn score_of(row: &PlannedRow) -> ScoreOutput {
    let c = f64::from(row.sae.layer) / 10.0
        + f64::from(row.sae.k.unwrap()) / 1000.0
        + row.sae.set.len() as f64 / 100.0;
    let p = -f64::from(row.sae.k.unwrap()) / 30.0;
    let estimate = |value| Estimate {
        value: Some(value),
        std_err: Some(0.01),
        n: Some(10),
    };
    ScoreOutput {
        features: vec![],
        concept_improvement: estimate(c),
        perplexity_reduction: estimate(p),
        steering_score: estimate(c + 0.3 * p),
        n_features: 10,
        n_valid: 9,
        n_judged: 9,
        missing: [("refused".to_owned(), 1)].into(),
        judge: "lexical-1".into(),
        comparable_with_paper: false,
        metrics: Vec::new(),
    }
}

fn finish(plan: &Plan, store: &Store, rows: impl Iterator<Item = usize>) {
    for i in rows {
        let row = &plan.rows[i];
        let cell = plan
            .cell(&row.work::<SteeringWork>().unwrap().cells.score)
            .unwrap();
        store
            .put_done(cell, &score_of(row), Provenance::default())
            .unwrap();
    }
}

#[test]
fn table2_from_finished_cells() {
    let plan = World::made_up().plan("table2").unwrap();
    let (_dir, store) = store();
    finish(&plan, &store, 0..plan.rows.len());
    let derived = derive(&plan, &store).unwrap();
    assert_eq!((derived.table2.len(), derived.by_k.len()), (36, 72));
    for row in &derived.table2 {
        let n = &row.numbers;
        let (c, p, s) = (
            n.concept_improvement.value,
            n.perplexity_reduction.value,
            n.steering_score.value,
        );
        assert!((s.unwrap() - c.unwrap() - 0.3 * p.unwrap()).abs() < 1e-12);
        assert_eq!(
            (n.n_features, n.n_valid, n.status),
            (Some(20), Some(18), Status::Ok)
        );
        assert!((n.steering_score.std_err.unwrap() - 0.01 / 2f64.sqrt()).abs() < 1e-15);
    }
    // A star for each of the twelve family × layer groups; the longest name of a group scores best.
    let stars: Vec<&str> = derived
        .table2
        .iter()
        .filter(|r| r.starred)
        .map(|r| r.sae.as_str())
        .collect();
    assert_eq!(stars.len(), 12);
    assert!(stars.iter().all(|s| s.ends_with("unmask")), "{stars:?}");

    let text = derived.print(&plan, Style::Plain);
    for part in [
        "Judge lexical-1; its scores are not comparable",
        "Qwen-SAE L27",
        "± 0.01",
        "18/20",
        "at the layer of the same place",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(
        derived
            .print(&plan, Style::Markdown)
            .starts_with("## Table 2")
    );
}

#[test]
fn csv_does_not_depend_on_the_order_of_work() {
    let plan = World::made_up().plan("table2").unwrap();
    let n = plan.rows.len();
    let files = |order: Vec<usize>| {
        let (_dir, store) = store();
        finish(&plan, &store, order.into_iter());
        let paths = write_tables(&plan, &derive(&plan, &store).unwrap(), &store).unwrap();
        paths
            .iter()
            .map(|p| std::fs::read_to_string(p).unwrap())
            .collect::<Vec<_>>()
    };
    let forwards = files((0..n).collect());
    assert_eq!(forwards, files((0..n).rev().collect()));
    assert_eq!(forwards[0].lines().count(), 37);
    assert_eq!(forwards[1].lines().count(), 73);
}

#[test]
fn what_is_not_done_has_a_status_and_no_numbers() {
    let mut plan = World::made_up()
        .options(&[("--layers", "layers", "2,4")])
        .plan("fig9")
        .unwrap();
    let (_dir, store) = store();
    plan.table = spec("table2").table;
    // Rows come as set, layer, k: the first layer of qwen is half done, the second failed, the rest
    // missing.
    finish(&plan, &store, 0..1);
    let failure = Failure::new(FailureKind::OutOfMemory, "out of memory");
    for row in &plan.rows[2..4] {
        store
            .put_failed(
                plan.cell(&row.work::<SteeringWork>().unwrap().cells.steer)
                    .unwrap(),
                failure.clone(),
                Provenance::default(),
            )
            .unwrap();
    }
    let derived = derive(&plan, &store).unwrap();
    let got: Vec<_> = derived
        .table2
        .iter()
        .map(|r| (r.numbers.status, r.numbers.n_features))
        .collect();
    assert_eq!(
        got[..3],
        [
            (Status::Partial, Some(10)),
            (Status::Failed, None),
            (Status::Missing, None)
        ]
    );
    let csv = csv_table(&table2_columns(), &derived.table2);
    assert!(
        csv.lines()
            .nth(2)
            .unwrap()
            .ends_with("qwen,4,middle,,,,false,,,,,,,,,,,failed"),
        "{csv}"
    );
    let text = derived.print(&plan, Style::Plain);
    assert!(
        text.contains("2 of 12 SAEs are failed") && text.contains("9 of 12 SAEs are missing"),
        "{text}"
    );
}

#[test]
fn table4_has_times_of_the_cells_of_one_sae() {
    let plan = World::made_up().plan("table4").unwrap();
    let (_dir, store) = store();
    let row = &plan.rows[0];
    let provenance = Provenance {
        counters: Counters {
            seconds: 30.0,
            ..Counters::default()
        },
        ..Provenance::default()
    };
    for key in [
        &row.work::<SteeringWork>().unwrap().cells.features,
        &row.work::<SteeringWork>().unwrap().cells.steer,
        &row.work::<SteeringWork>().unwrap().cells.perplexities[1],
        &row.work::<SteeringWork>().unwrap().cells.judge,
    ] {
        store
            .put_done(
                plan.cell(key).unwrap(),
                &serde_json::json!({}),
                provenance.clone(),
            )
            .unwrap();
    }
    store
        .put_done(
            plan.cell(&row.work::<SteeringWork>().unwrap().cells.score)
                .unwrap(),
            &score_of(row),
            provenance,
        )
        .unwrap();
    let derived = derive(&plan, &store).unwrap();
    assert_eq!(
        (derived.table4.len(), derived.table4[0].time_per_sae_min),
        (10, Some(2.0))
    );
    assert_eq!(
        (derived.table4[0].dlm_steps, derived.table4[1].dlm_steps),
        (None, Some(30))
    );
    assert_eq!(derived.table4[1].time_per_sae_min, None);
    let text = derived.print(&plan, Style::Plain);
    assert!(text.contains("top-15") && text.contains("2.00"), "{text}");
    assert_eq!(
        plan.cell(&row.work::<SteeringWork>().unwrap().cells.score)
            .unwrap()
            .stage(),
        Stage::Score
    );
}
