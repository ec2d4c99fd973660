//! The tracker against keeping everything.

use proptest::prelude::*;

use super::{
    LatentTracker, Origin, Places, Split, WindowRules,
    reference::{self, ActRow},
};

fn tracked(latent: u32, seed: u64, rules: WindowRules, rows: &[ActRow]) -> LatentTracker {
    let places = Places::new(rows.iter().map(|row| row.len), rules.buffer);
    let mut tracker = LatentTracker::new(latent, seed, rules, &places);
    for (row, ActRow { len, acts }) in (0..).zip(rows) {
        // Rows without activations may be left out.
        if !acts.is_empty() {
            tracker.push_row(row, *len, acts);
        }
    }
    tracker
}

/// Rows of up to 40 tokens of which `share` are active, with as many different activations as `levels`: few levels mean many ties.
fn rows(n: usize, share: f64, levels: u32) -> impl Strategy<Value = Vec<ActRow>> {
    let act = move || (1..=levels).prop_map(|level| level as f32 / 4.0);
    let token = move || prop::option::weighted(share, act());
    let row = prop::collection::vec(token(), 0..40).prop_map(|tokens| ActRow {
        len: tokens.len(),
        acts: (0..)
            .zip(tokens)
            .filter_map(|(position, act)| Some((position, act?)))
            .collect(),
    });
    prop::collection::vec(row, 0..n)
}

fn rules() -> impl Strategy<Value = WindowRules> {
    let numbers = (0u32..5, 0u32..5, 0u32..5, 0u32..4, 0.0..2.0f64);
    numbers.prop_map(
        |(buffer, n_top, n_weighted, n_random, weight_power)| WindowRules {
            buffer,
            n_top,
            n_top_shown: n_top / 2,
            n_weighted,
            n_weighted_shown: n_weighted / 2,
            n_random,
            act_threshold: 0.01,
            weight_power,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn one_pass_finds_what_keeping_everything_finds(
        rows in (0.02..0.9f64, 1u32..30).prop_flat_map(|(share, levels)| rows(40, share, levels)),
        rules in rules(),
        seed: u64,
        latent in 0u32..9,
    ) {
        let tracker = tracked(latent, seed, rules, &rows);
        let want = reference::windows(latent, seed, &rules, &rows);
        prop_assert_eq!(tracker.has_windows(), want.is_some());
        prop_assert_eq!(tracker.windows(), want);
        let acts = || rows.iter().flat_map(|row| row.acts.iter().map(|(_, act)| *act));
        prop_assert_eq!(tracker.n_active(), acts().count() as u64);
        prop_assert_eq!(tracker.max_act(), acts().fold(0.0, f32::max));
        let bins = tracker.histogram().bins();
        prop_assert_eq!(bins.iter().map(|(_, n)| n).sum::<u64>(), tracker.n_active());
        for (i, (edge, count)) in bins.iter().enumerate() {
            let end = bins.get(i + 1).map_or(f32::INFINITY, |(next, _)| *next);
            prop_assert_eq!(acts().filter(|act| (*edge..end).contains(act)).count() as u64, *count);
        }
    }
}

/// Rows of 64 tokens with the same activation everywhere, or one that grows.
fn dense(n: usize, act: impl Fn(usize) -> f32) -> Vec<ActRow> {
    let row = |r: usize| ActRow {
        len: 64,
        acts: (0..64).map(|p| (p, act(64 * r + p as usize))).collect(),
    };
    (0..n).map(row).collect()
}

#[test]
fn what_is_held_does_not_grow_with_the_text() {
    let rules = WindowRules::default();
    // All equal, so that nothing is below the peaks for as long as the text lasts; ever larger; ever smaller.
    let texts = [
        dense(400, |_| 1.0),
        dense(400, |i| 1.0 + i as f32),
        dense(400, |i| 1e6 - i as f32),
    ];
    let most = 2 * (12 * 21 + 7) + 7;
    for rows in texts {
        let tracker = tracked(3, 5, rules, &rows);
        assert!(tracker.n_held() <= most, "{}", tracker.n_held());
        assert_eq!(tracker.windows(), reference::windows(3, 5, &rules, &rows));
    }
    // Equal ones after which larger ones come were all candidates, and are drawn from evenly.
    let late = dense(400, |i| if i < 64 * 380 { 1.0 } else { 2.0 });
    let split = tracked(3, 5, rules, &late).windows().unwrap();
    assert_eq!(Some(split), reference::windows(3, 5, &rules, &late));
}

fn origins(split: &Split) -> [Vec<Origin>; 2] {
    let of = |windows: &[super::ActWindow]| {
        let mut origins: Vec<Origin> = windows.iter().map(|w| w.origin).collect();
        origins.sort_unstable();
        origins
    };
    [of(&split.shown), of(&split.scored)]
}

#[test]
fn windows_are_split_as_the_rules_say() {
    use Origin::{Random, Top, Weighted};
    let rules = WindowRules::default();
    let rows = dense(40, |i| ((i * 7919) % 1009 + 1) as f32);
    let split = tracked(0, 1, rules, &rows).windows().unwrap();
    let want = [
        [vec![Top; 10], vec![Weighted; 5]].concat(),
        [vec![Top; 2], vec![Weighted; 2], vec![Random; 10]].concat(),
    ];
    assert_eq!(origins(&split), want);
    let strengths: Vec<f32> = split.shown.iter().map(super::ActWindow::max_act).collect();
    assert!(strengths.is_sorted_by(|a, b| a >= b));
    assert_eq!(split.threshold, 10.09);
    // Another seed draws other windows, and the same the same.
    assert_eq!(tracked(0, 1, rules, &rows).windows(), Some(split.clone()));
    assert_ne!(tracked(0, 2, rules, &rows).windows(), Some(split));
}

#[test]
fn windows_are_drawn_in_proportion_to_activation() {
    let rules = WindowRules {
        buffer: 0,
        n_top: 1,
        n_top_shown: 1,
        n_weighted: 1,
        n_weighted_shown: 0,
        n_random: 0,
        ..WindowRules::default()
    };
    // Below the peak of 9 lie 1, 2 and 5.
    let rows = [ActRow {
        len: 4,
        acts: vec![(0, 2.0), (1, 9.0), (2, 1.0), (3, 5.0)],
    }];
    let n = 4000;
    let mut drawn = [0.0; 4];
    for latent in 0..n {
        let split = tracked(latent, 8, rules, &rows).windows().unwrap();
        drawn[split.scored[0].position as usize] += 1.0 / f64::from(n);
    }
    // Five standard deviations of a share of 4000 draws are below 0.04.
    for (got, want) in drawn.into_iter().zip([0.25, 0.0, 0.125, 0.625]) {
        assert!((got - want).abs() < 0.04, "{drawn:?}");
    }
}
