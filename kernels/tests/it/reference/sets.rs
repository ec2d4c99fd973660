//! The references of the operations on sets of latents, which the unit tests of the CUDA kernels
//! include as well.

use std::{cmp::Ordering, collections::BTreeSet};

/// Active latents of one row: `(act, latent)`, largest first, ties to the lower latent, NaN largest
/// and active.
pub fn topk_row(relu: &[f32], k: usize) -> Vec<(f32, i64)> {
    let mut order: Vec<usize> = (0..relu.len()).collect();
    order.sort_by(|&a, &b| match (relu[a].is_nan(), relu[b].is_nan()) {
        (true, true) => a.cmp(&b),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => relu[b].total_cmp(&relu[a]).then(a.cmp(&b)),
    });
    order
        .into_iter()
        .take(k)
        .filter(|&i| relu[i].is_nan() || relu[i] > 0.0)
        .map(|i| (relu[i], i as i64))
        .collect()
}

/// `|A ∩ B| / |A ∪ B|` of two lists of latents; negative ones are unused, two empty sets are equal.
pub fn jaccard_row(a: &[i64], b: &[i64]) -> f64 {
    let set = |s: &[i64]| {
        s.iter()
            .copied()
            .filter(|&l| l >= 0)
            .collect::<BTreeSet<i64>>()
    };
    let (a, b) = (set(a), set(b));
    match a.union(&b).count() {
        0 => 1.0,
        union => a.intersection(&b).count() as f64 / union as f64,
    }
}
