use std::collections::BTreeMap;

use crate::paper::printed_rows;

const TRAINING: &str = include_str!("../../../../results/paper/official_repo_sae_training.csv");

/// Explained variance at the end of the authors' training by SAE set and layer, in the paper's
/// names: of the smallest and of the largest k. The values are of training batches: the paper's
/// figures print no numbers.
pub fn paper_ev() -> BTreeMap<(String, u32), (f64, f64)> {
    let row = |get: &dyn Fn(&str) -> String| {
        let ev = get("train_batch_explained_variance").parse::<f64>().ok()?;
        let k = get("k").parse::<u32>().ok()?;
        Some(((get("sae"), get("layer").parse().ok()?), (k, ev)))
    };
    let mut sweeps: BTreeMap<(String, u32), Vec<(u32, f64)>> = BTreeMap::new();
    for (key, point) in printed_rows(TRAINING, row) {
        sweeps.entry(key).or_default().push(point);
    }
    sweeps
        .into_iter()
        .filter_map(|(key, mut sweep)| {
            sweep.sort_by_key(|(k, _)| *k);
            Some((key, (sweep.first()?.1, sweep.last()?.1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_ev_is_there_for_every_set() {
        let ev = paper_ev();
        assert_eq!(ev.len(), 36);
        assert_eq!(ev[&("Dream-Mask".to_owned(), 1)].0, 0.907932);
        assert!(
            ev.values()
                .all(|(small, large)| 0.0 < *small && *large <= 1.0)
        );
    }
}
