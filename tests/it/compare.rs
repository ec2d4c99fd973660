//! `harness compare` on whole files.

use std::path::Path;

use insta::assert_snapshot;

use crate::support::{harness, shown, write};

const TABLE: &str = "family,model,sae,layer,concept_improvement,status\nf,dream,dream-mask,1,0.25,ok\nf,dream,dream-mask,2,,failed\n";

fn compared(left: &str, right: &str, options: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.csv"), left);
    write(&dir.path().join("b.csv"), right);
    let mut command = harness();
    command
        .arg("compare")
        .arg(dir.path().join("a.csv"))
        .arg(dir.path().join("b.csv"))
        .args(options);
    shown(&mut command, dir.path())
}

#[test]
fn order_line_ends_and_byte_marks_do_not_matter() {
    let lines: Vec<&str> = TABLE.lines().collect();
    let shuffled = format!("\u{feff}{}\r\n{}\r\n{}\r\n", lines[0], lines[2], lines[1]);
    assert_snapshot!(compared(TABLE, &shuffled, &[]), @r###"
    exit code: 0
    ----- stdout -----
    equal: 2 rows, 4 values
    "###);
}

#[test]
fn difference_is_named() {
    let other = TABLE.replace("0.25", "0.5");
    assert_snapshot!(compared(TABLE, &other, &["--rtol", "1e-3"]), @r###"
    exit code: 10
    ----- stdout -----
    1 difference in 2 rows, 4 values
      family=f model=dream sae=dream-mask layer=1: concept_improvement 0.25 against 0.5 (by 2.500e-1)
    "###);
    assert!(compared(TABLE, &other, &["--atol", "0.25"]).starts_with("exit code: 0\n"));
}

#[test]
fn missing_row_is_a_difference() {
    let other = TABLE.lines().take(2).collect::<Vec<_>>().join("\n");
    let text = compared(TABLE, &other, &["--md"]);
    assert!(text.starts_with("exit code: 10\n"), "{text}");
}

#[test]
fn other_columns_are_no_difference_but_an_error() {
    let other = TABLE.replace("concept_improvement", "concept_gain");
    assert_snapshot!(compared(TABLE, &other, &[]), @r###"
    exit code: 3
    ----- stderr -----
    error: the files have different columns: only the first has concept_improvement; only the second has concept_gain
    "###);
}

#[test]
fn two_rows_of_one_key_are_an_error() {
    let other = TABLE.replace("dream-mask,2", "dream-mask,1");
    let text = compared(TABLE, &other, &[]);
    assert!(
        text.starts_with("exit code: 3\n") && text.contains("same key"),
        "{text}"
    );
}

#[test]
fn missing_file() {
    let mut command = harness();
    command.args(["compare", "no/such.csv", "no/such.csv"]);
    assert!(shown(&mut command, Path::new("/nowhere")).starts_with("exit code: 20\n"));
}

/// Scores in our names against the authors' in theirs: rows meet on model, SAE set, layer and k.
#[test]
fn our_scores_meet_the_authors_on_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let ours = dir.path().join("autointerp.csv");
    let rows = "dream,dream-mask,1,50,0.9,lexical-1,ok\nqwen,qwen,1,50,0.905,lexical-1,ok\nllama,llama,1,50,0.5,lexical-1,ok\n";
    write(
        &ours,
        &format!("model,sae,layer,k,autointerp_score,judge,status\n{rows}"),
    );
    let compared = |more: &[&str]| {
        let mut command = harness();
        command
            .arg("compare")
            .arg(&ours)
            .arg("results/paper/official_repo_autointerp.csv")
            .args(["--paper", "autointerp", "--common"])
            .args(more);
        shown(&mut command, dir.path())
    };
    let renamed = ["--columns", "autointerp_score=autointerp_score_mean"];
    assert_snapshot!(compared(&renamed), @r###"
    exit code: 10
    ----- stdout -----
    1 difference in 2 rows, 2 values
      model=Dream-7B sae=Dream-Mask layer=1 k=50: autointerp_score_mean 0.9 against 0.820714 (by 7.929e-2)
    ----- stderr -----
    columns of one file alone: judge, status, std_dev_over_latents, n_latents, complete_run, source
    rows of one file alone: 107
    "###);
    let none = compared(&["--key", "layer,k,judge", "--columns", "autointerp_score=s"]);
    assert!(none.starts_with("exit code: 3\n"), "{none}");
}
