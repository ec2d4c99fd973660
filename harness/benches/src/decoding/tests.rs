//! Values of the decoding-order bench's features, from hand-made outputs.

use harness_core::{
    dynamics::{DynamicsSums, Metric, PromptSums, PromptTrace, Transition},
    record::Status,
};

use super::DecodingWork;
use super::*;
use crate::test_world::World;
use harness_contract::{
    outputs::{Answer, DecodingOutput},
    protocol::{Failure, FailureKind},
};
use harness_store::{Access, Provenance, Store};

/// Layers 2 and 5, orders a = origin and b = entropy, four questions in two parts, four steps,
/// three positions.
pub(super) const SMALL: [(&str, &str, &str); 8] = [
    ("--layers", "layers", "2,5"),
    ("--orders", "orders", "origin,entropy"),
    ("--n-questions", "n_questions", "4"),
    ("--set", "shard_questions", "2"),
    ("--dlm-steps", "dlm_steps", "4"),
    ("--max-new-tokens", "max_new_tokens", "3"),
    ("--set", "bins", "2"),
    ("--by-position", "by_position", "true"),
];
/// Questions of the two parts, by their number in the data.
const QUESTIONS: [[u64; 2]; 2] = [[7, 2], [9, 4]];

pub(super) fn plan(bench: &str) -> Plan {
    World::made_up().options(&SMALL).plan(bench).unwrap()
}

pub(super) fn work(plan: &Plan) -> &DecodingWork {
    plan.rows[0].work::<DecodingWork>().unwrap()
}

pub(super) fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Access::Write).unwrap();
    (dir, store)
}

/// One prompt; each pass fills the next position, so that pass k reads k decoded ones (m a mask, t
/// a token):
///
/// ```text
///          position 0  position 1  position 2
/// k = 0    m           m           m
/// k = 1    t           m           m            transitions before decoding: 1, 2
/// k = 2    t           t           m            before: 2; after: 0
/// k = 3    t           t           t            after: 0, 1
/// ```
/// `of(layer, k, position)` is the Jaccard index of a transition and whether the most active latent
/// stayed.
fn prompt(of: impl Fn(usize, usize, usize) -> (f64, bool)) -> PromptSums {
    let mut trace = PromptTrace::new(2, 4, 3);
    for k in 0..4 {
        let is_masked: Vec<bool> = (0..3).map(|i| i >= k).collect();
        trace.pass(&is_masked, |layer, i| {
            let (jaccard, same_top1) = of(layer, k, i);
            Transition { jaccard, same_top1 }
        });
    }
    trace.finish()
}

/// Features of layer 2 change as said here, those of layer 5 are others in every pass.
fn restless() -> PromptSums {
    prompt(|layer, k, i| match (layer, k, i) {
        (1, _, _) => (0.0, false),
        (_, 1, 1) => (0.5, true),
        (_, 1, _) => (0.25, false),
        (_, 2, 0) => (0.5, false),
        (_, 2, _) => (1.0, true),
        (_, _, 0) => (0.25, false),
        (_, _, _) => (0.75, true),
    })
}

/// Nothing changes.
fn still() -> PromptSums {
    prompt(|_, _, _| (1.0, true))
}

fn sums(units: Vec<PromptSums>) -> DynamicsSums {
    DynamicsSums {
        units,
        ..DynamicsSums::new(vec![2, 5], 4, 3)
    }
}

/// What became of one question: its gold answer, and what was found strictly and flexibly.
type Told = (
    Option<&'static str>,
    Option<&'static str>,
    Option<&'static str>,
    u32,
);

/// Of origin: 7 is right; 2 is right where it is read flexibly; the gold answer of 9 cannot be
/// read; 4 has no answer.
const ORIGIN: [[Told; 2]; 2] = [
    [
        (Some("10"), Some("10"), Some("10"), 3),
        (Some("6"), None, Some("6"), 4),
    ],
    [(None, None, None, 4), (Some("5"), None, None, 2)],
];
/// Of entropy: 7 is wrong, 2 and 4 are right.
const ENTROPY: [[Told; 2]; 2] = [
    [
        (Some("10"), Some("11"), Some("11"), 4),
        (Some("6"), Some("6"), Some("6"), 4),
    ],
    [
        (None, Some("1"), Some("1"), 4),
        (Some("5"), Some("5"), Some("5"), 4),
    ],
];

fn output(part: usize, told: &[Told; 2], units: Vec<PromptSums>) -> DecodingOutput {
    let answer = |(question, (gold, strict, flexible, steps)): (&u64, &Told)| {
        let owned = |text: &Option<&str>| text.map(str::to_owned);
        Answer {
            question: *question,
            gold: owned(gold),
            text: String::new(),
            strict: owned(strict),
            flexible: owned(flexible),
            strict_correct: gold.map(|gold| *strict == Some(gold)),
            flexible_correct: gold.map(|gold| *flexible == Some(gold)),
            steps: *steps,
        }
    };
    DecodingOutput {
        dynamics: sums(units),
        answers: QUESTIONS[part].iter().zip(told).map(answer).collect(),
        n_bad_rows: 0,
    }
}

/// Part of an order: of origin, three restless prompts and a still one; of entropy, still ones.
pub(super) fn done(plan: &Plan, store: &Store, order: usize, part: usize, provenance: &Provenance) {
    let output = match order {
        0 => {
            let second = if part == 0 { still() } else { restless() };
            output(part, &ORIGIN[part], vec![restless(), second])
        }
        _ => output(part, &ENTROPY[part], vec![still(), still()]),
    };
    let key = &work(plan).orders[order].parts[part];
    let cell = plan.cell(key).unwrap();
    store.put_done(cell, &output, provenance.clone()).unwrap();
}

pub(super) fn fail(plan: &Plan, store: &Store, order: usize, part: usize) {
    let failure = Failure::new(FailureKind::OutOfMemory, "out of memory");
    let cell = plan.cell(&work(plan).orders[order].parts[part]).unwrap();
    let none = Provenance::default();
    store.put_failed(cell, failure, none).unwrap();
}

/// A store with every part of both orders.
pub(super) fn whole(plan: &Plan) -> (tempfile::TempDir, Store) {
    let (dir, store) = store();
    for (order, part) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        done(plan, &store, order, part, &Provenance::default());
    }
    (dir, store)
}

/// A row without model: order, layer, step or bin or position, metric.
type At<'a> = (&'a str, Option<u32>, Option<u32>, &'a str);

pub(super) fn row<'a>(
    rows: &'a [DynamicsRow],
    (order, layer, at, metric): At<'_>,
) -> &'a DynamicsRow {
    let is_it = |row: &&DynamicsRow| {
        (&*row.order, row.layer, row.at, row.metric.name()) == (order, layer, at, metric)
    };
    let found: Vec<&DynamicsRow> = rows.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{order} {layer:?} {at:?} {metric}");
    found[0]
}

fn value(rows: &[DynamicsRow], at: At<'_>) -> (Option<f64>, u64) {
    let row = row(rows, at);
    assert_eq!((&*row.model, row.status), ("dream-instruct", Status::Ok));
    (row.estimate.value, row.estimate.n.unwrap())
}

/// Three restless prompts and a still one, by hand. Layer 2, the restless prompts' parts times
/// three and the still one's:
///
/// ```text
/// k = 1   jaccard_pre (3 (1/2 + 1/4) + 2) / 8 = 17/32   lock_rate (3 · 1 + 2) / 8 = 5/8   nothing decoded twice
/// k = 2   jaccard_pre (3 · 1 + 1) / 4 = 1   lock_rate 4/4   drift_post 3 · 1/2 / 4 = 3/8   flip_count 3 · 1 / 4
/// k = 3   no mask left   drift_post 3 (3/4 + 1/4) / 8 = 3/8   flip_count 3 · 1 / 4
/// ```
/// In layer 5 the restless prompts have index 0 everywhere: jaccard_pre 2/8 and 1/4, drift_post 3/4
/// and 6/8, flip_count 3/4 and 6/4.
#[test]
fn values_by_layer_and_step_are_those_computed_by_hand() {
    let plan = plan("decoding-order");
    let (_dir, store) = whole(&plan);
    let steps = derive(&plan, &store).unwrap().steps;
    // Orders x layers x transitions x metrics.
    assert_eq!(steps.len(), 2 * 2 * 3 * 4);
    let at = |layer, step, metric| value(&steps, ("origin", Some(layer), Some(step), metric));
    for (step, metric, want) in [
        (1, "jaccard_pre", (Some(17.0 / 32.0), 8)),
        (1, "lock_rate", (Some(5.0 / 8.0), 8)),
        (1, "drift_post", (None, 0)),
        (1, "flip_count", (Some(0.0), 4)),
        (2, "jaccard_pre", (Some(1.0), 4)),
        (2, "lock_rate", (Some(1.0), 4)),
        (2, "drift_post", (Some(0.375), 4)),
        (2, "flip_count", (Some(0.75), 4)),
        (3, "jaccard_pre", (None, 0)),
        (3, "lock_rate", (None, 0)),
        (3, "drift_post", (Some(0.375), 8)),
        (3, "flip_count", (Some(0.75), 4)),
    ] {
        assert_eq!(at(2, step, metric), want, "layer 2 step {step} {metric}");
    }
    for (step, metric, want) in [
        (1, "jaccard_pre", (Some(0.25), 8)),
        (2, "jaccard_pre", (Some(0.25), 4)),
        (2, "drift_post", (Some(0.75), 4)),
        (3, "drift_post", (Some(0.75), 8)),
        (2, "flip_count", (Some(0.75), 4)),
        (3, "flip_count", (Some(1.5), 4)),
    ] {
        assert_eq!(at(5, step, metric), want, "layer 5 step {step} {metric}");
    }
    // Step k of K - 1 = 3.
    let progress = |step| {
        row(&steps, ("origin", Some(2), Some(step), "drift_post"))
            .progress
            .unwrap()
    };
    assert_eq!([1, 2, 3].map(progress), [1.0 / 3.0, 2.0 / 3.0, 1.0]);
    // Prompts differ under origin and not under entropy.
    let error = |order| {
        let row = row(&steps, (order, Some(2), Some(2), "flip_count"));
        row.estimate.std_err
    };
    assert!(error("origin").unwrap() > 0.0);
    assert_eq!(error("entropy"), Some(0.0));
    let entropy = value(&steps, ("entropy", Some(5), Some(2), "jaccard_pre"));
    assert_eq!(entropy, (Some(1.0), 4));
}

/// `D_post` of a restless prompt: position 0 (1/2 + 3/4) / 2 = 5/8, position 1 1/4, position 2
/// none; in layer 5 they are 1 and 1.
///
/// ```text
/// layer 2   jaccard_pre (3 (3/4 + 1) + 3) / 12 = 11/16   drift_post 3 (5/8 + 1/4) / 8 = 21/64   flips 3 · 2 / (4 · 3)
/// layer 5   jaccard_pre 3 / 12                           drift_post 3 · 2 / 8                   flips 3 · 3 / (4 · 3)
/// all       (8.25 + 3) / 24 = 15/32                      (2.625 + 6) / 16 = 69/128              15 / 24
/// ```
#[test]
fn summaries_and_positions_are_those_computed_by_hand() {
    let plan = plan("decoding-order");
    let (_dir, store) = whole(&plan);
    let tables = derive(&plan, &store).unwrap();
    assert_eq!(tables.summary.len(), 2 * 3 * 4);
    for (layer, metric, want) in [
        (Some(2), "jaccard_pre", (11.0 / 16.0, 12)),
        (Some(2), "drift_post", (21.0 / 64.0, 8)),
        (Some(2), "lock_rate", (9.0 / 12.0, 12)),
        (Some(2), "flip_count", (0.5, 4)),
        (Some(5), "jaccard_pre", (0.25, 12)),
        (Some(5), "drift_post", (0.75, 8)),
        (Some(5), "flip_count", (0.75, 4)),
        (None, "jaccard_pre", (15.0 / 32.0, 12)),
        (None, "drift_post", (69.0 / 128.0, 8)),
        (None, "lock_rate", (0.5, 12)),
        (None, "flip_count", (0.625, 4)),
    ] {
        let got = value(&tables.summary, ("origin", layer, None, metric));
        assert_eq!(got, (Some(want.0), want.1), "{layer:?} {metric}");
    }
    assert_eq!(tables.positions.len(), 2 * 2 * 3 * 4);
    for (position, metric, want) in [
        // Position 0 is a mask in the first pass alone; position 2 is never decoded twice.
        (0, "jaccard_pre", (None, 0)),
        (0, "drift_post", (Some(3.0 * 0.625 / 4.0), 4)),
        (0, "flip_count", (Some(3.0 * 2.0 / 4.0), 4)),
        (1, "jaccard_pre", (Some((3.0 * 0.5 + 1.0) / 4.0), 4)),
        (1, "drift_post", (Some(3.0 * 0.25 / 4.0), 4)),
        (1, "lock_rate", (Some(1.0), 4)),
        (2, "jaccard_pre", (Some((3.0 * 1.25 + 2.0) / 8.0), 8)),
        (2, "lock_rate", (Some((3.0 + 2.0) / 8.0), 8)),
        (2, "drift_post", (None, 0)),
        (2, "flip_count", (Some(0.0), 4)),
    ] {
        let got = value(
            &tables.positions,
            ("origin", Some(2), Some(position), metric),
        );
        assert_eq!(got, want, "position {position} {metric}");
    }
    let last = row(
        &tables.positions,
        ("origin", Some(2), Some(2), "flip_count"),
    );
    assert_eq!(last.progress, Some(1.0));
}

/// Two bins of three transitions: τ = 1/3 lies in (0, 1/2], 2/3 and 1 in (1/2, 1].
///
/// ```text
/// bin 0   jaccard_pre (4.25 + 2) / 16 = 25/64   nothing decoded twice       no flips
/// bin 1   jaccard_pre (4 + 1) / 8 = 5/8         drift (4.5 + 9) / 24 = 9/16   flips (6 + 9) / (2 · 4 · 2) = 15/16 a step
/// ```
#[test]
fn curves_are_means_over_layers_in_bins_of_the_progress() {
    let small = plan("decoding-order");
    let (_dir, store) = whole(&small);
    let curves = derive(&small, &store).unwrap().curves;
    assert_eq!(curves.len(), 2 * 2 * 4);
    for (bin, metric, want) in [
        (0, "jaccard_pre", (Some(25.0 / 64.0), 8)),
        (0, "drift_post", (None, 0)),
        (0, "flip_count", (Some(0.0), 4)),
        (1, "jaccard_pre", (Some(0.625), 4)),
        (1, "drift_post", (Some(0.5625), 12)),
        (1, "flip_count", (Some(0.9375), 4)),
    ] {
        let got = value(&curves, ("origin", None, Some(bin), metric));
        assert_eq!(got, want, "bin {bin} {metric}");
    }
    let middle = |bin| row(&curves, ("origin", None, Some(bin), "flip_count")).progress;
    assert_eq!((middle(0), middle(1)), (Some(0.25), Some(0.75)));
}

/// Bins of a run, each with its middle and the number of steps in it: flips of a prompt that flips
/// once in every step.
fn bins(dlm_steps: &'static str, bins: &'static str) -> Vec<(u32, f64)> {
    let options = [
        ("--orders", "orders", "origin"),
        ("--layers", "layers", "2"),
        ("--dlm-steps", "dlm_steps", dlm_steps),
        ("--set", "bins", bins),
    ];
    let plan = World::made_up().options(&options).plan("decoding-order");
    let plan = plan.unwrap();
    let (_dir, store) = store();
    // Nothing is run: rows are there all the same.
    let curves = derive(&plan, &store).unwrap().curves;
    let of_one = curves.iter().filter(|row| row.metric == Metric::FlipCount);
    of_one
        .map(|row| {
            assert_eq!((row.status, row.estimate.value), (Status::Missing, None));
            (row.at.unwrap(), row.progress.unwrap())
        })
        .collect()
}

#[test]
fn no_bin_is_empty_and_few_steps_have_few_bins() {
    for (steps, asked) in [("40", "60"), ("40", "39"), ("40", "7"), ("3", "60")] {
        let n: usize = asked.parse::<usize>().unwrap();
        let n = n.min(steps.parse::<usize>().unwrap() - 1);
        let want: Vec<(u32, f64)> = (0..n)
            .map(|bin| (bin as u32, (bin as f64 + 0.5) / n as f64))
            .collect();
        assert_eq!(bins(steps, asked), want, "{steps} steps, {asked} bins");
    }
    assert_eq!(bins("2", "60"), [(0, 0.5)]);
}

/// A prompt that stays masked to the end counts a transition in every step, so that `n` of the bins
/// says how many steps they hold.
#[test]
fn bins_tile_the_steps() {
    for (steps, asked) in [(2, 60), (5, 3), (12, 4), (40, 7), (40, 60)] {
        let [steps_text, bins_text] = [steps, asked].map(|n: usize| n.to_string());
        let options = [
            ("--orders", "orders", "origin"),
            ("--layers", "layers", "2"),
            ("--n-questions", "n_questions", "1"),
            ("--max-new-tokens", "max_new_tokens", "1"),
            ("--dlm-steps", "dlm_steps", &steps_text),
            ("--set", "bins", &bins_text),
        ];
        let plan = World::made_up().options(&options).plan("decoding-order");
        let plan = plan.unwrap();
        let (_dir, store) = store();
        let mut trace = PromptTrace::new(1, steps, 1);
        for k in 0..steps {
            // The index is that of the step, so that a bin's value says which steps are in it.
            trace.pass(&[true], |_, _| Transition {
                jaccard: k as f64,
                same_top1: true,
            });
        }
        let output = DecodingOutput {
            dynamics: DynamicsSums {
                units: vec![trace.finish()],
                ..DynamicsSums::new(vec![2], steps, 1)
            },
            answers: Vec::new(),
            n_bad_rows: 0,
        };
        let cell = &plan.cells[0];
        store
            .put_done(cell, &output, Provenance::default())
            .unwrap();
        let curves = derive(&plan, &store).unwrap().curves;
        let of_jaccard = curves.iter().filter(|row| row.metric == Metric::JaccardPre);
        let held: Vec<(f64, u64)> = of_jaccard
            .map(|row| (row.estimate.value.unwrap(), row.estimate.n.unwrap()))
            .collect();
        let bins = asked.min(steps - 1);
        assert_eq!(held.len(), bins, "{steps} steps, {asked} bins");
        // Bin b holds the steps with k B / (K - 1) in (b, b + 1].
        let want: Vec<(f64, u64)> = (0..bins)
            .map(|b| {
                let is_in =
                    |k: &usize| k * bins > b * (steps - 1) && k * bins <= (b + 1) * (steps - 1);
                let inside: Vec<usize> = (1..steps).filter(is_in).collect();
                let sum: usize = inside.iter().sum();
                (sum as f64 / inside.len() as f64, inside.len() as u64)
            })
            .collect();
        assert_eq!(held, want, "{steps} steps, {asked} bins");
        assert!(held.iter().all(|(_, n)| *n > 0));
        let all: u64 = held.iter().map(|(_, n)| n).sum();
        assert_eq!(all, steps as u64 - 1);
    }
}

/// A cell whose sums do not fit the bench is damage, not a table.
#[test]
fn sums_of_other_layers_are_refused() {
    let plan = plan("decoding-order");
    let (_dir, store) = store();
    let mut output = output(0, &ORIGIN[0], vec![still(), still()]);
    output.dynamics.layers = vec![2, 6];
    let cell = plan.cell(&work(&plan).orders[0].parts[0]).unwrap();
    store
        .put_done(cell, &output, Provenance::default())
        .unwrap();
    let error = derive(&plan, &store).unwrap_err().to_string();
    for part in [&*cell.key, "layers [2, 5]", "layers [2, 6]"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}
