//! Notes under the printed tables of several benches.

use std::collections::BTreeMap;

use harness_contract::outputs::Outcome;

/// What masks in the text that latents are looked up in mean.
pub const MASKS_NOTE: &str = "Latents of masked-diffusion models were looked up in text with masks (--mask-rate); autoregressive ones read it as it is.";

/// Questions without a usable answer in words, and what becomes of them; `None` where there are
/// none.
pub fn told_counts(counts: &BTreeMap<String, u64>) -> Option<String> {
    let n: u64 = counts.values().sum();
    let kinds: Vec<String> = (counts.iter())
        .map(|(kind, n)| format!("{n} {}", kind.replace('_', " ")))
        .collect();
    let is_open = |kind: &String| Outcome::of_name(kind).is_some_and(Outcome::is_open);
    let n_open: u64 = (counts.iter())
        .filter_map(|(kind, n)| is_open(kind).then_some(n))
        .sum();
    let again = match n_open {
        0 => String::new(),
        n_open => format!("; the same command asks {n_open} of them again"),
    };
    (n > 0).then(|| {
        format!(
            "{n} questions to the judge have no usable answer ({}){again}.",
            kinds.join(", ")
        )
    })
}
