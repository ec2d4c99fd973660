//! Company, order and padding of rows change no token.

use harness_engine::{
    generate::{
        AutoregressRequest, DenoiseRequest, GenerateError, OrderDraws, Sampling, SamplingRule,
        autoregress, denoise, plan_batches,
    },
    plugin::Registry,
};
use serde_json::{Value, json};

use super::setting::{Family, Watch, golden, registry, rows};

const N: usize = 9;

/// Runs `of(rows)` for every row alone, for all together, and for batches without padding in
/// reverse order.
fn same_in_any_company(
    prompts: &[Vec<i64>],
    what: &str,
    mut of: impl FnMut(&[usize]) -> Vec<Vec<i64>>,
) {
    let together = of(&(0..prompts.len()).collect::<Vec<_>>());
    for (r, together) in together.iter().enumerate() {
        assert_eq!(of(&[r])[0], *together, "{what}: row {r} alone");
    }
    let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
    for mut batch in plan_batches(&lengths, 2).into_iter().rev() {
        batch.reverse();
        for (got, r) in of(&batch).iter().zip(&batch) {
            assert_eq!(got, &together[*r], "{what}: row {r} in {batch:?}");
        }
    }
}

fn denoise_any_company(
    family: &mut Family,
    registry: &Registry,
    order: &str,
    config: &Value,
    temperature: f64,
) {
    let prompts = family.some_prompts(N);
    let sampling = Sampling {
        temperature,
        top_p: Some(0.9),
        top_k: None,
        rule: SamplingRule::of(&family.info),
    };
    let mut remasker = registry.remasker(order, config).unwrap();
    let what = format!("{} {order} {config} at {temperature}", family.info.family);
    same_in_any_company(&prompts, &what, |of| {
        let request = DenoiseRequest {
            prompts: &of.iter().map(|r| prompts[*r].clone()).collect::<Vec<_>>(),
            item_ids: &of.iter().map(|r| 100 + *r as u64).collect::<Vec<_>>(),
            max_new_tokens: 12,
            steps: 6,
            block_length: Some(if family.info.logit_offset == 0 { 6 } else { 12 }),
            sampling,
            cfg_scale: 0.0,
            seed: 5,
            order_draws: &OrderDraws::Counter,
        };
        rows(&denoise(&mut family.model, &mut remasker, &request, None, None).unwrap())
    });
}

#[test]
fn denoising_is_the_same_in_any_company() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    let mut dream = Family::load(&golden, &registry, "dream");
    for (order, config) in [
        ("origin", json!({})),
        ("maskgit_plus", json!({})),
        ("topk_margin", json!({})),
        ("entropy", json!({})),
        ("entropy", json!({"alg_temp": 0.5})),
    ] {
        denoise_any_company(&mut dream, &registry, order, &config, 0.7);
    }
    denoise_any_company(&mut dream, &registry, "entropy", &json!({}), 0.0);
    let mut llada = Family::load(&golden, &registry, "llada");
    for order in ["low_confidence", "random"] {
        denoise_any_company(&mut llada, &registry, order, &json!({}), 0.6);
    }
}

#[test]
fn autoregression_is_the_same_in_any_company() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    for name in ["qwen2", "llama"] {
        let mut family = Family::load(&golden, &registry, name);
        let prompts = family.some_prompts(N);
        // About every fourteenth token ends a row, so that rows end at different steps.
        let stop: Vec<i64> = (0..family.info.vocab_size as i64).step_by(14).collect();
        let sampling = Sampling {
            temperature: 0.8,
            top_p: Some(0.95),
            top_k: Some(50),
            rule: SamplingRule::TopKFirst,
        };
        let mut lengths = Vec::new();
        same_in_any_company(&prompts, name, |of| {
            let request = AutoregressRequest {
                prompts: &of.iter().map(|r| prompts[*r].clone()).collect::<Vec<_>>(),
                item_ids: &of.iter().map(|r| 100 + *r as u64).collect::<Vec<_>>(),
                max_new_tokens: 20,
                stop_ids: Some(&stop),
                sampling,
                seed: 5,
            };
            let generated = autoregress(&mut family.model, &request, None, None).unwrap();
            lengths.extend(generated.n_new.clone());
            (0..of.len())
                .map(|r| generated.continuation(r).to_vec())
                .collect()
        });
        lengths.dedup();
        assert!(
            lengths.len() > 3,
            "rows ended at different steps: {lengths:?}"
        );
    }
}

#[test]
fn the_seed_and_the_item_choose_the_text() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    let mut family = Family::load(&golden, &registry, "dream");
    let prompt = family.some_prompts(1).remove(0);
    let mut remasker = registry.remasker("entropy", &json!({})).unwrap();
    let mut run = |seed, item| {
        let request = DenoiseRequest {
            prompts: std::slice::from_ref(&prompt),
            item_ids: &[item],
            max_new_tokens: 10,
            steps: 5,
            block_length: None,
            sampling: Sampling {
                temperature: 1.0,
                top_p: None,
                top_k: None,
                rule: SamplingRule::NucleusFirst,
            },
            cfg_scale: 0.0,
            seed,
            order_draws: &OrderDraws::Counter,
        };
        rows(&denoise(&mut family.model, &mut remasker, &request, None, None).unwrap())
    };
    let first = run(1, 1);
    assert_eq!(first, run(1, 1));
    assert_ne!(first, run(1, 2));
    assert_ne!(first, run(2, 1));
}

#[test]
fn captured_residuals_are_those_of_the_state_before_the_step() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    let mut family = Family::load(&golden, &registry, "dream");
    let prompts = family.some_prompts(2);
    let mut remasker = registry.remasker("entropy", &json!({})).unwrap();
    let request = DenoiseRequest {
        prompts: &prompts,
        item_ids: &[0, 1],
        max_new_tokens: 6,
        steps: 3,
        block_length: None,
        sampling: Sampling::greedy(SamplingRule::NucleusFirst),
        cfg_scale: 0.0,
        seed: 0,
        order_draws: &OrderDraws::Counter,
    };
    let mut watch = Watch::default();
    watch.wants.layers = vec![2, 0];
    denoise(
        &mut family.model,
        &mut remasker,
        &request,
        None,
        Some(&mut watch),
    )
    .unwrap();
    let grid = &watch.states[1];
    let mut pass = family
        .model
        .begin(
            &grid.valid_tensor().unwrap(),
            harness_engine::plugin::CacheMode::OFF,
        )
        .unwrap();
    let mut resid = pass.embed(&grid.tensor().unwrap(), 0).unwrap();
    pass.blocks(0, 3, &mut resid).unwrap();
    assert_eq!(watch.captured[1][1], resid, "layer 2 at the second step");
    watch.wants.layers = vec![family.info.n_layers];
    let refused = denoise(
        &mut family.model,
        &mut remasker,
        &request,
        None,
        Some(&mut watch),
    );
    assert!(matches!(refused, Err(GenerateError::Request(_))));
}

#[test]
fn requests_that_do_not_fit_are_refused() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    let mut dream = Family::load(&golden, &registry, "dream");
    let mut qwen = Family::load(&golden, &registry, "qwen2");
    let mut remasker = registry.remasker("entropy", &json!({})).unwrap();
    let prompts = vec![vec![1, 2, 3]];
    let draws = OrderDraws::Counter;
    let good = DenoiseRequest {
        prompts: &prompts,
        item_ids: &[0],
        max_new_tokens: 8,
        steps: 4,
        block_length: Some(4),
        sampling: Sampling::greedy(SamplingRule::NucleusFirst),
        cfg_scale: 0.0,
        seed: 0,
        order_draws: &draws,
    };
    assert!(denoise(&mut dream.model, &mut remasker, &good, None, None).is_ok());
    for bad in [
        DenoiseRequest {
            max_new_tokens: 0,
            ..good.clone()
        },
        DenoiseRequest {
            steps: 0,
            ..good.clone()
        },
        DenoiseRequest {
            steps: 3,
            ..good.clone()
        },
        DenoiseRequest {
            block_length: Some(3),
            ..good.clone()
        },
        DenoiseRequest {
            block_length: Some(0),
            ..good.clone()
        },
        DenoiseRequest {
            item_ids: &[],
            ..good.clone()
        },
        DenoiseRequest {
            prompts: &[],
            item_ids: &[],
            ..good.clone()
        },
        DenoiseRequest {
            cfg_scale: -1.0,
            ..good.clone()
        },
        DenoiseRequest {
            sampling: Sampling {
                temperature: -1.0,
                ..good.sampling
            },
            ..good.clone()
        },
    ] {
        let refused = denoise(&mut dream.model, &mut remasker, &bad, None, None);
        assert!(
            matches!(refused, Err(GenerateError::Request(_))),
            "{bad:?}: {refused:?}"
        );
    }
    let refused = denoise(&mut qwen.model, &mut remasker, &good, None, None)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("autoregressive"), "{refused}");
    let empty = vec![vec![]];
    let good = AutoregressRequest {
        prompts: &prompts,
        item_ids: &[0],
        max_new_tokens: 2,
        stop_ids: None,
        sampling: Sampling::greedy(SamplingRule::TopKFirst),
        seed: 0,
    };
    assert!(autoregress(&mut qwen.model, &good, None, None).is_ok());
    assert!(autoregress(&mut dream.model, &good, None, None).is_err());
    assert!(
        autoregress(
            &mut qwen.model,
            &AutoregressRequest {
                prompts: &empty,
                ..good.clone()
            },
            None,
            None
        )
        .is_err()
    );
    assert!(
        autoregress(
            &mut qwen.model,
            &AutoregressRequest {
                max_new_tokens: 0,
                ..good
            },
            None,
            None
        )
        .is_err()
    );
}
