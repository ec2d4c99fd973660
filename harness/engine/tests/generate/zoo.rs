//! The embedded trained models: how a table's texts are generated.

use std::path::PathBuf;

use harness_engine::{
    generate::{
        AutoregressRequest, DenoiseRequest, OrderDraws, Sampling, SamplingRule, autoregress,
        continuations, denoise, token_perplexity,
    },
    plugin::{LoadOptions, Model, Objective, Registry},
    text::TextCodec,
};
use serde_json::{Value, json};
use tch::Kind;

use super::setting::registry;

const OPENINGS: [&str; 6] = [
    "The weather",
    "We know that",
    "In the morning,",
    "My friend said that",
    "After that,",
    "It is clear that the",
];

/// A model that is not loaded, and its folder.
fn adapter(registry: &Registry, name: &str) -> (Model, PathBuf) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../benchmarks/zoo")
        .join(name);
    let config: Value =
        serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
    let model = registry.model_for_type(config["model_type"].as_str().unwrap());
    (model.unwrap(), dir)
}

fn load(registry: &Registry, name: &str) -> (Model, TextCodec) {
    let (mut model, dir) = adapter(registry, name);
    model
        .load(
            &dir,
            LoadOptions {
                device: tch::Device::Cpu,
                kind: Kind::Float,
                allow_nan: false,
            },
        )
        .unwrap();
    (model, TextCodec::load(&dir).unwrap())
}

/// What a plan is told of a checkpoint, from its configuration alone.
#[test]
fn adapters_state_the_facts_that_plans_need() {
    let registry = registry();
    for (name, blocks, d_ff, n_ff, is_diffusion, logit_offset, schedule_eps) in [
        ("dream", "layers", 256, 3, true, 1, Some(1e-3)),
        ("llada", "blocks", 256, 3, true, 0, None),
        ("qwen", "layers", 256, 3, false, 1, None),
        ("llama", "layers", 256, 3, false, 1, None),
        ("gpt2", "h", 256, 2, false, 1, None),
    ] {
        let (model, dir) = adapter(&registry, name);
        let facts = model.facts(&dir).unwrap();
        let info = model.inspect(&dir).unwrap();
        let sizes = (facts.n_layers, facts.d_model, facts.vocab_size);
        assert_eq!(sizes, (8, 128, 2048), "{name}");
        assert_eq!((facts.d_ff, facts.n_ff), (d_ff, n_ff), "{name}");
        assert_eq!(facts.blocks.as_deref(), Some(blocks), "{name}");
        assert_eq!(facts.is_diffusion, is_diffusion, "{name}");
        assert_eq!(facts.logit_offset, logit_offset, "{name}");
        assert_eq!(facts.schedule_eps, schedule_eps, "{name}");
        // Norms, biases and a tied head are all that the sizes do not tell.
        let tied = match name {
            "gpt2" => 128.0 * 2048.0,
            _ => 0.0,
        };
        let told = facts.shape(1).numbers() as f64 - tied;
        let share = told / info.n_params as f64;
        assert!((0.9..1.01).contains(&share), "{name}: {share}");
    }
}

/// Tokens generated after `prompts`, as the steering benches do it.
fn generate(
    registry: &Registry,
    model: &mut Model,
    codec: &TextCodec,
    items: &[u64],
) -> (Vec<Vec<i64>>, Vec<String>) {
    let info = model.info().unwrap().clone();
    let prompts: Vec<Vec<i64>> = items
        .iter()
        .map(|item| {
            codec
                .encode(OPENINGS[*item as usize % OPENINGS.len()], true)
                .unwrap()
                .into_iter()
                .map(i64::from)
                .collect()
        })
        .collect();
    let sampling = Sampling {
        temperature: 0.7,
        top_p: Some(0.95),
        top_k: None,
        rule: SamplingRule::of(&info),
    };
    let generated = if info.objective == Objective::Autoregressive {
        let request = AutoregressRequest {
            prompts: &prompts,
            item_ids: items,
            max_new_tokens: 30,
            stop_ids: None,
            sampling,
            seed: 42,
        };
        autoregress(model, &request, None, None).unwrap()
    } else {
        let order = if info.logit_offset == 1 {
            "entropy"
        } else {
            "low_confidence"
        };
        let request = DenoiseRequest {
            prompts: &prompts,
            item_ids: items,
            max_new_tokens: 30,
            steps: 30,
            block_length: None,
            sampling,
            cfg_scale: 0.0,
            seed: 42,
            order_draws: &OrderDraws::Counter,
        };
        denoise(
            model,
            &mut registry.remasker(order, &json!({})).unwrap(),
            &request,
            None,
            None,
        )
        .unwrap()
    };
    let texts = continuations(codec, &generated, &info.eos_token_ids).unwrap();
    (
        (0..items.len())
            .map(|r| generated.continuation(r).to_vec())
            .collect(),
        texts,
    )
}

#[test]
fn trained_models_write_the_same_text_in_any_company() {
    let registry = registry();
    for name in ["dream", "llada", "qwen", "llama"] {
        let (mut model, codec) = load(&registry, name);
        let items: Vec<u64> = (0..18).collect();
        let (together, texts) = generate(&registry, &mut model, &codec, &items);
        for batch in [&items[..1], &items[3..5], &items[6..13], &items[13..]] {
            let (apart, _) = generate(&registry, &mut model, &codec, batch);
            for (got, item) in apart.iter().zip(batch) {
                assert_eq!(
                    *got, together[*item as usize],
                    "{name}, item {item} in {batch:?}"
                );
            }
        }
        assert!(
            texts.iter().all(|text| !text.trim().is_empty()),
            "{name}: {texts:?}"
        );
        let distinct: std::collections::BTreeSet<&String> = texts.iter().collect();
        assert!(
            distinct.len() > 12,
            "{name}: items draw their own texts: {texts:?}"
        );
    }
}

#[test]
fn the_scorer_finds_trained_text_likelier_than_its_words_shuffled() {
    let registry = registry();
    let (mut writer, codec) = load(&registry, "qwen");
    let (_, texts) = generate(&registry, &mut writer, &codec, &(0..12).collect::<Vec<_>>());
    let (mut scorer, codec) = load(&registry, "gpt2");
    let shuffled: Vec<String> = texts
        .iter()
        .map(|text| text.split(' ').rev().collect::<Vec<_>>().join(" "))
        .collect();
    let mut mean_log = |texts: &[String]| {
        let tokens = |text: &String| codec.encode(text, false).unwrap().into_iter();
        let rows: Vec<Vec<i64>> = (texts.iter())
            .map(|text| tokens(text).map(i64::from).collect())
            .collect();
        let values = token_perplexity(&mut scorer, &rows, 512).unwrap();
        let logs: Vec<f64> = values.into_iter().flatten().map(f64::ln).collect();
        logs.iter().sum::<f64>() / logs.len() as f64
    };
    let (own, other) = (mean_log(&texts), mean_log(&shuffled));
    assert!(own + 0.5 < other, "{own} {other}: {texts:?}");
}
