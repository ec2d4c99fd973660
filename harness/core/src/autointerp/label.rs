//! Which latent goes best with a label of documents.

/// How well "the latent fires in the document" agrees with a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Share of the documents it fires in that have the label.
    pub precision: f64,
    /// Share of the label's documents it fires in.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
}

impl Agreement {
    /// From numbers of documents: with the label and the latent, with the latent, with the label.
    /// Without both all is 0.
    pub fn new(both: u64, fired: u64, labelled: u64) -> Agreement {
        let share = |of: u64| {
            if of == 0 {
                0.0
            } else {
                both as f64 / of as f64
            }
        };
        Agreement {
            precision: share(fired),
            recall: share(labelled),
            f1: 2.0 * both as f64 / (fired + labelled).max(1) as f64,
        }
    }
}

/// The latent with the largest F1, of equal ones the smallest; `None` when none fires in a document
/// of the label.
///
/// - `latents`: of each, the documents with the label it fires in, and all it fires in
/// - `labelled`: documents with the label
pub fn best_latent(
    latents: impl IntoIterator<Item = (u32, u64, u64)>,
    labelled: u64,
) -> Option<(u32, Agreement)> {
    let mut best: Option<(u32, Agreement)> = None;
    for (latent, both, fired) in latents {
        let own = Agreement::new(both, fired, labelled);
        let is_better = match &best {
            None => both > 0,
            Some((of, best)) => own.f1 > best.f1 || (own.f1 == best.f1 && latent < *of),
        };
        if is_better {
            best = Some((latent, own));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_latent_has_the_largest_f1() {
        let latents = [(9, 4, 40), (7, 3, 4), (3, 3, 4), (1, 0, 9)];
        let (latent, agreement) = best_latent(latents, 5).unwrap();
        assert_eq!(latent, 3);
        assert_eq!((agreement.precision, agreement.recall), (0.75, 0.6));
        let mean = 2.0 * 0.75 * 0.6 / (0.75 + 0.6);
        // Two roundings of numbers below 1.
        assert!((agreement.f1 - mean).abs() < 1e-15);
        assert!(best_latent([(1, 0, 9)], 5).is_none());
    }
}
