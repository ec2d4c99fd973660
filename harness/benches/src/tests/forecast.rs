//! What the paper's budgets take, from the shapes of the real models alone, held against the
//! protocol's own arithmetic.

use crate::test_world::{World, write};
use harness_contract::stages::Stage;
use harness_plan::bench::Profile;
use harness_plan::expand::*;

/// Public shapes: model type, width, blocks, heads, heads of keys, feed-forward, vocabulary.
const SHAPES: [(&str, &str, [u32; 6]); 4] = [
    ("qwen", "qwen2", [3584, 28, 28, 4, 18944, 152_064]),
    ("dream", "Dream", [3584, 28, 28, 4, 18944, 152_064]),
    ("llama", "llama", [4096, 32, 32, 8, 14336, 128_256]),
    ("llada", "llada", [4096, 32, 32, 32, 12288, 126_464]),
];

/// The four models as config.json alone, their sets of 36 SAEs as cfg.json alone, GPT-2's shape, no
/// text.
fn papers() -> World {
    let mut world = World::made_up();
    let root = world.dir.path().join("real");
    let models = SHAPES.iter().map(|shape| (shape.0, *shape));
    for (name, (_, model_type, [d, blocks, heads, kv, ff, vocab])) in
        models.chain([("dream-instruct", SHAPES[1])])
    {
        let mask = match model_type {
            "Dream" | "llada" => r#","mask_token_id":3"#,
            _ => "",
        };
        let config = format!(
            r#"{{"model_type":"{model_type}","hidden_size":{d},"num_hidden_layers":{blocks},"num_attention_heads":{heads},"num_key_value_heads":{kv},"intermediate_size":{ff},"vocab_size":{vocab}{mask}}}"#
        );
        write(&root.join(name).join("config.json"), &config);
        world.models.insert(name.to_owned(), root.join(name));
    }
    let gpt2 = r#"{"model_type":"gpt2","n_embd":768,"n_layer":12,"n_head":12,"vocab_size":50257}"#;
    write(&root.join("gpt2/config.json"), gpt2);
    world.models.insert("gpt2".to_owned(), root.join("gpt2"));
    for (set, d_model, layers) in [
        ("qwen", 3584, [1, 5, 10, 14, 23, 27]),
        ("dream-unmask", 3584, [1, 5, 10, 14, 23, 27]),
        ("dream-mask", 3584, [1, 5, 10, 14, 23, 27]),
        ("dream-instruct-mask", 3584, [1, 5, 10, 14, 23, 27]),
        ("llama", 4096, [1, 6, 11, 16, 26, 30]),
        ("llada-unmask", 4096, [1, 6, 11, 16, 26, 30]),
        ("llada-mask", 4096, [1, 6, 11, 16, 26, 30]),
    ] {
        let dir = root.join("saes").join(set);
        for layer in layers {
            for (i, k) in [50, 80, 160, 320, 520, 820].iter().enumerate() {
                let config =
                    format!(r#"{{"d_in":{d_model},"d_sae":16384,"k":{k},"hook_layer":{layer}}}"#);
                write(
                    &dir.join(format!("resid_post_layer_{layer}/trainer_{i}/cfg.json")),
                    &config,
                );
            }
        }
        world.saes.insert(set.to_owned(), dir);
    }
    world.is_forecast = true;
    world
}

/// The models a bench runs, and no others.
fn plan(bench: &str, options: &[(&str, &str, &str)]) -> Plan {
    let mut world = papers().options(options);
    let spec = crate::test_world::spec(bench);
    let models = spec.models();
    world
        .models
        .retain(|name, _| name == "gpt2" && bench == "table2" || models.contains(&name.as_str()));
    let sets = spec.sae_sets();
    world.saes.retain(|name, _| sets.contains(&name.as_str()));
    let resolved = world.resolve(&spec).unwrap();
    assert!(resolved.rows.iter().all(|row| row.profile == Profile::Real));
    assert!(resolved.rows.iter().all(|row| row.data.is_empty()));
    world.expand(&resolved).unwrap()
}

fn of(plan: &Plan, stage: Stage) -> Cost {
    let is = |key: &str| plan.cell(key).is_some_and(|c| c.stage() == stage);
    plan.cost(is)
}

#[test]
fn table2_takes_what_the_protocol_says_but_for_texts_written_once() {
    let plan = plan("table2", &[]);
    // 216 SAEs x 100 features x 5 prefixes. The protocol counts as many unsteered texts, 216,000 in
    // all: one depends on model, prefix and seed only, so that 50 of each of four models serve
    // every feature.
    let steered = of(&plan, Stage::Steer);
    assert_eq!(steered.generations, 108_000);
    assert_eq!(of(&plan, Stage::Baseline).generations, 4 * 50);
    // 30 passes each: half of the protocol's 6.5 M forwards.
    let forwards = 30 * 108_000;
    let blocks: u64 = [(3, 28), (3, 32)].map(|(sets, n)| sets * n).iter().sum();
    assert_eq!(steered.block_passes, forwards / 6 * blocks);
    assert_eq!(2 * forwards, 6_480_000);
    // Pairs: 108,000, as the protocol. Explanations are asked for besides.
    assert_eq!(of(&plan, Stage::Judge).judge_calls, 108_000);
    assert_eq!(of(&plan, Stage::Explain).judge_calls, 216 * 100);
    // Every text is scored once by 12 blocks.
    let scored = of(&plan, Stage::Perplexity);
    assert_eq!(scored.block_passes, 12 * (108_000 + 200));
    assert!(
        steered.flops > 1e18 && steered.flops < 1e20,
        "{}",
        steered.flops
    );
}

#[test]
fn autointerp_asks_what_the_protocol_says_in_one_pass_a_model() {
    let plan = plan("autointerp", &[]);
    assert_eq!(plan.cost(|_| true).judge_calls, 43_200);
    // 5 M tokens of 128 through the blocks up to the deepest layer, once a model.
    let rows = 5_000_000_u64.div_ceil(128);
    assert_eq!(
        of(&plan, Stage::Windows).block_passes,
        rows * (28 + 28 + 31 + 31)
    );
}

#[test]
fn decoding_orders_take_the_protocols_forwards_and_no_replay() {
    let orders = [("--orders", "orders", "origin,topk_margin,entropy")];
    let plan = plan("decoding-order", &orders);
    let cost = plan.cost(|_| true);
    assert_eq!(cost.block_passes / 28, 307_200);
    assert_eq!(cost.generations, 3 * 800);
}

#[test]
fn fidelity_shares_the_clean_pass_and_the_blocks_below() {
    let plan = plan("fidelity", &[]);
    // The protocol: a clean and a spliced pass for each of 216 SAEs over 36.4 M tokens.
    let rows: u64 = [vec![2_000_000_u64; 18], vec![400_000]]
        .concat()
        .iter()
        .map(|tokens| tokens.div_ceil(2048))
        .sum();
    let alone = 72 * 2 * rows * (28 + 32) + 36 * 2 * rows * (28 + 32);
    let shared = plan.cost(|_| true).block_passes;
    // Suffixes above layers 1, 5, 10, 14, 23, 27 of 28, and 1, 6, 11, 16, 26, 30 of 32 blocks.
    let (a, b) = (26 + 22 + 17 + 13 + 4, 30 + 25 + 20 + 15 + 5 + 1);
    let once = |blocks: u64, suffixes: u64, ks: u64| blocks + ks * suffixes;
    let want = once(28, a, 6) + once(28, a, 12) + once(32, b, 6) + once(32, b, 12);
    assert_eq!(shared, rows * want);
    assert!(alone > 3 * shared, "{alone} {shared}");
}

#[test]
fn work_and_memory_by_model() {
    let plan = plan("table2", &[]);
    let costs = plan.cost_by_model(|_| true);
    let sum: f64 = costs.iter().map(|(_, cost)| cost.flops).sum();
    assert!((sum / plan.cost(|_| true).flops - 1.0).abs() < 1e-9);
    let names: Vec<&str> = costs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["qwen", "dream", "llama", "llada", "gpt2"]);
    let calls: u64 = costs.iter().map(|(_, cost)| cost.judge_calls).sum();
    assert_eq!(calls, plan.cost(|_| true).judge_calls);
    // Seven billion numbers of four bytes and 36 SAEs of 2 x 3584 x 16384, without a weight file.
    let gib = plan.memory_of("dream") >> 30;
    assert!((28 + 30..28 + 50).contains(&gib), "{gib} GiB");
    // What is done costs nothing.
    let steer: Vec<String> = crate::test_world::keys(&plan, Stage::Steer)
        .into_iter()
        .collect();
    let left = plan.cost_by_model(|key| !steer.iter().any(|done| done == key));
    let of = |costs: &[(String, Cost)], name: &str| {
        costs.iter().find(|(other, _)| other == name).unwrap().1
    };
    assert_eq!(of(&left, "dream").generations, 50);
}
