//! Row 48: tables in other orders, encodings and schemas, and text that would do something where it
//! is shown.

use std::path::Path;

use harness_contract::{
    cell::Cell,
    protocol::{Failure, FailureKind},
    stages::ScoreParams,
};
use harness_core::suggest;
use harness_store::{Access, Provenance, Store};
use serde_json::json;

use crate::{
    pages::fixture::{self, Spec},
    support::{Ran, harness, result, run, succeed, write},
};

const TABLE: &str = "model,sae,layer,concept_improvement,status\ndream,dream-mask,1,0.25,ok\ndream,dream-mask,2,nan,ok\n";

fn compared(left: &str, right: &str, options: &[&str]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a.csv", "b.csv"].map(|name| dir.path().join(name));
    write(&a, left);
    write(&b, right);
    run(harness().arg("compare").args([a, b]).args(options))
}

/// What a terminal, a spreadsheet and a browser would act upon.
const PAYLOAD: &str = "=cmd|' /C calc'!A0 \u{1b}[2J\u{1b}]0;title\u{7} \u{202e}txt.exe </script><img src=x onerror=alert(1)>";

/// What may reach a terminal: no control character but line ends and tabs, and none that turns the
/// direction of writing.
fn assert_inert(what: &str, text: &str) {
    let bad = text.chars().find(|c| {
        c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    });
    assert_eq!(bad, None, "{what}: {text:?}");
}

/// The order of rows and columns, byte order marks, line ends and spellings of NaN do not matter to
/// `harness compare`; other columns, two rows of one key and files that are no tables are errors
/// that say which (code 3). Hostile text is inert wherever it is shown: in reports of comparisons,
/// errors, `status`, tables, CSV files and pages.
#[test]
fn row_48_tables_and_payloads() {
    let other = "\u{feff}status,layer,sae,concept_improvement,model\r\nok,2,dream-mask,NaN,dream\r\nok,1,dream-mask,0.25,dream\r\n";
    let same = compared(TABLE, other, &[]);
    assert_eq!(same.code, 0, "{}{}", same.stdout, same.stderr);
    let renamed = compared(TABLE, &TABLE.replace("concept_improvement", "gain"), &[]);
    assert_eq!(renamed.code, 3);
    assert!(
        renamed
            .stderr
            .contains("only the first has concept_improvement; only the second has gain"),
        "{}",
        renamed.stderr
    );
    let twice = compared(TABLE, &TABLE.replace("dream-mask,2", "dream-mask,1"), &[]);
    assert_eq!(twice.code, 3);
    assert!(twice.stderr.contains("same key"), "{}", twice.stderr);
    for (what, text) in [
        ("ragged", "model,layer\na,1,2\n"),
        ("empty", ""),
        ("two columns of one name", "a,a\n1,2\n"),
    ] {
        let ran = compared(TABLE, text, &[]);
        assert_eq!(ran.code, 3, "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains("b.csv"), "{what}: {}", ran.stderr);
    }
    comparisons_are_inert();
    errors_and_status_are_inert();
    tables_and_pages_are_inert();
}

fn comparisons_are_inert() {
    let quoted = format!("\"{}\"", PAYLOAD.replace('"', "\"\""));
    let hostile = TABLE.replace("dream-mask,1", &format!("{quoted},1"));
    for options in [&[][..], &["--md"]] {
        let ran = compared(TABLE, &hostile, options);
        assert_eq!(ran.code, 10, "{}", ran.stderr);
        assert_inert("a difference", &ran.stdout);
        assert_inert("a difference", &ran.stderr);
    }
    let ran = compared(TABLE, &TABLE.replace("status", &quoted), &[]);
    assert_eq!(ran.code, 3);
    assert_inert("a column", &ran.stderr);
}

fn errors_and_status_are_inert() {
    let dir = tempfile::tempdir().unwrap();
    let bench = dir.path().join("mine.toml");
    write(&bench, &format!("title = '{PAYLOAD}\n"));
    let ran = run(harness().args(["bench", bench.to_str().unwrap(), "--plugins", "plugins"]));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_inert("a bench file", &ran.stderr);
    let ran = run(harness().args(["bench", PAYLOAD, "--plugins", "plugins"]));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert_inert("a name", &ran.stderr);
    assert!(suggest::hint(PAYLOAD, ["table2"]).len() < 200);

    let out = dir.path().join("out");
    let store = Store::open(&out, Access::Write).unwrap();
    let cell = Cell::new(
        ScoreParams {
            resamples: 1,
            ..ScoreParams::default()
        },
        vec![],
    )
    .unwrap();
    let failure = Failure {
        plugin: Some(PAYLOAD.to_owned()),
        ..Failure::new(FailureKind::Plugin, PAYLOAD.to_owned())
    };
    store
        .put_failed(&cell, failure, Provenance::default())
        .unwrap();
    let damaged = store.cell_path(&"ab".repeat(32));
    write(&damaged, PAYLOAD);
    for command in ["status", "verify"] {
        let ran = run(harness().args([command, "--out"]).arg(&out));
        assert_inert(command, &ran.stdout);
        assert_inert(command, &ran.stderr);
    }
    // Names of files, too.
    let named = dir.path().join("\u{1b}[2J\u{202e}");
    let ran = run(harness().args(["status", "--out"]).arg(&named));
    assert_ne!(ran.code, 0);
    assert_inert("a path", &ran.stderr);
}

fn tables_and_pages_are_inert() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made");
    let spec = Spec::small();
    let store = Store::open(&made, Access::Write).unwrap();
    fixture::put_sae(
        &store,
        &spec,
        2,
        8,
        vec![fixture::latent_of(0, PAYLOAD)],
        "lexical-1",
    );
    let report = succeed(harness().args(["report", "features"]).arg(&made));
    assert_inert("report", &report.stdout);
    assert_inert("report", &report.stderr);
    for page in ["dream_dream-mask.html", "index.html"] {
        let html = result(&made.join("pages"), page);
        assert!(!html.contains("<img src=x"), "{page}");
        assert!(!html.contains("</script><img"), "{page}");
    }
    let examples = succeed(harness().args(["report", "features"]).arg(&made).args([
        "--examples",
        "3",
        "--out",
        "-",
    ]));
    assert_inert("examples", &examples.stdout);
    // Markdown takes no markup from it: a context is a block of code, elsewhere each bracket is
    // escaped.
    let (mut is_code, mut prose) = (false, String::new());
    for line in examples.stdout.lines() {
        match line.starts_with("```") {
            true => is_code = !is_code,
            false if !is_code => prose.push_str(&line.replace("\\<", "")),
            false => {}
        }
    }
    assert!(prose.contains("=cmd"), "{}", examples.stdout);
    assert!(
        !prose.contains("<img") && !prose.contains("</script"),
        "{}",
        examples.stdout
    );

    // An SAE set that says these things of itself: printed, as CSV, in a table's file.
    let set = dir.path().join("set");
    sae_set_of(&set, PAYLOAD);
    for format in ["table", "csv"] {
        let ran = succeed(
            harness()
                .arg("inspect")
                .arg(&set)
                .args(["--format", format]),
        );
        assert_inert(format, &ran.stderr);
        if format == "table" {
            assert_inert(format, &ran.stdout);
        } else {
            no_formulas(&ran.stdout);
        }
    }
    let out = dir.path().join("table");
    for table in ["table1", "table3"] {
        let ran = succeed(
            harness()
                .args(["bench", table, "--rows", "dream-mask", "--out"])
                .arg(&out)
                .arg("--saes")
                .arg(format!("dream-mask={}", set.display())),
        );
        assert_inert(table, &ran.stdout);
        assert_inert(table, &ran.stderr);
        no_formulas(&result(&out, &format!("{table}.csv")));
    }
}

/// A set of one SAE whose every text is this.
fn sae_set_of(dir: &Path, text: &str) {
    let config = json!({
        "d_in": 128, "d_sae": 320, "k": 8, "hook_layer": 1, "architecture": text, "activation_fn_str": text,
        "model_name": text, "metadata": {"policy": text, "model": text, "dataset_path": text},
    });
    write(
        &dir.join("resid_post_layer_1/trainer_0/cfg.json"),
        &config.to_string(),
    );
}

/// No field of a CSV text begins as a formula does.
fn no_formulas(text: &str) {
    assert!(text.contains("'=cmd|"), "{text}");
    assert_inert("CSV", text);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    for record in reader.records() {
        for field in &record.unwrap() {
            let starts = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
            assert!(
                !starts || field.parse::<f64>().is_ok(),
                "{field:?} in\n{text}"
            );
        }
    }
}
