//! Whole commands as a person sees them: what is said, where, and with which exit code.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use insta::assert_snapshot;

use crate::support::{
    clean, copy_folder, harness, programs, root, run, shown, succeed, weightless_root, words,
};

/// A command on a world without weights.
pub fn planned(world: &tempfile::TempDir, args: &[&str]) -> Command {
    let mut command = harness();
    command
        .env("HARNESS_ROOT", world.path())
        .arg("bench")
        .args(args)
        .args(["--plugins", "plugins"]);
    command
}

/// A world without weights.
pub fn world() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    weightless_root(dir.path());
    dir
}

/// What a bench says there, as a whole.
pub fn said(world: &tempfile::TempDir, args: &[&str]) -> String {
    shown(&mut planned(world, args), world.path())
}

#[test]
fn help() {
    assert_snapshot!(shown(harness().arg("--help"), &root()), @r###"
    exit code: 0
    ----- stdout -----
    Evaluates sparse autoencoders on diffusion language models

    Usage: harness <COMMAND>

    Commands:
      bench      Run a bench and print its table beside the paper's
      config     Which value each setting of a bench has, and where it comes from
      run-cells  Run a share of the cells of a bench, for job arrays and the like
      slurm      Run a bench on a Slurm cluster
      list       What there is: tables, models, SAE sets, plugin components
      inspect    What SAEs or a checkpoint say of themselves: layers, k, training, EV, sizes, time
      status     What a folder of results holds
      verify     Check every file of a folder of results
      gc         Remove what no result needs from a folder of results
      merge      Copy the cells of other folders of results into one
      report     Pages and examples made from a run
      compare    Compare two tables of results
      generate   Continue a text
      train      Train SAEs for a grid of layers, k and policies from one stream of model passes
      golden     Compare models, SAEs and samplers with parity fixtures
      doctor     What this machine can run, what is wrong with it and what to do
      plugins    List, describe, check and make plugins
      zoo        The embedded models' text
      help       Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Start here:
      harness bench table2 --plugins ./plugins

    Exit codes:
      0 done   2 usage   3 configuration   4 nothing to do   5 some cells failed   10 tables differ
      20 bad input   21 plugin refused   22 device   30 judge cannot be asked   31 budget used up
      75 interrupted, the same command goes on   110 cannot write
    "###);
}

#[test]
fn help_of_bench_shows_every_option() {
    let help = succeed(harness().args(["bench", "--help"])).stdout;
    for option in [
        "--plugins",
        "--model",
        "--saes",
        "--data",
        "--layers",
        "--k",
        "--limit",
        "--budget-tokens",
        "--seed",
        "--dtype",
        "--device",
        "--out",
        "--dry-run",
        "--reproducible",
        "--amp-factor",
        "--judge",
        "--orders",
        "--questions",
        "--n-questions",
        "--preset",
        "--k-set",
        "--by-position",
        "--replies",
        "--max-calls",
        "--max-cost",
        "--price-in",
        "--price-out",
        "--batch",
        "--threads",
        "--rows",
        "--context-length",
        "--documents",
        "--measures",
        "--memory",
        "--allow-short",
        "--png",
        "Grid benches:",
        "Steering benches:",
    ] {
        assert!(help.contains(option), "{option} is not in\n{help}");
    }
}

#[test]
fn plugins_must_be_named() {
    let world = world();
    let mut command = harness();
    command
        .env("HARNESS_ROOT", world.path())
        .args(["bench", "table2"]);
    assert_snapshot!(shown(&mut command, world.path()), @r###"
    exit code: 2
    ----- stderr -----
    error: no folder of plugins is named
    hint: add --plugins [TMP]/plugins
    "###);
}

#[test]
fn model_that_the_bench_does_not_run() {
    let world = world();
    assert_snapshot!(said(&world, &["table2", "--model", "draem=plugins", "--dry-run"]), @r###"
    exit code: 3
    ----- stderr -----
    error: --model draem: the bench runs no `draem`; did you mean `dream`?
    "###);
}

#[test]
fn dry_run_counts_and_leaves_nothing_behind() {
    let world = world();
    let out = world.path().join("out");
    let args = [
        "table2",
        "--layers",
        "1,2",
        "--dry-run",
        "--out",
        out.to_str().unwrap(),
    ];
    let text = said(&world, &args);
    for part in [
        "exit code: 0\n",
        "stage       cells  to run  block passes  head rows  generations  work ",
        "steer       24     24 ",
        "memory of a worker: about ",
        "model dream: 8 blocks, d_model 128, vocabulary 2048, ",
        "SAE set dream-mask: 4 SAEs, layers 1,2, k 4,8, budgets of zoo\n",
        "nothing was loaded and nothing was run\n",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!out.exists());
}

#[test]
fn dry_run_of_a_grid_says_what_each_model_takes() {
    let world = world();
    let args = [
        "fidelity",
        "--rows",
        "dream-mask,qwen",
        "--measures",
        "kl",
        "--memory",
        "4G",
        "--dry-run",
    ];
    let text = said(&world, &args);
    for part in [
        "exit code: 0\n",
        "fidelity  24     24      13,188        331,500 ",
        "groups  model  SAEs  tokens  rows          batch  stack  block passes a batch  head rows a counted token  counted tokens  work ",
        "1       qwen   12    20,000  at least 157  16     2      42                    13                         20,000 ",
        "1       dream  12    20,000  at least 157  16     2      42                    13                         5,500 ",
        "SAE set dream-mask on dream: 12 SAEs, layers 1,2,4,5,6,7, k 4,8, budgets of zoo\n",
        "nothing was loaded and nothing was run\n",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn memory_that_is_too_little_is_said_before_anything_is_loaded() {
    let world = world();
    let text = said(
        &world,
        &["fidelity", "--memory", "1M", "--rows", "qwen", "--dry-run"],
    );
    assert!(
        text.contains("qwen: one row and one splice at a time still need"),
        "{text}"
    );
}

#[test]
fn options_of_another_kind_of_bench() {
    let world = world();
    let args = [
        "table1",
        "--k",
        "8",
        "--layers",
        "1",
        "--batch",
        "2",
        "--dry-run",
    ];
    assert_snapshot!(said(&world, &args), @r###"
    exit code: 3
    ----- stderr -----
    error: 3 problems
    --layers 1: a catalogue bench lists whole SAE sets and has no layers to choose; choose sets with --rows
    --k 8: `k` is a setting of steering, grid, rollout, decoding and autointerp benches, and this is a catalogue bench
    --batch: is for benches that run models, and this is a catalogue bench
    "###);
    let text = said(&world, &["table2", "--memory", "1G", "--documents", "pack"]);
    for part in [
        "--documents pack: `documents` is a setting of grid and autointerp benches, and this is a steering bench",
        "--memory: is for grid and rollout benches, and this is a steering bench",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn missing_worker_names_its_cure() {
    let world = world();
    let alone = world.path().join("bin/harness");
    fs::create_dir_all(alone.parent().unwrap()).unwrap();
    fs::copy(programs().join("harness"), &alone).unwrap();
    let mut command = Command::new(&alone);
    clean(&mut command);
    command.args(["plugins", "list", "--plugins", "plugins"]);
    assert_snapshot!(shown(&mut command, world.path()), @r###"
    exit code: 1
    ----- stderr -----
    error: there is no [TMP]/bin/harness-worker
    hint: build it together with the plugins: `cargo xtask build`
    "###);
}

#[test]
fn list_of_tables() {
    let world = world();
    let mut command = harness();
    command
        .env("HARNESS_ROOT", world.path())
        .args(["list", "tables"]);
    assert_snapshot!(shown(&mut command, world.path()), @r###"
    exit code: 0
    ----- stdout -----
    autointerp         Auto-interpretation: scores of explained latents
    decoding-order     Decoding orders: feature dynamics and accuracy
    fidelity           Fidelity: explained variance and loss difference of every SAE
    fig10              Fig. 10: steering against k, LLaMA and LLaDA
    fig11              Fig. 11: lock rate before decoding and flips after it, by decoding order
    fig12              Fig. 12: transfer to Dream
    fig3               Fig. 3: fidelity against k, Qwen and Dream
    fig4               Fig. 4: feature stability before decoding, by decoding order
    fig5               Fig. 5: feature drift after decoding, by decoding order
    fig6               Fig. 6: transfer to Dream-SFT, on text and on rollouts
    fig7               Fig. 7: loss difference against k, LLaMA and LLaDA
    fig8               Fig. 8: explained variance against k, LLaMA and LLaDA
    fig9               Fig. 9: steering against k, Qwen and Dream
    table1             Table 1: what the SAE sets are
    table2             Table 2: steering by model, SAE set and layer
    table3             Table 3: what training the SAE sets took
    table4             Table 4: steering configurations and their time
    transfer           Transfer: SAEs of Dream and Dream-SFT in both models
    transfer-rollouts  Transfer on rollouts: SAEs of Dream and Dream-SFT on continuations of Dream-SFT
    "###);
}

#[test]
fn list_shows_models_sets_and_components() {
    let world = world();
    let mut command = harness();
    command
        .env("HARNESS_ROOT", world.path())
        .args(["list", "--plugins", "plugins"]);
    let ran = succeed(&mut command);
    for part in [
        "table2",
        "masked diffusion",
        "layers 1,2,3,4,5,6,7",
        "k 4,8",
        "lexical",
        "update-tokens",
    ] {
        assert!(
            ran.stdout.contains(part),
            "{part} is not in\n{}",
            ran.stdout
        );
    }
}

#[test]
fn what_plugins_say_of_sets_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("libtorch");
    fs::create_dir_all(other.join("lib")).unwrap();
    fs::write(other.join("build-version"), "2.6.0+cu124\n").unwrap();
    let set = dir.path().join("sets/dream-mask");
    let place = "resid_post_layer_1/trainer_0";
    let embedded = root().join("benchmarks/zoo/saes/dream-mask").join(place);
    copy_folder(&embedded, &set.join(place));
    let command = |line: &str, has_worker: bool| {
        let mut command = harness();
        command
            .env("HARNESS_CACHE", dir.path().join("cache"))
            .args(words(line));
        if !has_worker {
            command
                .env_remove("LIBTORCH_USE_PYTORCH")
                .env("LIBTORCH", &other);
        }
        command
    };
    let inspect = format!("inspect {} --plugins plugins --format csv", set.display());
    let list = "list saes --plugins plugins";

    let refused = run(&mut command(&inspect, false));
    assert_eq!(refused.code, 22, "{}", refused.stderr);
    let unknown = succeed(&mut command(list, false)).stdout;
    assert!(
        unknown.contains("dream-mask") && unknown.contains("unknown: "),
        "{unknown}"
    );

    let cold = succeed(&mut command(&inspect, true)).stdout;
    let known = succeed(&mut command(list, true)).stdout;
    assert!(known.contains("layers 1,2,4,5,6,7"), "{known}");
    assert_eq!(succeed(&mut command(&inspect, false)).stdout, cold);
    assert_eq!(succeed(&mut command(list, false)).stdout, known);

    let config = set.join(place).join("cfg.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text} ")).unwrap();
    assert_eq!(run(&mut command(&inspect, false)).code, 22);
    assert_eq!(
        succeed(&mut command(&inspect, true)).stdout.lines().count(),
        2
    );
}

#[test]
fn unknown_topic_names_the_nearest() {
    let mut command = harness();
    let text = shown(
        command.args(["zoo", "text", "--n", "1", "--topic", "kitchn"]),
        &root(),
    );
    assert!(
        text.starts_with("exit code: 2\n") && text.contains("did you mean"),
        "{text}"
    );
}

#[test]
fn zoo_text_is_labelled_and_the_same_every_time() {
    let args = [
        "zoo", "text", "--split", "train", "--seed", "7", "--n", "20",
    ];
    let first = succeed(harness().args(args)).stdout;
    assert_eq!(succeed(harness().args(args)).stdout, first);
    assert_eq!(first.lines().count(), 20);
    for line in first.lines() {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            document["text"].is_string() && document["topic"].is_string(),
            "{line}"
        );
        assert_eq!(document["labels"]["split"], "train");
    }
}

/// `harness … | head` must end in peace.
#[test]
fn closed_standard_output_is_no_error() {
    let mut child = harness()
        .args(["zoo", "text", "--n", "100000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    let status = child.wait().unwrap();
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn plugins_new_refuses_names_and_taken_folders() {
    let dir = tempfile::tempdir().unwrap();
    let made = |args: &[&str]| {
        let mut command = harness();
        command
            .args(["plugins", "new", "--kind", "metric"])
            .args(args)
            .current_dir(dir.path());
        run(&mut command)
    };
    assert_eq!(made(&["../up"]).code, 2);
    assert_eq!(made(&["crate"]).code, 2);
    assert_eq!(made(&["mine"]).code, 0);
    let again = made(&["mine"]);
    assert_eq!(again.code, 110);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    assert!(dir.path().join("mine/src/lib.rs").is_file());
}

#[test]
fn folder_without_plugins_is_nothing_to_list() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = harness();
    command
        .args(["plugins", "list", "--plugins"])
        .arg(dir.path());
    assert_snapshot!(shown(&mut command, dir.path()), @r###"
    exit code: 4
    ----- stderr -----
    error: 0 plugins: no plugin.toml in these folders
    hint: a folder is searched three levels deep; `target` and hidden folders are passed over
    "###);
}

#[test]
fn status_of_a_folder_without_results() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = harness();
    command.args(["status", "--out"]).arg(dir.path());
    assert_snapshot!(shown(&mut command, dir.path()), @r###"
    exit code: 4
    ----- stderr -----
    error: 0 cells: [TMP] holds no results
    "###);
}
