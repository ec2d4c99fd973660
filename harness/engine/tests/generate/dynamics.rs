//! Features followed while generating equal those of every state run again, and the sums those of
//! the equations.

use std::collections::BTreeSet;

use harness_core::{
    dynamics::{Cut, DynamicsSums, Metric, View},
    stats::Bootstrap,
};
use harness_engine::{
    dynamics::{FeatureTrace, Tracked},
    generate::{
        DenoiseRequest, GenerateError, Observer, OrderDraws, ResidualReport, Sampling,
        SamplingRule, StepFeatures, StepReport, TokenGrid, Wants, denoise,
    },
    plugin::{CacheMode, Sae},
};
use serde_json::json;
use tch::Tensor;

use super::setting::{Family, golden, registry};

/// The overlap of two sets, Eq. 20, counted one latent at a time.
fn jaccard(a: &[i64], b: &[i64]) -> f64 {
    let set = |latents: &[i64]| -> BTreeSet<i64> {
        latents.iter().copied().filter(|l| *l >= 0).collect()
    };
    let (a, b) = (set(a), set(b));
    match a.union(&b).count() {
        0 => 1.0,
        union => a.intersection(&b).count() as f64 / union as f64,
    }
}

const NEW: usize = 12;
const STEPS: usize = 6;
const LAYERS: [usize; 2] = [1, 2];
/// Fewer than the SAE's eight: the set is the most active ones.
const K_SET: usize = 5;

/// A trace, with the sequences its passes ran on and what it offered to orders.
struct Kept<'a> {
    trace: FeatureTrace<'a>,
    states: Vec<TokenGrid>,
    offered: Vec<StepFeatures>,
}

impl Observer for Kept<'_> {
    fn wants(&self) -> Wants {
        self.trace.wants()
    }

    fn residual(&mut self, report: &ResidualReport<'_>) -> Result<(), GenerateError> {
        self.trace.residual(report)
    }

    fn unread(&self) -> Vec<&Tensor> {
        self.trace.unread()
    }

    fn read(&mut self, numbers: &[Tensor]) -> Result<(), GenerateError> {
        self.trace.read(numbers)
    }

    fn features(&mut self) -> Result<Option<StepFeatures>, GenerateError> {
        self.trace.features()
    }

    fn step(&mut self, report: &StepReport<'_>) -> Result<(), GenerateError> {
        self.states.push(report.before.clone());
        self.offered.extend(self.trace.features()?);
        self.trace.step(report)
    }
}

/// The most active latents of the generated columns of a state, run by itself. `[b · NEW][k_set]`
fn replayed(family: &mut Family, sae: &Sae, state: &TokenGrid, layer: usize) -> Vec<Vec<i64>> {
    let valid = state.valid_tensor().unwrap();
    let mut pass = family.model.begin(&valid, CacheMode::OFF).unwrap();
    let mut resid = pass.embed(&state.tensor().unwrap(), 0).unwrap(); // [b, t, d_model]
    pass.blocks(0, layer + 1, &mut resid).unwrap();
    let (t, d_model) = (state.t() as i64, resid.size()[2]);
    let rows = resid
        .narrow(1, t - NEW as i64, NEW as i64)
        .reshape([-1, d_model]);
    let latents = sae
        .encode(&rows)
        .unwrap()
        .latents
        .narrow(1, 0, K_SET as i64);
    Vec::<Vec<i64>>::try_from(&latents.contiguous()).unwrap()
}

fn close(got: Option<f64>, want: Option<f64>) -> bool {
    match (got, want) {
        (Some(got), Some(want)) => (got - want).abs() < 1e-12,
        (got, want) => got == want,
    }
}

#[test]
fn one_pass_equals_replaying_every_state() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    for (name, order) in [
        ("dream", "entropy"),
        ("dream", "origin"),
        ("dream", "sae-stability"),
        ("llada", "low_confidence"),
    ] {
        let mut family = Family::load(&golden, &registry, name);
        let sae = family.sae(&registry);
        let mask_id = family.info.mask_token_id.unwrap();
        // Of different lengths, so that the shorter rows are padded.
        let prompts = family.some_prompts(3);
        let mut remasker = registry.remasker(order, &json!({})).unwrap();
        let request = DenoiseRequest {
            prompts: &prompts,
            item_ids: &[4, 5, 6],
            max_new_tokens: NEW,
            steps: STEPS,
            block_length: None,
            sampling: Sampling::greedy(SamplingRule::of(&family.info)),
            cfg_scale: 0.0,
            seed: 3,
            order_draws: &OrderDraws::Counter,
        };
        let saes = LAYERS.map(|layer| (layer, &sae)).to_vec();
        let mut kept = Kept {
            trace: FeatureTrace::new(saes, K_SET, Tracked::Generated(NEW), mask_id, STEPS),
            states: Vec::new(),
            offered: Vec::new(),
        };
        let passes = family.model.work().block_passes;
        denoise(
            &mut family.model,
            &mut remasker,
            &request,
            None,
            Some(&mut kept),
        )
        .unwrap();
        let passes = family.model.work().block_passes - passes;
        let rows = (prompts.len() * STEPS) as u64;
        assert_eq!(
            passes,
            rows * family.info.n_layers as u64,
            "{name} {order}: no block is run twice"
        );
        assert_eq!(kept.trace.sae_rows(), rows * (NEW * LAYERS.len()) as u64);

        let Kept {
            trace,
            states,
            offered,
        } = kept;
        let sums = DynamicsSums {
            units: trace.finish(),
            ..DynamicsSums::new(vec![1, 2], STEPS, NEW)
        };
        assert_eq!((sums.units.len(), states.len()), (prompts.len(), STEPS));
        for (l, layer) in LAYERS.into_iter().enumerate() {
            let sets: Vec<_> = states
                .iter()
                .map(|s| replayed(&mut family, &sae, s, layer))
                .collect();
            for k in 1..STEPS {
                let masked = |k: usize, i: usize| {
                    let t = states[k].t();
                    states[k].tokens()[i / NEW * t + t - NEW + i % NEW] == mask_id
                };
                let of = |keep: &dyn Fn(usize) -> bool| -> Vec<usize> {
                    (0..prompts.len() * NEW).filter(|i| keep(*i)).collect()
                };
                let pre = of(&|i| masked(k, i) && masked(k - 1, i));
                let post = of(&|i| !masked(k, i) && !masked(k - 1, i));
                let overlap = |i: usize| jaccard(&sets[k][i], &sets[k - 1][i]);
                let is_same = |i: usize| sets[k][i][0] == sets[k - 1][i][0];
                let mean = |at: &[usize], value: &dyn Fn(usize) -> f64| {
                    (!at.is_empty())
                        .then(|| at.iter().map(|i| value(*i)).sum::<f64>() / at.len() as f64)
                };
                let flips = post.iter().filter(|i| !is_same(**i)).count() as f64;
                let want = [
                    mean(&pre, &overlap),
                    mean(&post, &|i| 1.0 - overlap(i)),
                    mean(&pre, &|i| f64::from(u8::from(is_same(i)))),
                    Some(flips / prompts.len() as f64),
                ];
                let cut = Cut::Steps {
                    first: k,
                    end: k + 1,
                };
                let asked = Metric::ALL.map(|metric| (metric, View::Layer(l), cut));
                let bootstrap = Bootstrap {
                    resamples: 0,
                    seed: 0,
                };
                let got = sums.estimates(&asked, bootstrap).unwrap();
                for ((metric, got), want) in Metric::ALL.into_iter().zip(got).zip(want) {
                    let got = got.value;
                    assert!(
                        close(got, want),
                        "{name} {order} layer {layer} k {k} {}: {got:?} {want:?}",
                        metric.name()
                    );
                }
                for i in 0..prompts.len() * NEW {
                    let t = states[k].t();
                    let at = [l as i64, (i / NEW) as i64, (t - NEW + i % NEW) as i64];
                    let value = |tensor: &Tensor| tensor.double_value(&at);
                    assert_eq!(value(&offered[k].jaccard) as f32, overlap(i) as f32);
                    assert_eq!(
                        value(&offered[k].top1_same),
                        f64::from(u8::from(is_same(i)))
                    );
                }
            }
        }
        // Nothing comes before the first pass, and prompts are not followed.
        assert!(bool::try_from(offered[0].jaccard.isnan().all()).unwrap());
        let prompt = offered[1]
            .jaccard
            .narrow(2, 0, (states[1].t() - NEW) as i64);
        assert!(bool::try_from(prompt.isnan().all()).unwrap());
    }
}

#[test]
fn an_order_that_reads_features_needs_a_trace() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    let mut family = Family::load(&golden, &registry, "dream");
    let prompts = family.some_prompts(1);
    let mut remasker = registry.remasker("sae-stability", &json!({})).unwrap();
    let request = DenoiseRequest {
        prompts: &prompts,
        item_ids: &[0],
        max_new_tokens: 4,
        steps: 4,
        block_length: None,
        sampling: Sampling::greedy(SamplingRule::of(&family.info)),
        cfg_scale: 0.0,
        seed: 0,
        order_draws: &OrderDraws::Counter,
    };
    let error = denoise(&mut family.model, &mut remasker, &request, None, None).unwrap_err();
    assert!(error.to_string().contains("decoding-order"), "{error}");
}

/// A row is followed up to the pass that first reads a stop token, and no further.
#[test]
fn a_row_may_be_followed_until_its_stop_token() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    let mut family = Family::load(&golden, &registry, "dream");
    let sae = family.sae(&registry);
    let mask_id = family.info.mask_token_id.unwrap();
    let prompts = family.some_prompts(2);
    let mut run = |stop: &[i64]| {
        let mut remasker = registry.remasker("entropy", &json!({})).unwrap();
        let request = DenoiseRequest {
            prompts: &prompts,
            item_ids: &[0, 1],
            max_new_tokens: NEW,
            steps: NEW,
            block_length: None,
            sampling: Sampling::greedy(SamplingRule::of(&family.info)),
            cfg_scale: 0.0,
            seed: 0,
            order_draws: &OrderDraws::Counter,
        };
        let trace = FeatureTrace::new(
            vec![(1, &sae)],
            K_SET,
            Tracked::Generated(NEW),
            mask_id,
            NEW,
        );
        let mut kept = Kept {
            trace: trace.until(stop),
            states: Vec::new(),
            offered: Vec::new(),
        };
        denoise(
            &mut family.model,
            &mut remasker,
            &request,
            None,
            Some(&mut kept),
        )
        .unwrap();
        (kept.states, kept.trace.finish())
    };
    let (states, whole) = run(&[]);
    let generated = |k: usize, r: usize| {
        let row = states[k].row(r);
        row[row.len() - NEW..].to_vec()
    };
    // The last token that row 0 reads decoded for the first time, and the pass that does.
    let (first, stop) = (1..NEW)
        .rev()
        .find_map(|k| {
            let (now, before) = (generated(k, 0), generated(k - 1, 0));
            let new = now.into_iter().find(|token| !before.contains(token))?;
            Some((k, new))
        })
        .unwrap();
    let (_, cut) = run(&[stop]);
    for r in 0..2 {
        let end = (0..NEW)
            .find(|k| generated(*k, r).contains(&stop))
            .unwrap_or(NEW);
        for k in 0..NEW {
            let want = if k < end {
                whole[r].by_step.n_pre[k]
            } else {
                0
            };
            assert_eq!(cut[r].by_step.n_pre[k], want, "row {r} k {k} end {end}");
        }
    }
    // Something is left out.
    assert!(
        whole[0].by_step.n_pre[first..].iter().sum::<u64>() > 0,
        "pass {first}"
    );
}

/// PROTOCOL §10, 2: outside training and loss the authors encode without subtracting `b_dec`.
#[test]
fn the_authors_encoding_is_there_by_name() {
    let Some(golden) = golden() else { return };
    let registry = registry();
    let family = Family::load(&golden, &registry, "dream");
    let (sae, theirs) = (
        family.sae(&registry),
        family.sae_as(&registry, "topk-paper-code"),
    );
    let w = sae.info().max_active as i64;
    let options = (tch::Kind::Float, tch::Device::Cpu);
    let none = Tensor::full([1, w], -1, (tch::Kind::Int64, tch::Device::Cpu));
    let b_dec = sae.decode(&Tensor::zeros([1, w], options), &none).unwrap(); // [1, d_model]
    let n = 40 * sae.info().d_model as i64;
    let x = (Tensor::arange(n, options) * 1.7).sin().view([40, -1]);
    let (want, got) = (
        sae.encode(&(&x + &b_dec)).unwrap(),
        theirs.encode(&x).unwrap(),
    );
    // Subtracting what was added rounds.
    assert!((want.acts - got.acts).abs().max().double_value(&[]) < 1e-5);
    assert_eq!(want.latents, got.latents);
    assert_ne!(sae.encode(&x).unwrap().latents, got.latents);
}
