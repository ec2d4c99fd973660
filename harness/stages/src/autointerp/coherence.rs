//! How much the texts that a latent is strongest in have in common.
//!
//! ```text
//! coherence = mean over pairs of rows of cos(u_i, u_j),   u = unit vector of idf² of the row's distinct tokens
//! ```
//! A latent of a subject is strongest in texts that share its rare words; one of grammar or
//! position is strongest in texts that share nothing else.

use std::collections::{BTreeMap, HashMap};

use harness_core::autointerp::ActWindow;

/// How rare each token of a text is: idf = ln(rows / rows that hold it).
pub(super) struct Rarity {
    idf: HashMap<u32, f64>,
}

impl Rarity {
    /// - `rows`: token ids of each row
    /// - `counts`: tokens that have a rarity; the others share nothing
    pub(super) fn of<'a>(
        rows: impl ExactSizeIterator<Item = &'a [u32]>,
        counts: impl Fn(u32) -> bool,
    ) -> Rarity {
        let n = rows.len() as f64;
        let mut holding: HashMap<u32, u64> = HashMap::new();
        for row in rows {
            for id in distinct(row).into_iter().filter(|id| counts(*id)) {
                *holding.entry(id).or_default() += 1;
            }
        }
        Rarity {
            idf: holding
                .into_iter()
                .map(|(id, count)| (id, (n / count as f64).ln()))
                .collect(),
        }
    }

    /// Mean cosine of idf² over pairs of the rows that the windows are in; `None` for fewer than
    /// two rows.
    ///
    /// - `ids`: token ids of a row
    pub(super) fn coherence<'a>(
        &self,
        windows: &[ActWindow],
        ids: impl Fn(u64) -> &'a [u32],
    ) -> Option<f64> {
        let mut held: Vec<u64> = windows.iter().map(|window| window.row).collect();
        held.sort_unstable();
        held.dedup();
        if held.len() < 2 {
            return None;
        }
        // |sum of unit vectors|^2 = n + 2 · sum over pairs of their cosines.
        let mut sum: BTreeMap<u32, f64> = BTreeMap::new();
        for &row in &held {
            let weights: Vec<(u32, f64)> = distinct(ids(row))
                .into_iter()
                .filter_map(|id| Some((id, self.idf.get(&id)?.powi(2))))
                .collect();
            let squares = weights.iter().map(|(_, weight)| weight * weight);
            let norm = squares.sum::<f64>().sqrt();
            if norm > 0.0 {
                for (id, weight) in weights {
                    *sum.entry(id).or_default() += weight / norm;
                }
            }
        }
        let n = held.len() as f64;
        let squared: f64 = sum.values().map(|value| value * value).sum();
        Some((squared - n) / (n * (n - 1.0)))
    }
}

fn distinct(ids: &[u32]) -> Vec<u32> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::autointerp::Origin;

    fn window(row: u64, position: u32) -> ActWindow {
        ActWindow {
            origin: Origin::Top,
            row,
            position,
            acts: vec![1.0],
        }
    }

    #[test]
    fn coherence_is_the_mean_cosine_of_rows() {
        // Token 9 is special; 0 is in every row and has no weight.
        let rows: [&[u32]; 4] = [&[9, 0, 1, 1], &[9, 0, 1, 2], &[9, 0, 3], &[9, 0, 4]];
        let rarity = Rarity::of(rows.iter().copied(), |id| id != 9);
        let of = |held: &[u64]| {
            let windows: Vec<ActWindow> = held.iter().map(|row| window(*row, 0)).collect();
            rarity.coherence(&windows, |row| rows[row as usize])
        };
        let (shared, alone) = (2.0_f64.ln().powi(2), 4.0_f64.ln().powi(2));
        let cosine = shared / (shared * shared + alone * alone).sqrt();
        // A few roundings of numbers below 1.
        assert!((of(&[0, 1]).unwrap() - cosine).abs() < 1e-14);
        assert!((of(&[0, 1, 2]).unwrap() - cosine / 3.0).abs() < 1e-14);
        assert!(of(&[2, 3]).unwrap().abs() < 1e-14);
        // Windows of one row are one text.
        assert_eq!(of(&[1, 1]), None);
        assert_eq!(of(&[0, 0, 1]), of(&[0, 1]));
    }
}
