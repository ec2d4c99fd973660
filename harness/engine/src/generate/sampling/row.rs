//! One row on the CPU, without sorting the vocabulary.
//!
//! The nucleus is found from a histogram of the probabilities' leading bits: only the tokens of the
//! bucket in which the cumulative probability passes `top_p` are put in order.

use super::{Needed, Sampling, SamplingRule};

/// Leading bits of a probability that name its bucket: the exponent and four bits of the fraction.
const BUCKET_SHIFT: u32 = 19;
/// Bucket of 1.0, the largest probability, and one more for rounding above it.
const BUCKETS: usize = (0x3F80_0000 >> BUCKET_SHIFT) as usize + 2;

/// What is known of a row, each `[v]`.
pub(super) struct Row<'a> {
    /// Logits, for the largest of them; `None` where the token is drawn.
    pub(super) logits: Option<&'a [f32]>,
    /// Probabilities that are drawn from.
    pub(super) drawn: Option<&'a [f32]>,
    /// Probabilities that statistics are read from, where they are not the same.
    pub(super) read: Option<&'a [f32]>,
    /// In [0, 1).
    pub(super) draw: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen {
    pub(super) token: usize,
    pub(super) confidence: f64,
    pub(super) margin: f64,
    pub(super) neg_entropy: f64,
    pub(super) is_finite: bool,
}

/// Memory that rows share.
pub(super) struct Scratch {
    mass: Vec<f64>,
    candidates: Vec<(f32, u32)>,
    values: Vec<f32>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            mass: vec![0.0; BUCKETS],
            candidates: Vec::new(),
            values: Vec::new(),
        }
    }
}

/// The tokens that filters keep: those above `floor`, and of those equal to it the ones up to id
/// `last`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Kept {
    floor: f32,
    last: u32,
}

impl Kept {
    const ALL: Self = Self {
        floor: -1.0,
        last: u32::MAX,
    };

    fn has(self, p: f32, id: usize) -> bool {
        p > self.floor || (p == self.floor && id as u32 <= self.last)
    }

    /// Probability of all tokens kept.
    fn mass(self, p: &[f32]) -> f64 {
        p.iter()
            .enumerate()
            .map(|(id, p)| if self.has(*p, id) { f64::from(*p) } else { 0.0 })
            .sum()
    }
}

pub(super) fn choose(
    row: &Row<'_>,
    sampling: &Sampling,
    needed: Needed,
    scratch: &mut Scratch,
) -> Chosen {
    let (kept, mass) = match row.drawn {
        Some(p) => {
            let kept = kept(p, sampling, scratch);
            (kept, kept.mass(p))
        }
        None => (Kept::ALL, 1.0),
    };
    let (token, mut is_finite) = match (row.logits, row.drawn) {
        (Some(logits), _) => largest(logits),
        (None, Some(p)) => (draw(p, kept, row.draw * mass), true),
        (None, None) => (0, false),
    };
    is_finite &= mass.is_finite() && mass > 0.0;
    let (p, kept, mass) = match (row.read, row.drawn) {
        (Some(p), _) => (p, Kept::ALL, Kept::ALL.mass(p)),
        (None, Some(p)) => (p, kept, mass),
        (None, None) => {
            return Chosen {
                token,
                confidence: 0.0,
                margin: 0.0,
                neg_entropy: 0.0,
                is_finite,
            };
        }
    };
    Chosen {
        token,
        confidence: if needed.confidence && kept.has(p[token], token) {
            f64::from(p[token]) / mass
        } else {
            0.0
        },
        margin: if needed.margin {
            margin(p, kept) / mass
        } else {
            0.0
        },
        neg_entropy: if needed.neg_entropy {
            neg_entropy(p, kept, mass)
        } else {
            0.0
        },
        is_finite: is_finite && mass.is_finite(),
    }
}

/// The lowest id of the largest logit, and whether that is a number.
fn largest(logits: &[f32]) -> (usize, bool) {
    let mut best = (0, logits[0]);
    let mut has_nan = best.1.is_nan();
    for (id, &logit) in logits.iter().enumerate() {
        has_nan |= logit.is_nan();
        if logit > best.1 {
            best = (id, logit);
        }
    }
    (best.0, !has_nan && best.1.is_finite())
}

/// The first token whose cumulative probability passes `target`; the last one with any where
/// rounding leaves none.
fn draw(p: &[f32], kept: Kept, target: f64) -> usize {
    let (mut cumulative, mut last) = (0.0, 0);
    for (id, &p) in p.iter().enumerate() {
        if p > 0.0 && kept.has(p, id) {
            cumulative += f64::from(p);
            last = id;
            if cumulative > target {
                break;
            }
        }
    }
    last
}

/// Largest minus second largest.
fn margin(p: &[f32], kept: Kept) -> f64 {
    let (mut first, mut second) = (0.0f32, 0.0f32);
    for (id, &p) in p.iter().enumerate() {
        if p > second && kept.has(p, id) {
            second = if p > first {
                std::mem::replace(&mut first, p)
            } else {
                p
            };
        }
    }
    f64::from(first) - f64::from(second)
}

fn neg_entropy(p: &[f32], kept: Kept, mass: f64) -> f64 {
    let mut sum = 0.0;
    for (id, &p) in p.iter().enumerate() {
        // A removed token, and one of probability 0, adds 0 · ln(1e-10).
        if p > 0.0 && kept.has(p, id) {
            let q = f64::from(p) / mass;
            sum += q * f64::from((q as f32 + 1e-10).ln());
        }
    }
    sum
}

fn kept(p: &[f32], sampling: &Sampling, scratch: &mut Scratch) -> Kept {
    let (top_p, top_k) = (sampling.nucleus(), sampling.k().filter(|k| *k < p.len()));
    if sampling.rule == SamplingRule::TopKFirst {
        let kept = top_k.map_or(Kept::ALL, |k| Kept {
            floor: kth_largest(p, k, scratch),
            last: u32::MAX,
        });
        return match top_p {
            // The nucleus is one of the tokens that are left, scaled to a distribution.
            Some(top_p) => nucleus(p, kept, top_p * kept.mass(p), scratch),
            None => kept,
        };
    }
    let kept = top_p.map_or(Kept::ALL, |top_p| nucleus(p, Kept::ALL, top_p, scratch));
    let Some(k) = top_k else { return kept };
    let floor = kth_largest(p, k, scratch);
    if floor > kept.floor {
        Kept {
            floor,
            last: u32::MAX,
        }
    } else {
        kept
    }
}

fn kth_largest(p: &[f32], k: usize, scratch: &mut Scratch) -> f32 {
    scratch.values.clear();
    scratch.values.extend_from_slice(p);
    *scratch
        .values
        .select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a))
        .1
}

/// Tokens of `among` in descending order (the lower id first of equals) while those before them
/// have at most `limit`.
fn nucleus(p: &[f32], among: Kept, limit: f64, scratch: &mut Scratch) -> Kept {
    let bucket = |p: f32| ((p.to_bits() >> BUCKET_SHIFT) as usize).min(BUCKETS - 1);
    scratch.mass.fill(0.0);
    for (id, &p) in p.iter().enumerate() {
        if among.has(p, id) {
            scratch.mass[bucket(p)] += f64::from(p);
        }
    }
    let mut before = 0.0;
    let Some(crossing) = (0..BUCKETS).rev().find(|&b| {
        let passes = before + scratch.mass[b] > limit;
        if !passes {
            before += scratch.mass[b];
        }
        passes
    }) else {
        return among;
    };
    scratch.candidates.clear();
    let members = p
        .iter()
        .enumerate()
        .filter(|(id, p)| bucket(**p) == crossing && among.has(**p, *id));
    scratch
        .candidates
        .extend(members.map(|(id, p)| (*p, id as u32)));
    scratch
        .candidates
        .sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut kept = among;
    for &(p, id) in &scratch.candidates {
        if before > limit {
            break;
        }
        kept = Kept { floor: p, last: id };
        before += f64::from(p);
    }
    kept
}
