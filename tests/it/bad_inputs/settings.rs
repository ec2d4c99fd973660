//! Rows 1 to 7: settings that are wrong, from a bench file or the command line.

use std::path::Path;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{
    cli::{planned, said, world},
    support::{Ran, harness, run, succeed, write},
};

/// A bench file that is right.
const MINE: &str = "title = \"Mine\"\ntable = \"by_k\"\n[settings]\nseed = 1\n[zoo]\n[real]\n[[rows]]\nfamily = \"f\"\n\
    model = \"dream\"\nsae = \"dream-mask\"\npolicy = \"mask\"\nlayers = { zoo = [1], real = [1] }\n";

/// A bench on a world without weights.
fn bench(world: &tempfile::TempDir, args: &[&str]) -> Ran {
    run(&mut planned(world, args))
}

/// A bench file of its own, in that world.
fn file(world: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = world.path().join(name);
    write(&path, text);
    path.display().to_string()
}

/// A bench file that is no TOML: file, line and column, the line itself, and a mark below what is
/// wrong. Code 3.
#[test]
fn row_01_toml_syntax() {
    let world = world();
    let path = file(&world, "mine.toml", &MINE.replace("seed = 1", "seed = = 1"));
    assert_snapshot!(said(&world, &[&path, "--dry-run"]), @r###"
    exit code: 3
    ----- stderr -----
    error: [TMP]/mine.toml:4:8: not valid TOML: extra `=`, expected nothing
      |
    4 | seed = = 1
      |        ^
    "###);
    for (what, text) in [
        (
            "a string without an end",
            MINE.replace("\"Mine\"", "\"Mine"),
        ),
        (
            "a key twice",
            MINE.replace("seed = 1", "seed = 1\nseed = 2"),
        ),
        (
            "a table without an end",
            MINE.replace("[settings]", "[settings"),
        ),
        (
            "Windows line ends",
            MINE.replace('\n', "\r\n").replace("seed = 1", "seed 1"),
        ),
    ] {
        let path = file(&world, "mine.toml", &text);
        let ran = bench(&world, &[&path, "--dry-run"]);
        assert_eq!(ran.code, 3, "{what}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(&format!("{path}:")),
            "{what}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains('^'), "{what}: {}", ran.stderr);
    }
}

/// A key that does not exist: where it is, and which one was meant. Every other problem of the file
/// is told with it. Code 3.
#[test]
fn row_02_unknown_key() {
    let world = world();
    let text = MINE
        .replace("layers =", "layres =")
        .replace("seed =", "sead =")
        .replace("\"mask\"", "\"msak\"");
    let path = file(&world, "mine.toml", &text);
    assert_snapshot!(said(&world, &[&path, "--dry-run"]), @r###"
    exit code: 3
    ----- stderr -----
    error: 4 problems
    [TMP]/mine.toml:4:1: unknown key `sead` in `settings`
      |
    4 | sead = 1
      | ^^^^ did you mean `seed`?
    [TMP]/mine.toml:7:1: `layers` is missing in `rows`
      |
    7 | [[rows]]
      | ^^^^^^^^
    [TMP]/mine.toml:11:10: `policy` has no choice `msak`
       |
    11 | policy = "msak"
       |          ^^^^^^ did you mean `mask`?
    [TMP]/mine.toml:12:1: unknown key `layres` in `rows`
       |
    12 | layres = { zoo = [1], real = [1] }
       | ^^^^^^ did you mean `layers`?
    "###);
    let ran = bench(&world, &["table2", "--set", "lamda=0.3"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("did you mean `lambda`?"),
        "{}",
        ran.stderr
    );
}

/// A layer that the model does not have: the range, and the layers there are SAEs of; before
/// anything is loaded or written. Code 3.
#[test]
fn row_03_layer_out_of_range() {
    let world = world();
    assert_snapshot!(said(&world, &["table2", "--layers", "99", "--dry-run"]), @r###"
    exit code: 3
    ----- stderr -----
    error: 6 problems
    --layers: layer 99 out of range: qwen has 8 blocks, 0 to 7; SAE set qwen has layers 1, 2, 3, 4, 5, 6, 7
    --layers: layer 99 out of range: dream has 8 blocks, 0 to 7; SAE set dream-unmask has layers 1, 2, 3, 4, 5, 6, 7
    --layers: layer 99 out of range: dream has 8 blocks, 0 to 7; SAE set dream-mask has layers 1, 2, 3, 4, 5, 6, 7
    --layers: layer 99 out of range: llama has 8 blocks, 0 to 7; SAE set llama has layers 1, 2, 3, 4, 5, 6, 7
    --layers: layer 99 out of range: llada has 8 blocks, 0 to 7; SAE set llada-unmask has layers 1, 2, 3, 4, 5, 6, 7
    --layers: layer 99 out of range: llada has 8 blocks, 0 to 7; SAE set llada-mask has layers 1, 2, 3, 4, 5, 6, 7
    "###);
    let out = world.path().join("out");
    let ran = bench(
        &world,
        &["table2", "--layers", "99", "--out", out.to_str().unwrap()],
    );
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(!out.exists());
    // The file's own layers are checked in the same way, and it is named.
    let path = file(
        &world,
        "mine.toml",
        &MINE.replace("zoo = [1]", "zoo = [99]"),
    );
    let ran = bench(&world, &[&path, "--dry-run"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
}

/// k of 0, k above the SAE's width, a negative seed, a strength that is no number: all of them in
/// one error. Code 3.
#[test]
fn row_04_all_bad_values_at_once() {
    let world = world();
    let args = [
        "table2",
        "--rows",
        "qwen",
        "--set",
        "k=99999",
        "--seed",
        "-1",
        "--amp-factor",
        "nan",
        "--set",
        "lamda=0.3",
    ];
    assert_snapshot!(said(&world, &args), @r###"
    exit code: 3
    ----- stderr -----
    error: 4 problems
    --seed -1: `seed` is -1; must be 0 or more
    --amp-factor nan: `amp_factor` is nan; must be a finite number
    --set lamda=0.3: unknown key `lamda`; did you mean `lambda`?
    --k: `k` is 99999, more than the 320 latents of SAE set qwen; its SAEs have k 4, 8
    "###);
    let zero = bench(&world, &["table2", "--k", "0", "--seed", "-1"]);
    assert_eq!(zero.code, 3);
    for part in ["2 problems", "--k 0: `k` is 0", "`seed` is -1"] {
        assert!(zero.stderr.contains(part), "{part}: {}", zero.stderr);
    }
    // The same from a file, with the places.
    let text = MINE.replace("seed = 1", "seed = -1\namp_factor = nan\nk = [0]");
    let ran = bench(&world, &[&file(&world, "mine.toml", &text)]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    for part in [
        "3 problems",
        "mine.toml:4:8",
        "mine.toml:5:14",
        "mine.toml:6:6",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
}

/// A setting of one row as `harness config show --origin --format json` explains it.
fn explained(world: &Path, args: &[&str], sae: &str, name: &str) -> Value {
    let mut command = harness();
    command
        .env("HARNESS_ROOT", world)
        .args(["config", "show"])
        .args(args)
        .args(["--origin", "--format", "json"]);
    let ran = succeed(&mut command);
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    let rows = shown["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["sae"] == sae).unwrap();
    let settings = row["settings"].as_array().unwrap();
    settings.iter().find(|s| s["name"] == name).unwrap().clone()
}

/// Bench files that say different things, and options that say others again: no error, the nearest
/// counts, and `harness config show --origin` says which that is and what it stands above.
#[test]
fn row_05_where_a_setting_comes_from() {
    let world = world();
    let table2 = world.path().join("benchmarks/tables/table2.toml");
    let text = std::fs::read_to_string(&table2).unwrap();
    let line = |start: &str, nth: usize| {
        let mut lines = (1..).zip(text.lines());
        lines
            .by_ref()
            .filter(|(_, l)| l.starts_with(start))
            .nth(nth)
            .unwrap()
            .0
    };
    let file_says = |value: &str, line: usize, table: &str| json!({"value": value, "from": "file", "path": table2, "line": line, "table": table});
    // The profile above [settings].
    let strength = explained(world.path(), &["table2"], "qwen", "amp_factor");
    assert_eq!(strength["value"], 0.7);
    assert_eq!(strength["origin"]["line"], line("amp_factor", 1));
    assert_eq!(strength["origin"]["table"], "zoo");
    assert_eq!(
        strength["instead_of"],
        json!([file_says("2.0", line("amp_factor", 0), "settings")])
    );
    // An option above both, whatever is said below.
    let args = ["table2", "--amp-factor", "3", "--set", "top_p=0.9"];
    let strength = explained(world.path(), &args, "qwen", "amp_factor");
    assert_eq!(strength["value"], 3.0);
    assert_eq!(
        strength["origin"],
        json!({"from": "option", "option": "--amp-factor 3"})
    );
    assert_eq!(strength["instead_of"].as_array().unwrap().len(), 2);
    let nucleus = explained(world.path(), &args, "qwen", "top_p");
    assert_eq!(nucleus["origin"]["option"], "--set top_p=0.9");
    // A row above [settings], another row not.
    let order = explained(world.path(), &["table2"], "llada-mask", "order");
    assert_eq!(
        (&order["value"], &order["origin"]["table"]),
        (&json!("low_confidence"), &json!("rows"))
    );
    let order = explained(world.path(), &["table2"], "qwen", "order");
    assert_eq!(
        (&order["value"], &order["origin"]["table"]),
        (&json!("entropy"), &json!("settings"))
    );

    // Two files of a bench disagree: the first counts, the second is shown.
    let rollouts = world
        .path()
        .join("benchmarks/tables/transfer-rollouts.toml");
    let other = std::fs::read_to_string(&rollouts).unwrap();
    write(
        &rollouts,
        &other.replace("resamples = 2000", "resamples = 77"),
    );
    let resamples = explained(world.path(), &["fig6"], "dream-mask", "resamples");
    assert_eq!(resamples["value"], 2000);
    let path = resamples["origin"]["path"].as_str().unwrap();
    assert!(path.ends_with("transfer.toml"), "{path}");
    let path = resamples["instead_of"][0]["path"].as_str().unwrap();
    assert!(path.ends_with("transfer-rollouts.toml"), "{path}");
    assert_eq!(resamples["instead_of"][0]["value"], "77");
    assert_eq!(
        bench(&world, &["fig6", "--set", "resamples=500", "--dry-run"]).code,
        0
    );

    // The environment, where no setting names the judge's model.
    let shown = |args: &[&str]| {
        let mut command = harness();
        command
            .env("HARNESS_ROOT", world.path())
            .env("HARNESS_JUDGE_MODEL", "of-the-environment")
            .env("HARNESS_PLUGINS", "some/plugins")
            .env("OPENAI_API_KEY", "sk-canary")
            .args([
                "config", "show", "table2", "--rows", "qwen", "--judge", "openai", "--origin",
            ])
            .args(args);
        succeed(&mut command).stdout
    };
    let text = shown(&["--device", "cuda:1"]);
    let line = |start: &str| {
        let mut lines = text
            .lines()
            .filter(|line| line.trim_start().starts_with(start));
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("no {start} in\n{text}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        line("judge_model"),
        "judge_model of-the-environment environment variable HARNESS_JUDGE_MODEL"
    );
    assert_eq!(
        line("plugins"),
        "plugins some/plugins environment variable HARNESS_PLUGINS"
    );
    assert_eq!(line("device"), "device cuda:1 --device cuda:1");
    assert_eq!(line("dtype"), "dtype f32 default");
    assert_eq!(line("OPENAI_API_KEY"), "OPENAI_API_KEY (set)");
    assert!(!text.contains("sk-canary"), "{text}");
    let text = shown(&["--judge-model", "mine"]);
    assert!(
        text.contains("--judge-model mine") && text.contains("of-the-environment at"),
        "{text}"
    );

    // What the bench would refuse is refused here, in the same words.
    let mut command = harness();
    command
        .env("HARNESS_ROOT", world.path())
        .args(["config", "show", "table2", "--k", "0"]);
    let refused = run(&mut command);
    assert_eq!(
        (refused.code, refused.stdout.as_str()),
        (3, ""),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("--k 0: `k` is 0"),
        "{}",
        refused.stderr
    );
}

/// A table, metric or other component by a name that nobody has: the nearest ones. Code 2.
#[test]
fn row_06_unknown_names() {
    let world = world();
    assert_snapshot!(said(&world, &["tabel2"]), @r###"
    exit code: 2
    ----- stderr -----
    error: no bench `tabel2`; did you mean `table2` or `table1` or `table3`?
    "###);
    for (option, wrong, right) in [
        ("--set", "metrics=concept_improvment", "concept_improvement"),
        ("--set", "token_scope=al-tokens", "all-tokens"),
        ("--set", "order=entrpy", "entropy"),
        ("--set", "architecture=topkk", "topk"),
        ("--judge", "lexicl", "lexical"),
    ] {
        let ran = bench(&world, &["table2", option, wrong, "--dry-run"]);
        assert_eq!(ran.code, 2, "{wrong}: {}", ran.stderr);
        for part in [
            format!("{option} {wrong}: no plugin offers"),
            format!("did you mean `{right}`"),
        ] {
            assert!(
                ran.stderr.contains(&part),
                "{part} is not in\n{}",
                ran.stderr
            );
        }
    }
    let ran = run(harness().args(["bench", "table2", "--plugins", "plugins", "--medel", "x=y"]));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("--model"), "{}", ran.stderr);
}

/// Filters that leave nothing: `0 cells` and which filters, nothing is written. Code 4.
#[test]
fn row_07_nothing_is_left() {
    let world = world();
    assert_snapshot!(said(&world, &["table2", "--layers", "0", "--dry-run"]), @r###"
    exit code: 4
    ----- stderr -----
    error: 0 cells: no SAE of the bench has the layers and k asked for with --layers and --k
    "###);
    let out = world.path().join("out");
    for filter in [["--k", "9"], ["--limit", "0"]] {
        let args = [&["table2", "--out", out.to_str().unwrap()], &filter[..]].concat();
        let ran = bench(&world, &args);
        assert_eq!(ran.code, 4, "{filter:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("0 cells"), "{}", ran.stderr);
        assert!(!out.exists());
    }
}
