//! Values of grid benches, from hand-made outputs.

use harness_core::{
    ev::EvMoments,
    fidelity::{COUNTED, Logits, SpliceKind, sum_columns},
    record::Status,
    units::UnitSums,
};

use super::*;
use crate::test_world::World;
use crate::{catalogue::list_sets, fidelity::rows::GridRow, write_tables};
use harness_contract::{
    outputs::{FidelityOutput, RolloutOutput},
    protocol::{Failure, FailureKind},
};
use harness_plan::expand::PlannedRow;
use harness_present::text_table::Style;
use harness_store::{Access, Provenance, Store};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    (dir, store)
}

fn plan(options: &[(&str, &str, &str)], bench: &str) -> Plan {
    World::made_up().options(options).plan(bench).unwrap()
}

/// A shard of two rows, each one unit, of 4 counted tokens in all and rates of one half: clean 8
/// nats, spliced 8 + `delta`. Two tokens x = ±`x` are reconstructed as 0.9 x.
fn output(delta: f64, x: f32, is_diffusion: bool) -> FidelityOutput {
    let columns = sum_columns(&[SpliceKind::All], &[Logits::Aligned], is_diffusion, true);
    let mut units = UnitSums::new(columns.clone());
    for unit in 0..2 {
        for (i, column) in columns.iter().enumerate() {
            let (pass, weight) = (
                column.split('.').next().unwrap(),
                column.ends_with("weighted"),
            );
            let ce = if pass == "all" {
                4.0 + delta / 2.0
            } else {
                4.0
            };
            let value = match column.as_str() {
                COUNTED => 2.0,
                "all.kl" => 0.5,
                "ev.tokens" | "ev_robust.tokens" | "ev_token.tokens" => 1.0,
                _ if column.starts_with("ev") => 1.0,
                _ if weight => 2.0 * ce,
                _ => ce,
            };
            units.add(unit, i, value);
        }
    }
    let mut moments = EvMoments::new(1);
    moments.update(&[x, -x], &[0.9 * x, -0.9 * x]).unwrap();
    FidelityOutput {
        units,
        moments: moments.clone(),
        moments_robust: moments,
        n_rows: 2,
        n_tokens: 20,
        n_bad_rows: 1,
        n_too_short: 0,
        ended_short: false,
        text_kept: None,
    }
}

fn work(row: &PlannedRow) -> &GridWork {
    row.work::<GridWork>().unwrap()
}

fn put(plan: &Plan, store: &Store, key: &str, output: &FidelityOutput) {
    let cell = plan.cell(key).unwrap();
    store.put_done(cell, output, Provenance::default()).unwrap();
}

fn fail(plan: &Plan, store: &Store, key: &str) {
    let failure = Failure::new(FailureKind::OutOfMemory, "out of memory");
    let cell = plan.cell(key).unwrap();
    store
        .put_failed(cell, failure, Provenance::default())
        .unwrap();
}

fn value<'a>(rows: &'a [GridRow], at: &PlannedRow, metric: &str, variant: &str) -> &'a GridRow {
    let is_of = |r: &&GridRow| {
        (&r.model, &r.sae.set, r.sae.layer, r.sae.k)
            == (&at.model, &at.sae.set, at.sae.layer, at.sae.k)
            && (r.measure.name, r.variant.as_str()) == (metric, variant)
    };
    rows.iter()
        .find(is_of)
        .unwrap_or_else(|| panic!("no {metric} {variant} of {}", at.sae))
}

const KL_ONLY: [(&str, &str, &str); 1] = [("--measures", "measures", "kl")];

#[test]
fn shards_are_merged_into_one_value() {
    let options = [
        KL_ONLY[0],
        ("--budget-tokens", "budget_tokens", "40"),
        ("--set", "shard_tokens", "20"),
    ];
    let plan = plan(&options, "fidelity");
    let (_dir, store) = store();
    for row in &plan.rows {
        let is_diffusion = work(row).is_diffusion;
        assert_eq!(work(row).shards.len(), 2);
        for (key, delta) in work(row).shards.iter().zip([2.0, 4.0]) {
            put(&plan, &store, key, &output(delta, 1.0, is_diffusion));
        }
    }
    let derived = derive(&plan, &store).unwrap();
    assert!(derived.rollouts.is_empty());
    let dream = plan
        .rows
        .iter()
        .find(|r| r.sae.set == "dream-mask")
        .unwrap();
    let get = |metric, variant| value(&derived.grid, dream, metric, variant);
    // 8 counted tokens, 16 nats clean and 22 spliced; weighted twice that.
    let delta = get("delta_lm_loss", "aligned-plain-all");
    assert_eq!(
        (delta.estimate.value, delta.estimate.n),
        (Some(22.0 / 8.0 - 2.0), Some(8))
    );
    let weighted = get("delta_lm_loss", "aligned-weighted-all");
    assert_eq!(weighted.estimate.value, Some(44.0 / 8.0 - 4.0));
    assert!(weighted.estimate.std_err.unwrap() > 0.0 && weighted.status == Status::Ok);
    assert_eq!(get("kl", "aligned-plain-all").estimate.value, Some(0.25));
    // Errors of a tenth: 1 - 0.01.
    let ev = get("ev", "ev_var").estimate.value.unwrap();
    assert!((ev - 0.99).abs() < 1e-6, "{ev}");
    let qwen = &plan.rows[0];
    assert_eq!(qwen.model, "qwen");
    let is_weighted = |r: &GridRow| r.model == "qwen" && r.variant.contains("weighted");
    assert!(!derived.grid.iter().any(is_weighted));

    let text = derived.print(&plan, Style::Plain);
    for part in [
        "dream-mask spliced into dream, on text (policy mask)",
        "delta (1/t)",
        "Dream-Mask L27: ",
        "4 rows of 40 tokens, 2 bad rows passed over",
        "compare them with the variants `paper_code`",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let markdown = derived.print(&plan, Style::Markdown);
    assert!(
        markdown.contains("### qwen spliced into qwen"),
        "{markdown}"
    );
}

#[test]
fn files_have_the_columns_of_the_protocol() {
    let plan = plan(&KL_ONLY, "fidelity");
    let (_dir, store) = store();
    for row in &plan.rows {
        let shard = output(2.0, 1.0, work(row).is_diffusion);
        put(&plan, &store, &work(row).shards[0], &shard);
    }
    let paths = write_tables(&plan, &derive(&plan, &store).unwrap(), &store).unwrap();
    let names: Vec<String> = paths
        .iter()
        .map(|p| p.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, ["fidelity.csv", "fig3.csv", "fig7.csv", "fig8.csv"]);
    let text = |i: usize| std::fs::read_to_string(&paths[i]).unwrap();
    let tidy = text(0);
    assert_eq!(
        tidy.lines().next().unwrap(),
        "model,sae,sae_id,layer,k,metric,variant,value,std_err,n,status"
    );
    assert!(
        tidy.contains(
            "qwen,qwen,resid_post_layer_1/trainer_1,1,8,delta_lm_loss,aligned-plain-all,0.5,0,4,ok"
        ),
        "{tidy}"
    );
    // The scale of the paper: weighted for masked diffusion, plain for next tokens.
    let fig3 = text(1);
    assert_eq!(fig3.lines().count(), 37);
    for (set, values) in [
        ("qwen,qwen", "0.5,2,2.5,4"),
        ("dream,dream-mask", "1,4,5,4"),
    ] {
        let row = format!("\n{set},resid_post_layer_1/trainer_1,1,8,{values},ok\n");
        assert!(fig3.contains(&row), "{fig3}");
    }
    assert_eq!(
        text(3).lines().next().unwrap(),
        "model,sae,sae_id,layer,k,ev,status"
    );
}

/// A shard that failed or was not run is never left out in silence.
#[test]
fn what_is_not_done_has_a_status_and_no_numbers() {
    let options = [
        KL_ONLY[0],
        ("--rows", "rows", "qwen"),
        ("--layers", "layers", "1,2"),
        ("--budget-tokens", "budget_tokens", "40"),
        ("--set", "shard_tokens", "20"),
    ];
    let plan = plan(&options, "fidelity");
    let (_dir, store) = store();
    let shards = |i: usize| &work(&plan.rows[i]).shards;
    put(&plan, &store, &shards(0)[0], &output(2.0, 1.0, false));
    fail(&plan, &store, &shards(0)[1]);
    fail(&plan, &store, &shards(1)[0]);
    put(&plan, &store, &shards(3)[1], &output(2.0, 1.0, false));
    let derived = derive(&plan, &store).unwrap();
    let got: Vec<_> = plan
        .rows
        .iter()
        .map(|row| {
            let row = value(&derived.grid, row, "delta_lm_loss", "aligned-plain-all");
            (row.status, row.estimate.value.is_some(), row.estimate.n)
        })
        .collect();
    assert_eq!(
        got,
        [
            (Status::Partial, true, Some(4)),
            (Status::Failed, false, None),
            (Status::Missing, false, None),
            (Status::Partial, true, Some(4)),
        ]
    );
    // The same values for every SAE, done or not.
    let per_sae = derived.grid.len() / 4;
    assert!(per_sae > 5 && derived.grid.len() == 4 * per_sae);
    let csv = csv_table(&grid_columns(), &derived.grid);
    assert!(
        csv.contains("qwen,qwen,resid_post_layer_1/trainer_1,1,8,ev,ev_var,,,,failed"),
        "{csv}"
    );
    let text = derived.print(&plan, Style::Plain);
    for part in [
        "2 of 4 SAEs are partial",
        "1 of 4 SAEs are failed",
        "1 of 4 SAEs are missing",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn fig6_stands_on_text_and_on_rollouts() {
    let options = [KL_ONLY[0], ("--layers", "layers", "1"), ("--k", "k", "8")];
    let plan = plan(&options, "fig6");
    assert_eq!(plan.rows.len(), 4);
    let (_dir, store) = store();
    let lines = || {
        let derived = derive(&plan, &store).unwrap();
        let paths = write_tables(&plan, &derived, &store).unwrap();
        assert_eq!(paths.len(), 1);
        std::fs::read_to_string(&paths[0]).unwrap()
    };
    for row in plan.rows.iter().filter(|r| work(r).rollout.is_none()) {
        put(&plan, &store, &work(row).shards[0], &output(2.0, 1.0, true));
    }
    let text = lines();
    assert!(
        text.starts_with("target,sae_source,sae_id,layer,k,delta_lm,ev,rollout_delta_lm,status\n"),
        "{text}"
    );
    assert!(
        text.contains(",,partial\n") && text.lines().count() == 3,
        "{text}"
    );
    let rollout = work(&plan.rows[2]).rollout.clone().unwrap();
    let cell = plan.cell(&rollout).unwrap();
    let none = RolloutOutput::default();
    store.put_done(cell, &none, Provenance::default()).unwrap();
    for row in plan.rows.iter().filter(|r| work(r).rollout.is_some()) {
        put(&plan, &store, &work(row).shards[0], &output(4.0, 1.0, true));
    }
    let text = lines();
    let row = "dream-sft,dream-mask,resid_post_layer_1/trainer_1,1,8,1,";
    assert!(text.contains(row), "{text}");
    assert!(text.lines().skip(1).all(|l| l.ends_with(",2,ok")), "{text}");
}

/// Continuations that could not be written fail what is measured on them.
#[test]
fn failed_rollouts_fail_their_rows() {
    let plan = plan(&KL_ONLY, "transfer-rollouts");
    let (_dir, store) = store();
    fail(&plan, &store, work(&plan.rows[0]).rollout.as_ref().unwrap());
    let derived = derive(&plan, &store).unwrap();
    assert!(!derived.rollouts.is_empty() && derived.grid.is_empty());
    assert!(
        derived
            .rollouts
            .iter()
            .all(|row| row.status == Status::Failed)
    );
}

#[test]
fn compare_knows_the_rows_of_a_grid_by_their_variant() {
    use harness_present::compare::{CsvTable, compare};
    let csv = "model,sae,sae_id,layer,k,metric,variant,value,std_err,n,status\n\
        m,s,a,1,8,ev,ev_var,0.5,0.1,4,ok\nm,s,a,1,8,ev,ev_mse,0.4,0.1,4,ok\n";
    let table = |text: &str| CsvTable::parse("a.csv", text.as_bytes()).unwrap();
    let same = compare(&table(csv), &table(csv), &crate::tests::compare_options()).unwrap();
    assert_eq!((same.rows, same.differences.len()), (2, 0));
    assert_eq!(
        same.key,
        ["model", "sae", "sae_id", "layer", "k", "metric", "variant"]
    );
    let other = csv.replace("0.4,", "0.3,");
    let found = compare(
        &table(csv),
        &table(&other),
        &crate::tests::compare_options(),
    )
    .unwrap();
    assert_eq!(found.differences.len(), 1);
}

#[test]
fn table1_and_table3_list_what_the_sets_say() {
    use harness_plan::{
        bench::{Catalogue, Overrides},
        expand::PlanError,
    };
    use std::{collections::BTreeMap, path::Path};
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../benchmarks"));
    let catalogue = Catalogue::open(&dir.join("tables"), crate::KINDS).unwrap();
    let list = |bench: &str, options: &[(&str, &str, &str)], named: &BTreeMap<_, _>| {
        let spec = catalogue.load(bench).unwrap();
        let overrides = Overrides::from_options(&spec.kinds(), crate::KINDS, options);
        let ask = |dirs| Ok(crate::tests::answers(dirs));
        list_sets::<PlanError>(&spec, named, &dir.join("zoo"), &overrides, ask)
    };
    let none = BTreeMap::new();
    let table1 = list("table1", &[], &none).unwrap();
    assert!(
        table1.csv().starts_with("sae,attribute,value\nqwen,Model,"),
        "{}",
        table1.csv()
    );
    let one = list("table3", &[("--rows", "rows", "dream-mask")], &none).unwrap();
    let csv = one.csv();
    assert!(
        csv.lines().count() == 2 && csv.contains("dream,dream-mask,"),
        "{csv}"
    );
    let text = one.print("Table 3", Style::Markdown);
    assert!(text.starts_with("## Table 3\n"), "{text}");
    let error = list("table1", &[("--rows", "rows", "dream-msk")], &none).unwrap_err();
    assert!(
        error.to_string().contains("did you mean `dream-mask`"),
        "{error}"
    );
    let named = BTreeMap::from([("qwen".to_owned(), "no/such".into())]);
    assert_eq!(list("table3", &[], &named).unwrap_err().exit_code(), 20);
}
