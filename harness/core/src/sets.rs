//! Overlap of sets of latents.

/// Jaccard index `|A ∩ B| / |A ∪ B|` of two sets given as strictly ascending indices; 1 when both are empty (Eq. 20).
pub fn jaccard_sorted(a: &[u32], b: &[u32]) -> f64 {
    let (mut i, mut j, mut both) = (0, 0, 0usize);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                both += 1;
                i += 1;
                j += 1;
            }
        }
    }
    let either = a.len() + b.len() - both;
    if either == 0 {
        1.0
    } else {
        both as f64 / either as f64
    }
}

/// Jaccard index of two lists of latents in any order; negative entries (unused slots) and repeats are passed over.
pub fn jaccard(a: &[i64], b: &[i64]) -> f64 {
    jaccard_sorted(&as_set(a), &as_set(b))
}

fn as_set(latents: &[i64]) -> Vec<u32> {
    let mut set: Vec<u32> = latents
        .iter()
        .filter_map(|&i| u32::try_from(i).ok())
        .collect();
    set.sort_unstable();
    set.dedup();
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn empty_sets() {
        assert_eq!(jaccard(&[], &[-1, -1]), 1.0);
        assert_eq!(jaccard(&[3], &[]), 0.0);
        assert_eq!(jaccard(&[5, 1, -1], &[1, 2, 5]), 2.0 / 3.0);
    }

    proptest! {
        #[test]
        fn equals_the_definition(a in prop::collection::vec(-1i64..12, 0..12), b in prop::collection::vec(-1i64..12, 0..12)) {
            let set = |v: &[i64]| v.iter().copied().filter(|&x| x >= 0).collect::<BTreeSet<_>>();
            let (sa, sb) = (set(&a), set(&b));
            let either = sa.union(&sb).count();
            let want = if either == 0 { 1.0 } else { sa.intersection(&sb).count() as f64 / either as f64 };
            prop_assert_eq!(jaccard(&a, &b), want);
            prop_assert_eq!(jaccard(&b, &a), want);
        }
    }
}
