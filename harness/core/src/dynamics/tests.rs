use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Cut, DynamicsError, DynamicsSums, Metric, PromptSums, PromptTrace, Transition, View};
use crate::stats::Bootstrap;

const BOOTSTRAP: Bootstrap = Bootstrap {
    resamples: 500,
    seed: 7,
};

/// Eq. 20 by its definition.
fn jaccard(a: &[i64], b: &[i64]) -> f64 {
    let set = |latents: &[i64]| latents.iter().copied().collect::<BTreeSet<i64>>();
    let (a, b) = (set(a), set(b));
    a.intersection(&b).count() as f64 / a.union(&b).count() as f64
}

/// Runs a trace over the latents of each pass, most active first. `[k][l][i]`
fn traced(masked: &[&[bool]], latents: &[Vec<Vec<Vec<i64>>>]) -> PromptSums {
    let (n_layers, n_positions) = (latents[0].len(), masked[0].len());
    let mut trace = PromptTrace::new(n_layers, masked.len(), n_positions);
    for (k, is_masked) in masked.iter().enumerate() {
        trace.pass(is_masked, |l, i| {
            let (now, before) = (&latents[k][l][i], &latents[k - 1][l][i]);
            Transition {
                jaccard: jaccard(now, before),
                same_top1: now.first() == before.first(),
            }
        });
    }
    trace.finish()
}

fn sums(layers: &[u32], n_steps: usize, units: Vec<PromptSums>) -> DynamicsSums {
    let n_positions = units[0].by_position.n_pre.len();
    DynamicsSums {
        units,
        ..DynamicsSums::new(layers.to_vec(), n_steps, n_positions)
    }
}

fn value(sums: &DynamicsSums, metric: Metric, view: View, cut: Cut) -> (Option<f64>, u64) {
    let got = sums.estimates(&[(metric, view, cut)], BOOTSTRAP).unwrap()[0];
    (got.value, got.n.unwrap())
}

const fn step(k: usize) -> Cut {
    Cut::Steps {
        first: k,
        end: k + 1,
    }
}

/// Three passes (K = 3) over three positions, one layer, the two most active latents of each, the
/// most active first. Pass 0 fills position 0, pass 1 fills position 1, pass 2 fills position 2:
///
/// ```text
///            position 0        position 1        position 2
/// k = 0      mask  {1, 2}      mask  {1, 2}      mask  {1, 2}
/// k = 1      text  {3, 4}      mask  {2, 3}      mask  {1, 2}
/// k = 2      text  {4, 5}      text  {7, 8}      mask  {2, 5}
/// ```
/// M_0 = {0, 1, 2}, M_1 = {1, 2}, M_2 = {2}; D_0 = {}, D_1 = {0}, D_2 = {0, 1}; d_0 = 1, d_1 = 2,
/// d_2 does not exist.
///
/// Eq. 20, k = 1: positions M_1 ∩ M_0 = {1, 2}: J({2,3},{1,2}) = 1/3 and J({1,2},{1,2}) = 1, mean
/// 2/3. k = 2: position M_2 ∩ M_1 = {2}: J({2,5},{1,2}) = 1/3. Eq. 21: D_post(0) = 1/(3-1-1) · [1 -
/// J({4,5},{3,4})] = 1 - 1/3 = 2/3. D_post(1) has 3-1-2 = 0 terms and does not exist. Eq. 23, k =
/// 1: position 1 goes from 1 to 2, position 2 keeps 1: 1/2. k = 2: position 2 goes from 1 to 2: 0.
/// Eq. 24, k = 1: D_0 ∩ D_1 = {}: 0. k = 2: D_1 ∩ D_2 = {0} goes from 3 to 4: 1.
#[test]
fn three_steps_computed_on_paper() {
    let (m, t) = (true, false);
    let masked: [&[bool]; 3] = [&[m, m, m], &[t, m, m], &[t, t, m]];
    let latents = [
        vec![vec![vec![1, 2], vec![1, 2], vec![1, 2]]],
        vec![vec![vec![3, 4], vec![2, 3], vec![1, 2]]],
        vec![vec![vec![4, 5], vec![7, 8], vec![2, 5]]],
    ];
    let sums = sums(&[5], 3, vec![traced(&masked, &latents)]);
    let at = |metric, k| value(&sums, metric, View::Layer(0), step(k));
    let third = 1.0 / 3.0;
    assert_eq!(at(Metric::JaccardPre, 1), (Some((third + 1.0) / 2.0), 2));
    assert_eq!(at(Metric::JaccardPre, 2), (Some(third), 1));
    assert_eq!(at(Metric::LockRate, 1), (Some(0.5), 2));
    assert_eq!(at(Metric::LockRate, 2), (Some(0.0), 1));
    assert_eq!(at(Metric::DriftPost, 1), (None, 0));
    assert_eq!(at(Metric::DriftPost, 2), (Some(1.0 - third), 1));
    assert_eq!(at(Metric::FlipCount, 1), (Some(0.0), 1));
    assert_eq!(at(Metric::FlipCount, 2), (Some(1.0), 1));
    // Nothing comes before the first pass.
    assert_eq!(at(Metric::JaccardPre, 0), (None, 0));
    assert_eq!(at(Metric::FlipCount, 0), (None, 1));

    let of = |i| value(&sums, Metric::DriftPost, View::Layer(0), Cut::Position(i));
    assert_eq!(of(0), (Some(1.0 - third), 1));
    assert_eq!((of(1), of(2)), ((None, 0), (None, 0)));
    let run = |metric| value(&sums, metric, View::AllLayers, Cut::Run).0;
    assert_eq!(run(Metric::DriftPost), Some(1.0 - third));
    assert_eq!(run(Metric::JaccardPre), Some((third + 1.0 + third) / 3.0));
    assert_eq!(run(Metric::FlipCount), Some(0.5));
}

/// Eq. 21 is a mean of means: a position decoded early and one decoded late weigh the same, however
/// many passes follow.
#[test]
fn drift_of_a_run_is_the_mean_over_positions() {
    let (m, t) = (true, false);
    // Position 0 is decoded from k = 1 on: transitions 2, 3, 4 drift 1, 0, 0. Position 1 from k = 3
    // on: transition 4 drifts 1.
    let masked: [&[bool]; 5] = [&[m, m], &[t, m], &[t, m], &[t, t], &[t, t]];
    let latents: Vec<_> = [(0, 0), (1, 0), (2, 0), (2, 4), (2, 5)]
        .map(|(a, b)| vec![vec![vec![a], vec![b]]])
        .to_vec();
    let sums = sums(&[0], 5, vec![traced(&masked, &latents)]);
    let run = value(&sums, Metric::DriftPost, View::AllLayers, Cut::Run);
    assert_eq!(run, (Some((1.0 / 3.0 + 1.0) / 2.0), 2));
    let pooled = Cut::Steps { first: 0, end: 5 };
    let pooled = value(&sums, Metric::DriftPost, View::AllLayers, pooled);
    assert_eq!(pooled, (Some(2.0 / 4.0), 4));
}

/// A prompt whose sums are `jaccard` at the one transition of the one position of each layer.
fn constant(jaccard: &[f64]) -> PromptSums {
    let mut trace = PromptTrace::new(jaccard.len(), 2, 1);
    for _ in 0..2 {
        trace.pass(&[true], |l, _| Transition {
            jaccard: jaccard[l],
            same_top1: true,
        });
    }
    trace.finish()
}

#[test]
fn layers_average_and_errors_are_over_prompts() {
    let all = sums(
        &[1, 5],
        2,
        [0.0, 0.2, 0.4, 0.6]
            .map(|x| constant(&[x, x + 0.4]))
            .to_vec(),
    );
    let mean = |view| {
        all.estimates(&[(Metric::JaccardPre, view, step(1))], BOOTSTRAP)
            .unwrap()[0]
    };
    let (one, both) = (mean(View::Layer(0)), mean(View::AllLayers));
    assert!((one.value.unwrap() - 0.3).abs() < 1e-12);
    assert!((both.value.unwrap() - 0.5).abs() < 1e-12);
    assert_eq!((one.n, both.n), (Some(4), Some(4)));
    // The population deviation of 0, 0.2, 0.4, 0.6 is √0.05; its mean over four has half of that.
    // 500 resamples: within a tenth.
    let want = 0.05_f64.sqrt() / 2.0;
    assert!((both.std_err.unwrap() - want).abs() < 0.1 * want);
    assert_eq!(one.std_err.is_some(), both.std_err.is_some());
}

#[test]
fn units_are_bounded_and_keep_their_sums() {
    let mut all = DynamicsSums::new(vec![3], 2, 1);
    for chunk in (0..10).collect::<Vec<_>>().chunks(3) {
        let units = chunk.iter().map(|i| constant(&[f64::from(*i)])).collect();
        all.merge(sums(&[3], 2, units), 4).unwrap();
    }
    assert_eq!((all.units.len(), all.n_prompts()), (4, 10));
    let got = value(&all, Metric::JaccardPre, View::Layer(0), step(1));
    assert_eq!(got, (Some(4.5), 10));
    // Prompt 4 joins unit 0, prompt 5 unit 1, …
    let n: Vec<u64> = all.units.iter().map(|unit| unit.n_prompts).collect();
    assert_eq!(n, [3, 3, 2, 2]);
}

#[test]
fn sums_that_do_not_fit_are_refused() {
    let mut all = DynamicsSums::new(vec![3], 2, 1);
    let other = sums(&[4], 2, vec![constant(&[0.5])]);
    assert!(matches!(
        all.merge(other, 4),
        Err(DynamicsError::Shape { .. })
    ));
    let mut ragged = sums(&[3], 2, vec![constant(&[0.5])]);
    ragged.units[0].by_step.locked.pop();
    assert!(matches!(
        all.merge(ragged, 4),
        Err(DynamicsError::Ragged { unit: 0, .. })
    ));
}

proptest! {
    /// The streamed sums equal the equations written out over whole histories.
    #[test]
    fn equals_the_equations_on_whole_histories(
        latents in prop::collection::vec(prop::collection::vec(prop::collection::vec(0i64..6, 3), 4), 6),
        decoded in prop::collection::vec(1usize..8, 4),
    ) {
        // latents: [k][i][slot] of one layer; decoded[i] = d_i, beyond the last pass for positions
        // never seen decoded.
        let (n_steps, n_positions) = (latents.len(), decoded.len());
        let masked: Vec<Vec<bool>> = (0..n_steps).map(|k| decoded.iter().map(|d| k < *d).collect()).collect();
        let masked: Vec<&[bool]> = masked.iter().map(Vec::as_slice).collect();
        let by_layer: Vec<_> = latents.iter().map(|sets| vec![sets.clone()]).collect();
        let sums = sums(&[0], n_steps, vec![traced(&masked, &by_layer)]);
        let overlap = |k: usize, i: usize| jaccard(&latents[k][i], &latents[k - 1][i]);
        for k in 1..n_steps {
            let pre: Vec<usize> = (0..n_positions).filter(|i| k < decoded[*i]).collect();
            let post: Vec<usize> = (0..n_positions).filter(|i| k > decoded[*i]).collect();
            let mean = |positions: &[usize], of: &dyn Fn(usize) -> f64| {
                (!positions.is_empty()).then(|| positions.iter().map(|i| of(*i)).sum::<f64>() / positions.len() as f64)
            };
            let same = |i: usize| latents[k][i][0] == latents[k - 1][i][0];
            let got = |metric| value(&sums, metric, View::Layer(0), step(k)).0;
            let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-12,
                (a, b) => a == b,
            };
            prop_assert!(close(got(Metric::JaccardPre), mean(&pre, &|i| overlap(k, i))));
            prop_assert!(close(got(Metric::LockRate), mean(&pre, &|i| f64::from(u8::from(same(i))))));
            prop_assert!(close(got(Metric::DriftPost), mean(&post, &|i| 1.0 - overlap(k, i))));
            let flips = post.iter().filter(|i| !same(**i)).count() as f64;
            prop_assert!(close(got(Metric::FlipCount), Some(flips)));
        }
        for (i, d) in decoded.iter().enumerate() {
            let terms: Vec<f64> = (d + 1..n_steps).map(|k| 1.0 - overlap(k, i)).collect();
            let want = (!terms.is_empty()).then(|| terms.iter().sum::<f64>() / terms.len() as f64);
            let got = value(&sums, Metric::DriftPost, View::Layer(0), Cut::Position(i)).0;
            prop_assert_eq!(got.is_some(), want.is_some());
            prop_assert!((got.unwrap_or(0.0) - want.unwrap_or(0.0)).abs() < 1e-12);
        }
    }
}
