//! Recorded runs of the reference samplers, state by state.

use harness_engine::{
    generate::{
        AutoregressRequest, DenoiseRequest, DrawLayout, OrderDraws, Sampling, SamplingRule,
        TokenGrid, autoregress, denoise,
    },
    plugin::Registry,
};
use serde_json::{Value, json};

use super::setting::{Family, Watch, golden, registry};

fn count(about: &Value, keys: &[&str]) -> Option<usize> {
    keys.iter()
        .find_map(|key| about[*key].as_u64())
        .map(|n| n as usize)
}

fn denoised(family: &mut Family, registry: &Registry, run: &str, about: &Value) {
    let prompts = family.prompts(run);
    let (order, config) = match about["alg"].as_str() {
        Some(alg) => (alg, json!({ "eps": about["eps"] })),
        None => (about["remasking"].as_str().unwrap(), json!({})),
    };
    let order_draws = match family.recorded.get(&format!("{run}.draws")) {
        Some(draws) => OrderDraws::Recorded {
            values: draws.try_into().unwrap(),
            layout: if order == "origin" {
                DrawLayout::Eligible
            } else {
                DrawLayout::Everywhere
            },
        },
        None => OrderDraws::Counter,
    };
    let request = DenoiseRequest {
        prompts: &prompts,
        item_ids: &(0..prompts.len() as u64).collect::<Vec<_>>(),
        max_new_tokens: count(about, &["max_new_tokens", "gen_length"]).unwrap(),
        steps: count(about, &["steps"]).unwrap(),
        block_length: count(about, &["block_length"]),
        sampling: Sampling::greedy(SamplingRule::of(&family.info)),
        cfg_scale: about["cfg_scale"].as_f64().unwrap_or(0.0),
        seed: 0,
        order_draws: &order_draws,
    };
    let mut remasker = registry.remasker(order, &config).unwrap();
    let mut watch = Watch::default();
    let generated = denoise(
        &mut family.model,
        &mut remasker,
        &request,
        None,
        Some(&mut watch),
    )
    .unwrap();
    let real = |grid: &TokenGrid, ids: &[i64]| -> Vec<i64> {
        ids.iter()
            .enumerate()
            .filter(|(i, _)| grid.is_valid(*i))
            .map(|(_, id)| *id)
            .collect()
    };
    let want = family.ids(&format!("{run}.states"));
    let size = generated.tokens.tokens().len();
    assert_eq!(want.len(), size * watch.states.len(), "{run}");
    for (s, (got, want)) in watch.states.iter().zip(want.chunks(size)).enumerate() {
        assert_eq!(real(got, got.tokens()), real(got, want), "{run}, state {s}");
    }
    let decode_step = family.ids(&format!("{run}.decode_step"));
    assert_eq!(
        real(&generated.tokens, &generated.decode_step),
        real(&generated.tokens, &decode_step),
        "{run}"
    );
    assert_eq!(generated.continuation(0).len(), request.max_new_tokens);
    // Without an observer the run takes the same course.
    if about["draws"].is_null() {
        let alone = denoise(&mut family.model, &mut remasker, &request, None, None).unwrap();
        assert_eq!(alone, generated, "{run}");
    }
}

fn all_runs(name: &str, at_least: usize) {
    let Some(golden) = golden() else { return };
    let registry = registry();
    let mut family = Family::load(&golden, &registry, name);
    let manifest = family.manifest.clone();
    let mut n = 0;
    for (run, about) in manifest["generate"].as_object().unwrap() {
        let skip = run == "trace" || about["needs_torch_rng"] == true || about["scope"].is_string();
        if !skip {
            denoised(&mut family, &registry, run, about);
            n += 1;
        }
    }
    assert!(n >= at_least, "{n} runs");
}

#[test]
fn dream_takes_the_reference_states() {
    all_runs("dream", 10);
}

#[test]
fn llada_takes_the_reference_states() {
    all_runs("llada", 9);
}

#[test]
fn greedy_decoding_gives_the_reference_tokens() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    for name in ["qwen2", "llama"] {
        let mut family = Family::load(&golden, &registry, name);
        for run in ["greedy30", "greedy30_leftpad", "greedy_eos_stop"] {
            let about = &family.manifest["generate"][run];
            let (stop, n) = (
                about["eos_token_id"].as_i64().unwrap(),
                count(about, &["new_tokens"]).unwrap(),
            );
            let prompts = family.prompts(run);
            let request = AutoregressRequest {
                prompts: &prompts,
                item_ids: &(0..prompts.len() as u64).collect::<Vec<_>>(),
                max_new_tokens: n,
                stop_ids: Some(&[stop]),
                sampling: Sampling::greedy(SamplingRule::TopKFirst),
                seed: 0,
            };
            let generated = autoregress(&mut family.model, &request, None, None).unwrap();
            let want = family.ids(&format!("{run}.tokens"));
            assert_eq!(
                generated.tokens.t() * prompts.len(),
                want.len(),
                "{name} {run}"
            );
            for (r, (prompt, want)) in prompts
                .iter()
                .zip(want.chunks(generated.tokens.t()))
                .enumerate()
            {
                assert_eq!(
                    generated.tokens.row(r),
                    &want[want.len() - generated.tokens.row(r).len()..],
                    "{name} {run}"
                );
                assert_eq!(
                    generated.continuation(r),
                    &generated.tokens.row(r)[prompt.len()..][..generated.n_new[r]]
                );
            }
            if run == "greedy_eos_stop" {
                assert_eq!(generated.continuation(0).last(), Some(&stop));
                assert!(generated.n_new[0] < n);
            }
        }
    }
}
