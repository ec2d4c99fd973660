use std::{fs, path::Path};

use harness_plan::bench::{BenchSpec, Catalogue};

use crate::{
    KINDS,
    test_world::{DOCUMENTS, ROLLOUTS},
};

fn shipped() -> Catalogue {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../benchmarks/tables");
    Catalogue::open(Path::new(dir), KINDS).unwrap()
}

#[test]
fn the_shipped_benches_read() {
    let catalogue = shipped();
    for entry in catalogue.entries() {
        entry.spec.unwrap_or_else(|e| panic!("{}: {e}", entry.name));
    }
    assert_eq!(
        catalogue.names(),
        [
            "autointerp",
            "decoding-order",
            "fidelity",
            "fig10",
            "fig11",
            "fig12",
            "fig3",
            "fig4",
            "fig5",
            "fig6",
            "fig7",
            "fig8",
            "fig9",
            "table1",
            "table2",
            "table3",
            "table4",
            "transfer",
            "transfer-rollouts"
        ]
    );
}

/// Table 2 is the mean over k of the rows of Fig. 9 and Fig. 10, so its rows must be theirs.
#[test]
fn table2_is_fig9_and_fig10() {
    let catalogue = shipped();
    let (table2, fig9, fig10) = (
        catalogue.load("table2").unwrap(),
        catalogue.load("fig9").unwrap(),
        catalogue.load("fig10").unwrap(),
    );
    assert_eq!(table2.table.name(), "mean_over_k");
    assert_eq!(table2.rows, [fig9.rows, fig10.rows].concat());
    for fig in [
        catalogue.load("fig9").unwrap(),
        catalogue.load("fig10").unwrap(),
    ] {
        assert_eq!(
            (&fig.settings, &fig.zoo, &fig.real),
            (&table2.settings, &table2.zoo, &table2.real)
        );
    }
    assert_eq!(
        table2
            .rows
            .iter()
            .map(|r| r.zoo_layers.len())
            .sum::<usize>(),
        36
    );
    assert_eq!(
        table2
            .rows
            .iter()
            .map(|r| r.real_layers.len())
            .sum::<usize>(),
        36
    );
}

#[test]
fn grid_benches_know_their_figures() {
    let catalogue = shipped();
    let views = |name: &str| -> Vec<String> {
        let spec = catalogue.load(name).unwrap();
        spec.views.into_iter().map(|view| view.name).collect()
    };
    assert_eq!(views("fidelity"), ["fig3", "fig7", "fig8"]);
    assert_eq!(views("transfer"), ["fig12"]);
    assert_eq!(views("fig7"), ["fig7"]);
    let fig6 = catalogue.load("fig6").unwrap();
    assert_eq!(fig6.kinds(), [DOCUMENTS, ROLLOUTS]);
    assert_eq!(
        fig6.store,
        catalogue.load("transfer-rollouts").unwrap().store
    );
    assert!(fig6.rows.iter().all(|row| row.model == "dream-sft"));
}

#[test]
fn every_bench_runs_once_and_figures_of_its_cells_come_after() {
    let (own, figures) = shipped().all().unwrap();
    let names = |specs: &[BenchSpec]| -> String {
        let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        names.join(" ")
    };
    assert_eq!(names(&figures), "fig10 fig6 fig9");
    assert_eq!(
        names(&own),
        "autointerp decoding-order fidelity table1 table2 table3 table4 transfer transfer-rollouts"
    );
}

#[test]
fn the_same_as_the_same_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.toml");
    fs::write(&file, "title = 'x'\nsame_as = 'fig3'\n").unwrap();
    let error = shipped().load(file.to_str().unwrap()).unwrap_err();
    assert!(error.to_string().contains("names fig3"), "{error}");
    assert_eq!(error.exit_code(), 3);
}

#[test]
fn unknown_names_get_the_nearest() {
    let error = shipped().load("tabel2").unwrap_err();
    assert!(
        error.to_string().contains("did you mean `table2`"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 2);
    assert_eq!(shipped().load("no/such.toml").unwrap_err().exit_code(), 3);
}
