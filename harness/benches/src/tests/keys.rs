//! What a value depends on is in its key: each setting there is changes a key when it changes, or
//! is listed here as one that changes no cell, with the reason. A new setting that is neither
//! fails.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::{Value, json};

use crate::test_world::*;
use harness_contract::{
    judging::{Budget, JudgeMode, Price},
    plugin::PluginChoice,
    protocol::{Init, Judging},
    stages::{Dtype, Numerics},
};
use harness_plan::bench::RowKind;
use harness_plan::expand::*;

/// A bench of each kind, with the row that stands for it.
const BENCHES: [(&str, &str, RowKind); 5] = [
    ("table2", "dream-mask", STEERING),
    ("fidelity", "dream-mask", DOCUMENTS),
    ("transfer-rollouts", "dream-sft/dream-mask", ROLLOUTS),
    (
        "decoding-order",
        "dream-instruct/dream-instruct-mask",
        DECODING,
    ),
    ("autointerp", "dream-mask", AUTOINTERP),
];

/// Settings that change no cell of these kinds of rows, and why.
const EXCLUDED: &[(&str, &[RowKind], &str)] = &[
    (
        "batch",
        &[DOCUMENTS, ROLLOUTS, AUTOINTERP],
        "rows are independent: it changes a value by rounding at most",
    ),
    (
        "resamples",
        &[DOCUMENTS, ROLLOUTS, DECODING, AUTOINTERP],
        "errors are resampled from the sums in the cells when the table is made",
    ),
    (
        "bins",
        &[DECODING],
        "curves are binned from the sums by step when the table is made",
    ),
    (
        "by_position",
        &[DECODING],
        "cells hold sums by position; this writes one table more",
    ),
    (
        "random_windows",
        &[AUTOINTERP],
        "both scores come from one set of answers when the table is made",
    ),
];

/// What goes with another value of a setting, which could not be planned without.
fn companion(name: &str, kind: RowKind) -> Option<(&'static str, &'static str)> {
    (name == "documents" && kind == AUTOINTERP).then_some(("label_field", "none"))
}

/// Another value of a setting; the current one is `now`. Numbers and switches need no rule.
fn another(name: &str, now: &Value, world: &World) -> String {
    match (name, now) {
        ("k", _) => "4".to_owned(),
        ("token_scope", _) => "topk-tokens".to_owned(),
        ("order", _) => "origin".to_owned(),
        ("orders", _) => "entropy".to_owned(),
        ("judge", _) => "openai".to_owned(),
        ("judge_model", _) => "another-model".to_owned(),
        ("scorer", _) => "llama".to_owned(),
        ("metrics", _) => "concept_improvement".to_owned(),
        ("architecture", _) => "topk-again".to_owned(),
        ("measures", _) => "kl".to_owned(),
        ("documents", _) => "pack".to_owned(),
        ("preset", _) => "few-shot".to_owned(),
        ("positions", _) => "all".to_owned(),
        ("random_windows", _) => "paper_code".to_owned(),
        ("label_field", _) => "/labels/other".to_owned(),
        ("text_field" | "prompt_field" | "question_field" | "answer_field", _) => {
            "other".to_owned()
        }
        ("latent", _) => "3,5".to_owned(),
        ("mask_rate", _) => "0.3".to_owned(),
        ("k_scope", _) => "2".to_owned(),
        ("explanations", _) => explanations(world),
        // Not set unless somebody does.
        ("max_bad_rows", _) => "0.5".to_owned(),
        ("invalid_as_zero", _) => "true".to_owned(),
        (_, Value::Bool(is_on)) => (!is_on).to_string(),
        // Fractions stay within their bounds, counts within what is there.
        (_, Value::Number(n)) if n.as_f64() == Some(0.0) => "0.5".to_owned(),
        (_, Value::Number(n)) if n.is_f64() => (n.as_f64().unwrap() / 2.0).to_string(),
        (_, Value::Number(n)) => (n.as_u64().unwrap().max(2) - 1).to_string(),
        _ => panic!("`{name}` is new: say here what another value of it is"),
    }
}

/// A file of explanations of every SAE of the world.
fn explanations(world: &World) -> String {
    let path = world.dir.path().join("explanations.jsonl");
    let plan = World::made_up().plan("autointerp").unwrap();
    write(&path, &crate::autointerp::tests_expand::explanations(&plan));
    path.display().to_string()
}

fn world(options: &[(&str, &str, &str)]) -> World {
    let mut world = World::made_up().options(options);
    let topk = world
        .plugins
        .found
        .iter_mut()
        .find(|p| p.manifest.id == "topk");
    let components = &mut topk.unwrap().manifest.components;
    let mut again = components[0].clone();
    again.name = "topk-again".to_owned();
    components.push(again);
    world
}

fn all_keys(plan: &Plan) -> BTreeSet<String> {
    plan.cells.iter().map(|cell| cell.key.clone()).collect()
}

#[test]
fn every_setting_is_in_a_key_or_listed_as_changing_no_cell() {
    let mut wrong = Vec::new();
    for (bench, row, kind) in BENCHES {
        let rows = ("--rows", "rows", row);
        let base = world(&[rows]);
        let resolved = base.resolve(&spec(bench)).unwrap();
        let settings = serde_json::to_value(&resolved.rows[0].settings).unwrap();
        let plain = all_keys(&base.expand(&resolved).unwrap());
        for name in kind.settings().names() {
            let now = &settings[name];
            let value = another(name, now, &base);
            let with = companion(name, kind).map(|(name, value)| ("--set", name, value));
            let options: Vec<_> = [rows].into_iter().chain(with).collect();
            let keys = match with {
                Some(_) => all_keys(&world(&options).plan(bench).unwrap()),
                None => plain.clone(),
            };
            let options = [&options[..], &[("--set", name, &value)]].concat();
            let changed = match world(&options).plan(bench) {
                Ok(plan) => all_keys(&plan),
                Err(error) => {
                    wrong.push(format!(
                        "{bench}: {name}={value} cannot be planned: {error}"
                    ));
                    continue;
                }
            };
            let excluded = EXCLUDED
                .iter()
                .find(|(one, kinds, _)| *one == name && kinds.contains(&kind));
            match (changed == keys, excluded) {
                (true, None) => wrong.push(format!(
                    "{bench}: `{name}` ({now} → {value}) changes no key and is not listed"
                )),
                (false, Some(_)) => {
                    wrong.push(format!("{bench}: `{name}` is listed and changes a key"));
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Kinds of rows that have settings are all looked at, and every exclusion is of a setting there
/// is.
#[test]
fn no_kind_is_left_out() {
    for kind in crate::KINDS {
        let is_looked_at = BENCHES.iter().any(|(_, _, of)| of == kind);
        assert_eq!(
            is_looked_at,
            kind.settings().iter().next().is_some(),
            "{kind:?}"
        );
    }
    for (name, kinds, reason) in EXCLUDED {
        assert!(kinds.iter().all(|kind| kind.has(name)), "{name}");
        assert!(reason.len() > 10, "{name}");
    }
}

/// How numbers are computed is part of every key that a model pass stands behind.
#[test]
fn numerics_are_in_the_keys() {
    let base = world(&[("--rows", "rows", "dream-mask")]);
    for bench in ["table2", "fidelity", "autointerp"] {
        let mut resolved = base.resolve(&spec(bench)).unwrap();
        let full = Numerics {
            dtype: Dtype::Bf16,
            reproducible: true,
            allow_nan: true,
        };
        resolved.numerics = full;
        let keys = all_keys(&base.expand(&resolved).unwrap());
        let full = serde_json::to_value(full).unwrap();
        for name in full.as_object().unwrap().keys() {
            let mut changed = full.clone();
            changed[name] = match name.as_str() {
                "dtype" => json!("f32"),
                _ => json!(!full[name].as_bool().unwrap()),
            };
            resolved.numerics = serde_json::from_value(changed).unwrap();
            let changed = all_keys(&base.expand(&resolved).unwrap());
            assert!(changed != keys, "{bench}: `{name}` changes no key");
        }
    }
}

/// What a worker is told besides its cells: each is in the keys by way of something else, or
/// changes no value.
#[test]
fn what_workers_are_told_is_accounted_for() {
    const TOLD: &[(&str, &str)] = &[
        (
            "plugins",
            "in the keys by the hash of each component's library",
        ),
        (
            "sources",
            "in the keys by content: model, SAE and file hashes",
        ),
        ("store", "where results go"),
        (
            "device",
            "the same numbers but for rounding; recorded with each result",
        ),
        ("dtype", "in the keys, see Numerics"),
        ("threads", "rounding at most; pinned under --reproducible"),
        ("reproducible", "in the keys, see Numerics"),
        ("allow_nan", "in the keys, see Numerics"),
        ("batch", "rounding at most"),
        ("memory", "how large batches may be: rounding at most"),
        (
            "judging.replies",
            "where replies are kept; they are keyed by their question",
        ),
        ("judging.run", "a name for what is spent together"),
        ("judging.budget", "ends a run, never changes an answer"),
        ("judging.price", "counts money"),
        ("judging.concurrency", "how many questions are under way"),
        ("judging.mode", "live or in batches: the same questions"),
        ("call_marker", "where a worker says which method it runs"),
    ];
    let init = Init {
        plugins: PluginChoice::default(),
        sources: Default::default(),
        store: PathBuf::from("out"),
        device: "cpu".to_owned(),
        dtype: Dtype::F32,
        threads: 1,
        reproducible: true,
        allow_nan: true,
        batch: Some(1),
        memory: Some(1),
        judging: Judging {
            replies: PathBuf::from("replies"),
            run: "run".to_owned(),
            budget: Budget::default(),
            price: Some(Price {
                usd_per_million_in: 1.0,
                usd_per_million_out: 1.0,
            }),
            concurrency: 1,
            mode: JudgeMode::Live,
        },
        call_marker: Some(PathBuf::from("calls")),
    };
    let told = serde_json::to_value(init).unwrap();
    let mut names: Vec<String> = Vec::new();
    for (name, value) in told.as_object().unwrap() {
        match (name.as_str(), value.as_object()) {
            ("judging", Some(parts)) => {
                names.extend(parts.keys().map(|part| format!("judging.{part}")));
            }
            _ => names.push(name.clone()),
        }
    }
    names.sort();
    let mut known: Vec<&str> = TOLD.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(
        names, known,
        "say why a value does not depend on it, or put it into the keys"
    );
}

/// The rest of what a bench is resolved to: spelt out, so that a new field does not compile before
/// it is thought of here.
#[test]
fn what_a_bench_is_resolved_to_is_accounted_for() {
    let world = world(&[("--rows", "rows", "dream-mask")]);
    let mut resolved = world.resolve(&spec("table2")).unwrap();
    let ResolvedBench {
        spec: _,     // names and titles; its settings are looked at above
        numerics: _, // looked at above
        limits:
            Limits {
                batch: _,  // rounding at most
                memory: _, // how large batches may be
            },
        prefixes,
        models: _,          // by content
        rows: _,            // their settings are looked at above; SAEs and data by content
        warnings: _,        // words
        strict_saes: _,     // refuses, or changes nothing
        is_profile_said: _, // the settings are those of the profile
        notes: _,           // words
    } = resolved.clone();
    let keys = all_keys(&world.expand(&resolved).unwrap());
    resolved.prefixes = prefixes
        .iter()
        .map(|prefix| format!("{prefix}, then"))
        .collect();
    assert!(all_keys(&world.expand(&resolved).unwrap()) != keys);
    resolved.prefixes = prefixes;
    resolved.limits = Limits {
        batch: Some(3),
        memory: 1 << 40,
    };
    assert_eq!(all_keys(&world.expand(&resolved).unwrap()), keys);
}
