//! The tracker against keeping everything.

use proptest::prelude::*;

use super::{
    Activity, Codes, LatentTracker, Origin, Places, Split, WindowRules,
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

/// Rows of up to 40 tokens of which `share` are active, with as many different activations as
/// `levels`: few levels mean many ties.
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

/// Codes of rows of up to 12 positions of which most count: for each, up to 3 of 6 latents with
/// their activations, descending.
type CodedRow = Vec<(bool, Vec<(usize, u32)>)>;

fn coded_rows() -> impl Strategy<Value = Vec<CodedRow>> {
    let latents = prop::sample::subsequence((0..6).collect::<Vec<usize>>(), 0..=3).prop_shuffle();
    let codes = (latents, prop::collection::vec(1u32..9, 3)).prop_map(|(latents, mut acts)| {
        acts.sort_unstable_by(|a, b| b.cmp(a));
        latents.into_iter().zip(acts).collect()
    });
    prop::collection::vec(
        prop::collection::vec((prop::bool::weighted(0.8), codes), 0..12),
        0..20,
    )
}

proptest! {
    #[test]
    fn each_latent_is_tracked_as_if_alone(
        rows in coded_rows(),
        followed in prop::sample::subsequence(vec![0u32, 1, 2, 3, 4, 5], 0..=6).prop_shuffle(),
        seed: u64,
    ) {
        let rules = WindowRules { buffer: 1, n_top: 2, n_top_shown: 1, n_weighted: 1, n_weighted_shown: 0, ..WindowRules::default() };
        let places = Places::new(rows.iter().map(Vec::len), rules.buffer);
        let mut activity = Activity::new(6, &followed, rules, seed, &places, Some(2));
        for (row, positions) in (0..).zip(&rows) {
            let (mut acts, mut latents) = (vec![0.0; 3 * positions.len()], vec![-1; 3 * positions.len()]);
            for (at, (_, codes)) in positions.iter().enumerate() {
                for (slot, (latent, act)) in codes.iter().enumerate() {
                    (acts[3 * at + slot], latents[3 * at + slot]) = (*act as f32, *latent as i64);
                }
            }
            let counts: Vec<bool> = positions.iter().map(|(counts, _)| *counts).collect();
            let codes = Codes { w: 3, acts: &acts, latents: &latents };
            // Every third document has label 1.
            let labels: &[u32] = if row % 3 == 0 { &[1] } else { &[] };
            activity.push_row(row, &counts, codes, labels).unwrap();
        }
        let alone: Vec<Vec<ActRow>> = (0..6)
            .map(|latent| {
                let of = |positions: &CodedRow| ActRow {
                    len: positions.len(),
                    acts: (0..)
                        .zip(positions)
                        .filter(|(_, (counts, _))| *counts)
                        .filter_map(|(at, (_, codes))| {
                            let (_, act) = codes.iter().find(|(own, _)| *own == latent)?;
                            Some((at, *act as f32))
                        })
                        .collect(),
                };
                rows.iter().map(of).collect()
            })
            .collect();
        let n_tokens = rows.iter().flatten().filter(|(counts, _)| *counts).count();
        prop_assert_eq!(activity.n_tokens(), n_tokens as u64);
        for (latent, rows) in (0..6).zip(&alone) {
            let n: usize = rows.iter().map(|row| row.acts.len()).sum();
            prop_assert_eq!(activity.n_active()[latent as usize], n as u64);
            match activity.tracker(latent) {
                None => prop_assert!(!followed.contains(&latent)),
                Some(tracker) => {
                    prop_assert_eq!(tracker.latent(), latent);
                    let want = reference::windows(latent, seed, &rules, rows);
                    prop_assert_eq!(tracker.windows(), want);
                }
            }
        }
        let labels = activity.labels().unwrap();
        prop_assert_eq!(&labels.labelled, &vec![0, rows.len().div_ceil(3) as u64]);
        for (slot, tracker) in activity.trackers().iter().enumerate() {
            let fires: Vec<bool> = (alone[tracker.latent() as usize].iter())
                .map(|row| !row.acts.is_empty())
                .collect();
            let both = fires.iter().step_by(3).filter(|fires| **fires).count();
            prop_assert_eq!(labels.fired[slot], fires.iter().filter(|fires| **fires).count() as u64);
            prop_assert_eq!((labels.both[0][slot], labels.both[1][slot]), (0, both as u64));
        }
    }
}

#[test]
fn codes_that_cannot_be_are_refused() {
    let places = Places::new([1], 0);
    for (act, latent) in [(1.0, 4), (1.0, -1), (f32::INFINITY, 2), (f32::NAN, 2)] {
        let mut activity = Activity::new(4, &[2], WindowRules::default(), 0, &places, None);
        let codes = Codes {
            w: 1,
            acts: &[act],
            latents: &[latent],
        };
        let error = activity
            .push_row(9, &[true], codes, &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("latent {latent} at position 0 of row 9")),
            "{error}"
        );
        assert!(activity.push_row(9, &[false], codes, &[]).is_ok());
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
    // All equal, so that nothing is below the peaks for as long as the text lasts; ever larger;
    // ever smaller.
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
