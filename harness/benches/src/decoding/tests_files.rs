//! Accuracies, comparisons and files of the decoding-order bench, from hand-made outputs.

use std::{collections::BTreeMap, path::Path};

use harness_core::record::Status;

use super::{
    tests::{SMALL, done, fail, plan, row, store, whole},
    *,
};
use crate::test_world::World;
use crate::{
    decoding::rows::{AccuracyRow, PairedRow},
    write_tables,
};
use harness_present::compare::{CsvTable, compare};
use harness_present::text_table::Style;
use harness_store::{Provenance, Store};

/// Files of a bench by name.
fn files(plan: &Plan, store: &Store) -> BTreeMap<String, String> {
    let paths = write_tables(plan, &derive(plan, store).unwrap(), store).unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths
        .iter()
        .map(|path| (name(path), std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn accuracy<'a>(rows: &'a [AccuracyRow], order: &str, extraction: &str) -> &'a AccuracyRow {
    let is_it = |row: &&AccuracyRow| (&*row.order, &*row.extraction) == (order, extraction);
    rows.iter().find(is_it).unwrap()
}

fn close(got: Option<f64>, want: f64) {
    let got = got.unwrap();
    assert!((got - want).abs() < 1e-6, "{got} is not {want}");
}

/// Three questions have a gold answer. Wilson with z = 1.959964, z² = 3.841459, of 1 right in 3:
/// centre (1/3 + 3.841459/6) / (1 + 3.841459/3) = 0.426916, half 1.959964 sqrt((2/9)/3 +
/// 3.841459/36) / 2.280486 = 0.365424.
#[test]
fn accuracies_count_only_questions_whose_gold_answer_was_read() {
    let plan = plan("decoding-order");
    let (_dir, store) = whole(&plan);
    let rows = derive(&plan, &store).unwrap().accuracy;
    assert_eq!(rows.len(), 4);
    let strict = accuracy(&rows, "origin", "strict");
    assert_eq!((strict.n, strict.correct), (Some(3), Some(1)));
    assert_eq!(strict.accuracy, Some(1.0 / 3.0));
    close(strict.lo, 0.061492);
    close(strict.hi, 0.792340);
    // 2 and 4 have no strict answer; 9 has none either, and is not scored.
    assert_eq!(strict.n_no_answer, Some(2));
    assert_eq!(strict.n_gold_unread, Some(1));
    assert_eq!(strict.mean_steps, Some(13.0 / 4.0));
    assert_eq!(
        (&*strict.model, &*strict.preset, strict.status),
        ("dream-instruct", "question@1", Status::Ok)
    );
    let flexible = accuracy(&rows, "origin", "flexible");
    let counts = |row: &AccuracyRow| (row.n, row.correct, row.n_no_answer, row.n_gold_unread);
    assert_eq!(counts(flexible), (Some(3), Some(2), Some(1), Some(1)));
    let entropy = accuracy(&rows, "entropy", "strict");
    assert_eq!(counts(entropy), (Some(3), Some(2), Some(0), Some(1)));
    // 2 of 3 is 1 of 3 turned round.
    close(entropy.lo, 1.0 - 0.792340);
    close(entropy.hi, 1.0 - 0.061492);

    let text = derive(&plan, &store).unwrap().print(&plan, Style::Plain);
    for part in [
        "dream-instruct: right answers, preset question@1",
        "1/3",
        "6.1 to 79.2 %",
        "1 questions have a gold answer that could not be read",
        "Layers 2, 5, top 8 latents, 4 steps, 3 new tokens.",
        "entropy against origin: +33.3 points",
        "3 questions right in one only, p = 1.000",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

fn paired<'a>(rows: &'a [PairedRow], extraction: &str) -> &'a PairedRow {
    rows.iter()
        .find(|row| row.extraction == extraction)
        .unwrap()
}

/// Strictly: 7 is right under origin only, 2 and 4 under entropy only. The correlation of the
/// fourfold table 0, 1, 2, 0 is -1, so the interval is 1/3 - ((2/3 - 0.207660) + (0.792340 - 1/3))
/// to 1/3 + ((0.938508 - 2/3) + (1/3 - 0.061492)); p = min(1, 2 · 4/8).
#[test]
fn orders_are_compared_on_the_questions_both_have_answered() {
    let plan = plan("decoding-order");
    let (_dir, whole_store) = whole(&plan);
    let rows = derive(&plan, &whole_store).unwrap().paired;
    assert_eq!(rows.len(), 2);
    let strict = paired(&rows, "strict");
    assert_eq!((&*strict.order_a, &*strict.order_b), ("origin", "entropy"));
    assert_eq!(
        (strict.n, strict.only_a, strict.only_b),
        (Some(3), Some(1), Some(2))
    );
    assert_eq!(strict.difference, Some(1.0 / 3.0));
    close(strict.lo, -0.584681);
    close(strict.hi, 0.877016);
    assert_eq!((strict.p_value, strict.status), (Some(1.0), Status::Ok));
    let flexible = paired(&rows, "flexible");
    assert_eq!(
        (flexible.n, flexible.only_a, flexible.only_b),
        (Some(3), Some(1), Some(1))
    );

    // Without entropy's second part two questions are left in common: 7 and 2.
    let (_dir, store) = store();
    for (order, part) in [(0, 0), (0, 1), (1, 0)] {
        done(&plan, &store, order, part, &Provenance::default());
    }
    let rows = derive(&plan, &store).unwrap().paired;
    let strict = paired(&rows, "strict");
    assert_eq!(
        (strict.n, strict.only_a, strict.only_b, strict.difference),
        (Some(2), Some(1), Some(1), Some(0.0))
    );
    assert_eq!(strict.status, Status::Partial);
}

/// Parts that do not meet leave no question in common: a comparison that was made, of nothing.
#[test]
fn parts_that_do_not_meet_are_compared_on_nothing() {
    let plan = plan("decoding-order");
    let (_dir, store) = store();
    done(&plan, &store, 0, 0, &Provenance::default());
    done(&plan, &store, 1, 1, &Provenance::default());
    let rows = derive(&plan, &store).unwrap().paired;
    let strict = paired(&rows, "strict");
    assert_eq!((strict.n, strict.status), (Some(0), Status::Partial));
    assert_eq!(
        (strict.difference, strict.lo, strict.hi, strict.p_value),
        (None, None, None, None)
    );
}

#[test]
fn an_order_with_a_part_left_out_is_partial_and_its_values_are_of_the_rest() {
    let plan = plan("decoding-order");
    let (_dir, store) = store();
    // Origin: the part with a restless and a still prompt; the other failed.
    done(&plan, &store, 0, 0, &Provenance::default());
    fail(&plan, &store, 0, 1);
    let tables = derive(&plan, &store).unwrap();
    let step = row(&tables.steps, ("origin", Some(2), Some(2), "flip_count"));
    assert_eq!(
        (step.estimate.value, step.estimate.n, step.status),
        (Some(0.5), Some(2), Status::Partial)
    );
    let strict = accuracy(&tables.accuracy, "origin", "strict");
    assert_eq!(
        (strict.n, strict.correct, strict.status),
        (Some(2), Some(1), Status::Partial)
    );
    assert_eq!(strict.mean_steps, Some(3.5));
    // Entropy has not been run: no comparison.
    let pair = paired(&tables.paired, "strict");
    assert_eq!((pair.n, pair.status), (None, Status::Missing));
    let text = derive(&plan, &store).unwrap().print(&plan, Style::Plain);
    for part in ["1 orders are partial.", "1 orders are missing."] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

/// Orders that failed or were not run have all their rows, with a status and without numbers.
#[test]
fn what_is_not_done_has_a_status_and_no_numbers() {
    let plan = plan("decoding-order");
    let (_dir, store) = store();
    fail(&plan, &store, 1, 0);
    let empty = files(&plan, &store);
    let (_other, whole_store) = whole(&plan);
    let full = files(&plan, &whole_store);
    assert_eq!(
        empty.keys().collect::<Vec<_>>(),
        full.keys().collect::<Vec<_>>()
    );
    for (name, text) in &empty {
        let keys = |text: &str| -> Vec<Vec<String>> {
            let table = CsvTable::parse(name, text.as_bytes()).unwrap();
            let is_key = |c: &&str| {
                ![
                    "value",
                    "std_err",
                    "n",
                    "status",
                    "correct",
                    "accuracy",
                    "lo",
                    "hi",
                    "n_no_answer",
                    "n_gold_unread",
                    "mean_steps",
                    "only_a",
                    "only_b",
                    "difference",
                    "p_value",
                ]
                .contains(c)
            };
            let columns = table.columns.iter().map(String::as_str).filter(is_key);
            let places: Vec<usize> = columns.map(|c| table.column(c).unwrap()).collect();
            let key = |row: &Vec<String>| places.iter().map(|p| row[*p].clone()).collect();
            table.rows.iter().map(key).collect()
        };
        assert_eq!(keys(text), keys(&full[name]), "{name}");
        let rows = text.lines().skip(1);
        for row in rows {
            let is_failed = row.contains("entropy");
            let (n_empty, status) = match name.as_str() {
                "accuracy.csv" => (8, if is_failed { "failed" } else { "missing" }),
                // Origin is missing and entropy has failed.
                "accuracy_paired.csv" => (7, "failed"),
                _ => (3, if is_failed { "failed" } else { "missing" }),
            };
            let fields: Vec<&str> = row.split(',').collect();
            let n = fields.iter().filter(|field| field.is_empty()).count();
            // A mean over layers has no layer and no SAE.
            let no_layer = name.ends_with("_summary.csv") && fields[2].is_empty();
            assert_eq!(n, n_empty + 2 * usize::from(no_layer), "{name}: {row}");
            assert_eq!(fields.last(), Some(&status), "{name}: {row}");
        }
    }
    let steps = &empty["decoding-order.csv"];
    let line = "dream-instruct,entropy,resid_post_layer_2/trainer_1,2,3,1,drift_post,,,,failed";
    assert!(steps.lines().any(|row| row == line), "{steps}");
}

#[test]
fn files_have_the_documented_columns_and_rows() {
    let plan = plan("decoding-order");
    let (_dir, store) = whole(&plan);
    let files = files(&plan, &store);
    let steps = "model,order,sae_id,layer,step,progress,metric,value,std_err,n,status";
    let curves = "model,order,bin,progress,metric,value,std_err,n,status";
    let want: [(&str, &str, usize); 12] = [
        (
            "accuracy.csv",
            "model,order,preset,n,correct,accuracy,lo,hi,extraction,n_no_answer,n_gold_unread,mean_steps,status",
            4,
        ),
        (
            "accuracy_paired.csv",
            "model,preset,extraction,order_a,order_b,n,only_a,only_b,difference,lo,hi,p_value,status",
            2,
        ),
        ("decoding-order.csv", steps, 2 * 2 * 3 * 4),
        (
            "decoding-order_by_position.csv",
            "model,order,sae_id,layer,position,progress,metric,value,std_err,n,status",
            2 * 2 * 3 * 4,
        ),
        ("decoding-order_curves.csv", curves, 2 * 2 * 4),
        (
            "decoding-order_summary.csv",
            "model,order,sae_id,layer,metric,value,std_err,n,status",
            2 * 3 * 4,
        ),
        ("fig11.csv", steps, 2 * 2 * 3 * 2),
        ("fig11_curves.csv", curves, 2 * 2 * 2),
        ("fig4.csv", steps, 2 * 2 * 3),
        ("fig4_curves.csv", curves, 2 * 2),
        ("fig5.csv", steps, 2 * 2 * 3),
        ("fig5_curves.csv", curves, 2 * 2),
    ];
    let got: Vec<(&str, &str, usize)> = files
        .iter()
        .map(|(name, text)| {
            let header = text.lines().next().unwrap();
            (name.as_str(), header, text.lines().count() - 1)
        })
        .collect();
    assert_eq!(got, want);
    let has = |file: &str, line: &str| {
        let text = &files[file];
        assert!(text.lines().any(|row| row == line), "{line} not in\n{text}");
    };
    let no_error = |file: &str, line: &str| has(file, &format!("dream-instruct,entropy,{line},ok"));
    no_error(
        "decoding-order.csv",
        "resid_post_layer_2/trainer_1,2,1,0.3333333333333333,jaccard_pre,1,0,8",
    );
    no_error("decoding-order_curves.csv", "1,0.75,drift_post,0,0,12");
    no_error("decoding-order_summary.csv", ",,lock_rate,1,0,12");
    no_error(
        "decoding-order_by_position.csv",
        "resid_post_layer_5/trainer_1,5,0,0,drift_post,0,0,4",
    );
    // Undefined is empty, although the order is done.
    no_error(
        "decoding-order.csv",
        "resid_post_layer_2/trainer_1,2,3,1,jaccard_pre,,,0",
    );
    assert!(
        files["accuracy.csv"]
            .contains("dream-instruct,origin,question@1,3,1,0.3333333333333333,0.06")
    );
    assert!(files["accuracy_paired.csv"].contains(
        "dream-instruct,question@1,strict,origin,entropy,3,1,2,0.3333333333333333,-0.58"
    ));
    // Without the option there is no file of positions.
    let options: Vec<_> = SMALL
        .into_iter()
        .filter(|o| o.0 != "--by-position")
        .collect();
    let plain = World::made_up().options(&options).plan("decoding-order");
    assert!(
        !super::tests_files::files(&plain.unwrap(), &store)
            .contains_key("decoding-order_by_position.csv")
    );
}

#[test]
fn figures_hold_their_metrics_alone() {
    let whole_plan = plan("decoding-order");
    let (_dir, store) = whole(&whole_plan);
    let all = files(&whole_plan, &store);
    for (figure, metrics) in [
        ("fig4", ["jaccard_pre"].as_slice()),
        ("fig5", &["drift_post"]),
        ("fig11", &["lock_rate", "flip_count"]),
    ] {
        for (ending, column) in [("", 6), ("_curves", 4)] {
            let name = format!("{figure}{ending}.csv");
            let base = &all[&format!("decoding-order{ending}.csv")];
            let is_shown = |line: &&str| metrics.contains(&line.split(',').nth(column).unwrap());
            let want: Vec<&str> = base.lines().skip(1).filter(is_shown).collect();
            let got: Vec<&str> = all[&name].lines().skip(1).collect();
            assert!(!want.is_empty());
            assert_eq!(got, want, "{name}");
        }
        // The figure alone, from the same cells, writes the same file and nothing of the others.
        let alone = files(&plan(figure), &store);
        let names: Vec<&str> = alone.keys().map(String::as_str).collect();
        let (own, curves) = (format!("{figure}.csv"), format!("{figure}_curves.csv"));
        assert_eq!(names, [own.as_str(), curves.as_str()]);
        assert!(alone[&own] == all[&own] && alone[&curves] == all[&curves]);
    }
}

#[test]
fn equal_cells_give_equal_bytes_in_whatever_order_they_were_done() {
    let plan = plan("decoding-order");
    let (_dir, first) = whole(&plan);
    let (_other_dir, second) = store();
    let elsewhere = Provenance {
        device: "elsewhere".into(),
        finished_unix: 12,
        ..Provenance::default()
    };
    for (order, part) in [(1, 1), (0, 1), (1, 0), (0, 0)] {
        done(&plan, &second, order, part, &elsewhere);
    }
    assert_eq!(files(&plan, &first), files(&plan, &second));
}

#[test]
fn every_file_can_be_compared_by_its_key() {
    let plan = plan("decoding-order");
    let (_dir, first) = whole(&plan);
    for (name, text) in files(&plan, &first) {
        let table = CsvTable::parse(&name, text.as_bytes()).unwrap();
        let mut other = table.clone();
        other.rows.reverse();
        let same = compare(&table, &other, &crate::tests::compare_options()).unwrap();
        assert_eq!(
            (same.rows, same.differences.len()),
            (table.rows.len(), 0),
            "{name}: keys {:?}",
            same.key
        );
        let status = table.column("status").unwrap();
        other.rows[0][status] = "partial".into();
        let found = compare(&table, &other, &crate::tests::compare_options()).unwrap();
        assert_eq!(found.differences.len(), 1, "{name}");
    }
}
