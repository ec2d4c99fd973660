//! `harness report features`: what it writes, prints and refuses.

use std::{fs, path::Path};

use harness_store::{Access, Store};

use super::fixture::{self, Spec};
use crate::support::{harness, run, shown, succeed};

fn report(run: &Path) -> std::process::Command {
    let mut command = harness();
    command.args(["report", "features"]).arg(run);
    command
}

#[test]
fn a_set_is_a_page_and_the_pages_have_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fixture::write(&run, &Spec::small());
    let other = Spec {
        model: "../llada",
        set: "a set/of \"SAEs\"",
        layers: vec![1],
        ks: vec![8],
        n_latents: 3,
    };
    fixture::write(&run, &other);
    let ran = succeed(&mut report(&run));
    let mut names: Vec<String> = fs::read_dir(run.join("pages"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let page = "-llada_a-set-of--SAEs-.html";
    assert_eq!(names, [page, "dream_dream-mask.html", "index.html"]);
    for name in &names {
        assert!(ran.stdout.contains(name.as_str()), "{}", ran.stdout);
    }
    assert!(ran.stdout.contains("160 latents"), "{}", ran.stdout);
    let index = fs::read_to_string(run.join("pages/index.html")).unwrap();
    assert!(index.contains(&format!("<a href=\"{page}\">a set/of &quot;SAEs&quot;</a>")));
    assert!(index.contains("default-src 'none'; script-src 'none'"));
}

#[test]
fn what_is_not_there_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    insta::assert_snapshot!(shown(&mut report(&run), dir.path()), @r###"
    exit code: 20
    ----- stderr -----
    error: [TMP]/run: there is no such folder of results
    hint: give the folder that a bench wrote to (`--out`), e.g. results/runs/autointerp
    "###);
    Store::open(&run, Access::Write).unwrap();
    insta::assert_snapshot!(shown(&mut report(&run), dir.path()), @r###"
    exit code: 4
    ----- stderr -----
    error: [TMP]/run holds no auto-interpretation: it has no cells at all
    hint: run `harness bench autointerp --plugins ./plugins` first and give its folder
    "###);
    let steered = dir.path().join("steered");
    fixture::write_steering(&steered, &Spec::small(), 2, 8, 0, "x");
    insta::assert_snapshot!(shown(&mut report(&steered), dir.path()), @r###"
    exit code: 4
    ----- stderr -----
    error: [TMP]/steered holds no auto-interpretation: its cells are of the stages baseline, judge, score, steer
    hint: run `harness bench autointerp --plugins ./plugins` first and give its folder
    "###);
    fixture::write(&run, &Spec::small());
    let mut command = report(&run);
    insta::assert_snapshot!(shown(command.args(["--set", "qwen"]), dir.path()), @r###"
    exit code: 4
    ----- stderr -----
    error: no SAE set `qwen` in this run; there are dream-mask
    "###);
    let mut command = report(&run);
    insta::assert_snapshot!(shown(command.args(["--judge", "gpt"]), dir.path()), @r###"
    exit code: 4
    ----- stderr -----
    error: no judge `gpt` in this run; there are lexical-1
    "###);
    let mut command = report(&run);
    insta::assert_snapshot!(shown(command.args(["--out", "-"]), dir.path()), @r###"
    exit code: 2
    ----- stderr -----
    error: --out -: pages are files, only examples can be printed
    hint: add --examples, or name a folder
    "###);
}

#[test]
fn one_of_several_judges_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let spec = Spec::small();
    fixture::write(&path, &spec);
    let store = Store::open(&path, Access::Write).unwrap();
    let latents = (0..spec.n_latents).map(|i| fixture::latent_of(i, "x"));
    fixture::put_sae(&store, &spec, 2, 8, latents.collect(), "other-2");
    let refused = run(&mut report(&path));
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("lexical-1, other-2"),
        "{}",
        refused.stderr
    );
    let ran = succeed(report(&path).args(["--judge", "lexical"]));
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    // The other judge has explained one SAE of four.
    let ran = succeed(report(&path).args(["--judge", "other-2"]));
    assert!(
        ran.stderr.contains("3 of 4 SAEs have no explanations yet"),
        "{}",
        ran.stderr
    );
}

#[test]
fn examples_have_the_appendix_form() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let spec = Spec {
        layers: vec![2],
        ks: vec![8],
        ..Spec::small()
    };
    let store = Store::open(&path, Access::Write).unwrap();
    let latents = vec![
        fixture::latent_of(3, " river"),
        fixture::latent_of(4, "\n```\n# not a heading\n"),
    ];
    fixture::put_sae(&store, &spec, 2, 8, latents, "lexical-1");
    let ran = succeed(report(&path).args(["--examples", "2", "--out", "-"]));
    insta::assert_snapshot!(ran.stdout, @r###"
    # Latents of dream-mask on dream

    The 2 best of 2 scored latents, judged by lexical-1: best first, those of equal accuracy by layer, k and index. Windows are counted from 1; `<<` and `>>` enclose the tokens on which a latent is active, `[[` and `]]` those that were masked.

    ## Latent 4, layer 2, k 8

    * Explanation: words: \`\`\`↵\# not a heading
    * Predicted active: 1, 2, 3, 4
    * Active: 1, 2, 3, 4
    * Accuracy: 1.000 (4 of 4)
    * Strongest context, activation 2.500:

    ````text
    ↵[[```↵# not a heading↵]]↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵<<```↵# not a heading↵>>↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵↵```↵# not a heading↵
    ````

    ## Latent 3, layer 2, k 8

    * Explanation: words: river
    * Predicted active: 1
    * Active: 1, 2, 3, 4
    * Accuracy: 0.250 (1 of 4)
    * Strongest context, activation 2.500:

    ```text
     [[river]] river river river river river river river river river <<river>> river river river river river river river river river river
    ```
    "###);
    succeed(report(&path).arg("--examples"));
    let file = fs::read_to_string(path.join("pages/dream_dream-mask.md")).unwrap();
    assert_eq!(file, ran.stdout);
}
