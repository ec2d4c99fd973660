//! Ground truth: the zoo's text has labelled topics, so a steered topic can be measured without a
//! judge.
//!
//! A feature belongs to a topic when most of the words of its explanation do, by the generator's
//! own lexicon. For each model, at its best set and layer: the mean C over all features of planted
//! topics is above 0 with its 95 % interval, and the share of their topics' words in the texts,
//! counted with the lexicon, rises with it. The best of a few sets and layers is looked at, so the
//! interval is not one of a choice made beforehand.

use std::{collections::BTreeMap, path::Path};

use harness_core::stats::{Moments, student_interval};
use harness_data::topic_of_word;
use serde_json::Value;

use crate::cells::records;
use crate::support::{harness, succeed};

/// Features of planted topics an SAE needs before their mean is looked at.
const MIN_FEATURES: usize = 10;

/// C and the change of the share of topic words of one feature.
struct Steered {
    c: f64,
    share: f64,
}

/// Features of planted topics by model, and by set and layer.
type ByModel = BTreeMap<String, BTreeMap<(String, u64), Vec<Steered>>>;

#[test]
fn steering_a_planted_topic_raises_it() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    succeed(
        harness()
            .args([
                "bench",
                "table2",
                "--plugins",
                "plugins",
                "--layers",
                "2,4",
                "--k",
                "8",
            ])
            .args([
                "--n-features",
                "32",
                "--n-prefix",
                "3",
                "--threads",
                "2",
                "--out",
            ])
            .arg(&out),
    );
    let models = features_by_topic(&out);
    assert_eq!(
        models.keys().map(String::as_str).collect::<Vec<_>>(),
        ["dream", "llada", "llama", "qwen"]
    );
    for (model, groups) in models {
        let best = groups
            .iter()
            .filter(|(_, features)| features.len() >= MIN_FEATURES)
            .max_by(|a, b| mean_c(a.1).total_cmp(&mean_c(b.1)));
        let ((sae, layer), features) =
            best.unwrap_or_else(|| panic!("{model}: no SAE has {MIN_FEATURES} features of topics"));
        let c: Vec<f64> = features.iter().map(|feature| feature.c).collect();
        let interval = student_interval(&Moments::of(&c), 0.95).unwrap();
        let share = features.iter().map(|feature| feature.share).sum::<f64>() / c.len() as f64;
        eprintln!(
            "{model}: {sae} layer {layer}, {} features of topics: C {:.3} [{:.3}, {:.3}], topic words {share:+.3}",
            c.len(),
            mean_c(features),
            interval.low,
            interval.high
        );
        assert!(interval.low > 0.0, "{model}: the interval holds 0");
        assert!(share > 0.0, "{model}: the generator's labels disagree");
    }
}

fn mean_c(features: &[Steered]) -> f64 {
    features.iter().map(|feature| feature.c).sum::<f64>() / features.len() as f64
}

fn features_by_topic(out: &Path) -> ByModel {
    let cells = cells(out);
    let of_stage = |stage: &'static str| cells.values().filter(move |cell| cell["stage"] == stage);
    let mut models = ByModel::new();
    for score in of_stage("score") {
        let judge = &cells[score["inputs"][1].as_str().unwrap()];
        let baseline = &cells[judge["inputs"][1].as_str().unwrap()];
        let steer = &cells[judge["inputs"][2].as_str().unwrap()];
        let unsteered: BTreeMap<u64, &str> = texts(baseline)
            .map(|(_, prefix, text)| (prefix, text))
            .collect();
        let model = steer["params"]["model"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        let sae = &steer["params"]["sae"];
        for feature in score["output"]["features"].as_array().unwrap() {
            let (Some(c), Some(topic)) = (
                feature["concept_improvement"].as_f64(),
                feature["explanation"]
                    .as_str()
                    .and_then(topic_of_explanation),
            ) else {
                continue;
            };
            let latent = feature["latent"].as_u64();
            let changes: Vec<f64> = texts(steer)
                .filter(|(of, _, _)| *of == latent)
                .map(|(_, prefix, text)| share(text, topic) - share(unsteered[&prefix], topic))
                .collect();
            let key = (
                sae["set"].as_str().unwrap().to_owned(),
                sae["layer"].as_u64().unwrap(),
            );
            let steered = Steered {
                c,
                share: changes.iter().sum::<f64>() / changes.len() as f64,
            };
            models
                .entry(model.clone())
                .or_default()
                .entry(key)
                .or_default()
                .push(steered);
        }
    }
    models
}

/// Finished cells by key.
fn cells(out: &Path) -> BTreeMap<String, Value> {
    let key = |cell: &Value| cell["key"].as_str().unwrap().to_owned();
    let cells = records(out).into_iter();
    cells.map(|cell| (key(&cell), cell)).collect()
}

/// Latent, prefix and text of each generation.
fn texts(cell: &Value) -> impl Iterator<Item = (Option<u64>, u64, &str)> {
    cell["output"]["texts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| {
            (
                text["latent"].as_u64(),
                text["prefix"].as_u64().unwrap(),
                text["text"].as_str().unwrap(),
            )
        })
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The topic that more than half of an explanation's words belong to.
fn topic_of_explanation(explanation: &str) -> Option<&'static str> {
    let words = words(explanation.trim_start_matches("words:"));
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for topic in words.iter().filter_map(|word| topic_of_word(word)) {
        *counts.entry(topic).or_default() += 1;
    }
    counts
        .into_iter()
        .find(|(_, count)| 2 * count > words.len())
        .map(|(topic, _)| topic)
}

/// Share of a text's words that belong to a topic.
fn share(text: &str, topic: &str) -> f64 {
    let words = words(text);
    let hits = words
        .iter()
        .filter(|word| topic_of_word(word) == Some(topic))
        .count();
    hits as f64 / words.len().max(1) as f64
}
