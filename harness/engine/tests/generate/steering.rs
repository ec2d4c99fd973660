//! Steering against the recorded runs, and its laws.

use harness_engine::{
    generate::{
        AutoregressRequest, DenoiseRequest, Generated, Magnitude, OrderDraws, Sampling,
        SamplingRule, Steering, autoregress, denoise,
    },
    plugin::{Objective, Registry, Sae, SteeringPolicy},
};
use serde_json::json;
use tch::{Kind, Tensor};

use super::setting::{Family, Watch, golden, registry, rows};

const LAYER: usize = 2;

fn policy(registry: &Registry, name: &str) -> SteeringPolicy {
    registry.steering(name, &json!({})).unwrap()
}

/// Ten steps (or thirty tokens) of greedy generation, steered or not.
fn run(
    family: &mut Family,
    registry: &Registry,
    prompts: &[Vec<i64>],
    steering: Option<&mut Steering<'_>>,
    watch: &mut Watch,
) -> Generated {
    let item_ids: Vec<u64> = (0..prompts.len() as u64).collect();
    let sampling = Sampling::greedy(SamplingRule::of(&family.info));
    if family.info.objective == Objective::Autoregressive {
        let request = AutoregressRequest {
            prompts,
            item_ids: &item_ids,
            max_new_tokens: 30,
            stop_ids: None,
            sampling,
            seed: 0,
        };
        return autoregress(&mut family.model, &request, steering, Some(watch)).unwrap();
    }
    let order = if family.info.logit_offset == 1 {
        "entropy"
    } else {
        "low_confidence"
    };
    let mut remasker = registry.remasker(order, &json!({})).unwrap();
    let request = DenoiseRequest {
        prompts,
        item_ids: &item_ids,
        max_new_tokens: 30,
        steps: 10,
        block_length: None,
        sampling,
        cfg_scale: 0.0,
        seed: 0,
        order_draws: &OrderDraws::Counter,
    };
    denoise(
        &mut family.model,
        &mut remasker,
        &request,
        steering,
        Some(watch),
    )
    .unwrap()
}

#[test]
fn steered_runs_equal_the_reference() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    for name in ["dream", "llada", "qwen2", "llama"] {
        let mut family = Family::load(&golden, &registry, name);
        let sae = family.sae(&registry);
        let feature = family.manifest["steer"]["feature"].as_i64().unwrap();
        for (scope, component) in [
            ("all", "all-tokens"),
            ("masked", "update-tokens"),
            ("top5", "topk-tokens"),
        ] {
            let run_name = format!("steer_{scope}");
            let about = family.manifest["generate"][&run_name].clone();
            if about.is_null() {
                continue;
            }
            let prompts = family.prompts(&run_name);
            let mut policy = policy(&registry, component);
            let directions = sae.decoder_rows(&Tensor::from_slice(&[feature])).unwrap();
            let (alpha, m) = (
                about["alpha"].as_f64().unwrap(),
                about["m"].as_f64().unwrap(),
            );
            let mut steering = Steering::along(
                LAYER,
                &mut policy,
                alpha,
                directions,
                Magnitude::Constant(m),
            )
            .reading(&sae, &[feature]);
            let mut watch = Watch::default();
            watch.wants.steering = true;
            let generated = run(
                &mut family,
                &registry,
                &prompts,
                Some(&mut steering),
                &mut watch,
            );
            let want = match family.recorded.contains_key(&format!("{run_name}.tokens")) {
                true => family.ids(&format!("{run_name}.tokens")),
                false => {
                    let states = family.ids(&format!("{run_name}.states"));
                    let got: Vec<i64> = watch
                        .states
                        .iter()
                        .flat_map(|grid| grid.tokens().to_vec())
                        .collect();
                    assert_eq!(got, states, "{name} {run_name}");
                    states[states.len() - generated.tokens.t()..].to_vec()
                }
            };
            assert_eq!(generated.tokens.tokens(), want, "{name} {run_name}");
            let [before, coeff, after] = &watch.steered[0];
            for (what, got) in [("first_resid", before), ("first_steered", after)] {
                let want = &family.recorded[&format!("{run_name}.{what}")];
                assert!(
                    got.allclose(want, 1e-4, 2e-4, false),
                    "{name} {run_name} {what}"
                );
            }
            let selected = family.ids(&format!("{run_name}.first_selected"));
            let got: Vec<i64> = (&coeff.ne(0.0).to_kind(Kind::Int64).view([-1]))
                .try_into()
                .unwrap();
            assert_eq!(got, selected, "{name} {run_name}");
            let unsteered = run(
                &mut family,
                &registry,
                &prompts,
                None,
                &mut Watch::default(),
            );
            assert_eq!(
                unsteered.tokens.tokens(),
                family.ids(&format!("{run_name}.unsteered_final"))
            );
        }
    }
}

#[test]
fn amp_factor_0_changes_no_bit() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    for name in ["dream", "llada", "qwen2", "llama"] {
        let mut family = Family::load(&golden, &registry, name);
        let sae = family.sae(&registry);
        let prompts = family.some_prompts(3);
        let plain = run(
            &mut family,
            &registry,
            &prompts,
            None,
            &mut Watch::default(),
        );
        for component in ["all-tokens", "update-tokens", "topk-tokens"] {
            let mut policy = policy(&registry, component);
            let mut steering =
                Steering::by_latents(LAYER, &mut policy, 0.0, &sae, &[3, 50, 3]).unwrap();
            let mut watch = Watch::default();
            watch.wants.steering = true;
            assert_eq!(
                run(
                    &mut family,
                    &registry,
                    &prompts,
                    Some(&mut steering),
                    &mut watch
                ),
                plain
            );
            let bits = |tensor: &Tensor| -> Vec<u32> {
                let values: Vec<f32> = (&tensor.contiguous().view([-1])).try_into().unwrap();
                values.into_iter().map(f32::to_bits).collect()
            };
            assert!(!watch.steered.is_empty());
            for [before, coeff, after] in &watch.steered {
                assert_eq!(bits(before), bits(after));
                assert_eq!(coeff.abs().max().double_value(&[]), 0.0);
            }
        }
    }
}

/// What Eq. 4 adds: `alpha · max_j z_j(x) · v` at each steered position.
fn expected(before: &Tensor, coeff: &Tensor, sae: &Sae, latents: &[i64]) -> Tensor {
    let [b, t, d] = before.size()[..] else {
        panic!("{:?}", before.size())
    };
    let m = sae
        .encode(&before.view([b * t, d]))
        .unwrap()
        .acts
        .select(1, 0)
        .view([b, t, 1]);
    let v = sae
        .decoder_rows(&Tensor::from_slice(latents))
        .unwrap()
        .view([b, 1, d]);
    before + coeff.view([b, t, 1]) * m * v
}

#[test]
fn the_magnitude_is_the_largest_activation_at_the_position() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    for name in ["dream", "qwen2"] {
        let mut family = Family::load(&golden, &registry, name);
        let sae = family.sae(&registry);
        let (prompts, latents) = (family.some_prompts(3), [3, 50, 7]);
        for component in ["all-tokens", "update-tokens"] {
            let mut policy = policy(&registry, component);
            let mut steering =
                Steering::by_latents(LAYER, &mut policy, 1.5, &sae, &latents).unwrap();
            let mut watch = Watch::default();
            watch.wants.steering = true;
            run(
                &mut family,
                &registry,
                &prompts,
                Some(&mut steering),
                &mut watch,
            );
            for [before, coeff, after] in &watch.steered {
                // The same products in another order of roundings.
                assert!(
                    after.allclose(&expected(before, coeff, &sae, &latents), 1e-6, 1e-5, false),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn features_and_prompts_share_a_batch() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    for name in ["dream", "llada", "qwen2", "llama"] {
        let mut family = Family::load(&golden, &registry, name);
        let sae = family.sae(&registry);
        let prompts = family.some_prompts(4);
        let latents = [3i64, 50, 3, 7];
        for component in ["all-tokens", "update-tokens", "topk-tokens"] {
            let mut policy = policy(&registry, component);
            let together = {
                let mut steering =
                    Steering::by_latents(LAYER, &mut policy, 2.0, &sae, &latents).unwrap();
                let together = run(
                    &mut family,
                    &registry,
                    &prompts,
                    Some(&mut steering),
                    &mut Watch::default(),
                );
                (0..4)
                    .map(|r| together.continuation(r).to_vec())
                    .collect::<Vec<_>>()
            };
            for r in 0..4 {
                let mut steering =
                    Steering::by_latents(LAYER, &mut policy, 2.0, &sae, &latents[r..=r]).unwrap();
                let alone = run(
                    &mut family,
                    &registry,
                    &prompts[r..=r],
                    Some(&mut steering),
                    &mut Watch::default(),
                );
                assert_eq!(
                    alone.continuation(0),
                    together[r],
                    "{name} {component} row {r}: {:?}",
                    rows(&alone)
                );
            }
        }
    }
}

#[test]
fn bfloat16_runs_are_steered_too() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    for name in ["dream", "qwen2"] {
        let mut family = Family::load_as(&golden, &registry, name, Kind::BFloat16);
        let sae = family.sae(&registry);
        let (prompts, latents) = (family.some_prompts(2), [3, 50]);
        let plain = run(
            &mut family,
            &registry,
            &prompts,
            None,
            &mut Watch::default(),
        );
        for amp_factor in [0.0, 4.0] {
            let mut policy = policy(&registry, "all-tokens");
            let mut steering =
                Steering::by_latents(LAYER, &mut policy, amp_factor, &sae, &latents).unwrap();
            let mut watch = Watch::default();
            watch.wants.steering = true;
            let steered = run(
                &mut family,
                &registry,
                &prompts,
                Some(&mut steering),
                &mut watch,
            );
            let [before, coeff, after] = &watch.steered[0];
            assert_eq!(after.kind(), Kind::BFloat16);
            let want = expected(&before.to_kind(Kind::Float), coeff, &sae, &latents);
            // Half a unit in the last place of eight bits.
            assert!(
                after
                    .to_kind(Kind::Float)
                    .allclose(&want, 1.0 / 256.0, 1e-6, false),
                "{name}"
            );
            assert_eq!(steered == plain, amp_factor == 0.0, "{name}");
        }
    }
}

#[test]
fn steering_that_does_not_fit_is_refused() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    let mut family = Family::load(&golden, &registry, "qwen2");
    let sae = family.sae(&registry);
    let prompts = family.some_prompts(2);
    let request = AutoregressRequest {
        prompts: &prompts,
        item_ids: &[0, 1],
        max_new_tokens: 2,
        stop_ids: None,
        sampling: Sampling::greedy(SamplingRule::TopKFirst),
        seed: 0,
    };
    let mut policy = policy(&registry, "topk-tokens");
    let n_layers = family.info.n_layers;
    let mut far = Steering::by_latents(n_layers, &mut policy, 1.0, &sae, &[1, 2]).unwrap();
    let refused = autoregress(&mut family.model, &request, Some(&mut far), None)
        .unwrap_err()
        .to_string();
    assert!(refused.contains(&format!("layer {n_layers}")), "{refused}");
    let mut few = Steering::by_latents(LAYER, &mut policy, 1.0, &sae, &[1]).unwrap();
    assert!(autoregress(&mut family.model, &request, Some(&mut few), None).is_err());
    let directions = sae.decoder_rows(&Tensor::from_slice(&[1i64, 2])).unwrap();
    let mut blind = Steering::along(
        LAYER,
        &mut policy,
        1.0,
        directions,
        Magnitude::Constant(1.0),
    );
    let refused = autoregress(&mut family.model, &request, Some(&mut blind), None)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("no latents"), "{refused}");
    assert!(Steering::by_latents(LAYER, &mut policy, 1.0, &sae, &[100_000]).is_err());
}
