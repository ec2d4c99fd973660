//! A counter-based random stream: every draw is a pure function of a key and a counter, so a
//! document depends on its own number alone and never on how many were asked for before it.

/// One stream of draws. Cloning it and drawing again gives the same numbers.
#[derive(Clone, Debug)]
pub struct Draws {
    key: u64,
    counter: u64,
}

/// The finaliser of SplitMix64: a bijection of `u64` in which every input bit reaches every output
/// bit.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl Draws {
    /// A stream keyed by a label, a seed and an item number.
    #[must_use]
    pub fn new(label: &str, seed: u64, item: u64) -> Self {
        // FNV-1a over the label keeps the streams of different uses apart.
        let label = label.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3)
        });
        Self {
            key: mix(mix(label ^ mix(seed)) ^ mix(item.wrapping_add(0x5851_F42D))),
            counter: 0,
        }
    }

    /// 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        self.counter += 1;
        mix(self.key ^ mix(self.counter))
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        // The high half of a 128-bit product: its bias is below n / 2^64.
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Uniform in `lo..=hi`.
    pub fn between(&mut self, lo: i64, hi: i64) -> i64 {
        lo + self.below((hi - lo + 1).max(1) as usize) as i64
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// One element, all equally likely.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// An index drawn with the given non-negative weights.
    pub fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let total: f64 = weights.clone().sum();
        let mut left = self.unit() * total;
        let mut last = 0;
        for (i, w) in weights.enumerate() {
            last = i;
            left -= w;
            if left < 0.0 {
                break;
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_function_of_its_key() {
        let first: Vec<u64> = (0..4)
            .scan(Draws::new("a", 1, 2), |d, _| Some(d.bits()))
            .collect();
        let again: Vec<u64> = (0..4)
            .scan(Draws::new("a", 1, 2), |d, _| Some(d.bits()))
            .collect();
        assert_eq!(first, again);
        for other in [
            Draws::new("b", 1, 2),
            Draws::new("a", 2, 2),
            Draws::new("a", 1, 3),
        ] {
            assert_ne!(first[0], other.clone().bits());
        }
    }

    #[test]
    fn draws_are_roughly_uniform() {
        let mut draws = Draws::new("uniform", 7, 0);
        let mut counts = [0_usize; 10];
        for _ in 0..20_000 {
            counts[draws.below(10)] += 1;
        }
        // 2000 expected, standard deviation 42: six of them leave no room for chance.
        assert!(
            counts.iter().all(|&c| (1740..2260).contains(&c)),
            "{counts:?}"
        );
        let mean: f64 = (0..20_000).map(|_| draws.unit()).sum::<f64>() / 20_000.0;
        assert!((mean - 0.5).abs() < 0.0125, "{mean}");
    }
}
