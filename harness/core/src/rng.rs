//! Counter-based random numbers.
//!
//! Every draw is a pure function of a key and a counter, so batching, order and parallelism change
//! nothing: the draw for item 17 is the same whether item 16 was computed before it, elsewhere, or
//! never. Keys are derived by name and number (`Stream::new(seed,
//! "steer").item(prefix).label("tokens")`), never by handing a generator around.
//!
//! The function is Philox 4x32 with 10 rounds (Salmon et al., 2011): a 64-bit key, a 128-bit
//! counter, 128 bits out.

const MUL_0: u32 = 0xD251_1F53;
const MUL_1: u32 = 0xCD9E_8D57;
const WEYL_0: u32 = 0x9E37_79B9;
const WEYL_1: u32 = 0xBB67_AE85;
const ROUNDS: usize = 10;

/// Separates the three uses of one key, so that a draw never equals a derived key.
const ITEM: u64 = 0x6974_656D_0000_0001;
const LABEL: u64 = 0x6C61_6265_6C00_0002;
const LABEL_END: u64 = 0x6C61_6265_6C00_0003;

/// One Philox 4x32-10 block: `counter` and `key` in, four 32-bit words out, all little end first.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..ROUNDS {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL_0), key[1].wrapping_add(WEYL_1)];
        }
        let a = u64::from(MUL_0) * u64::from(counter[0]);
        let b = u64::from(MUL_1) * u64::from(counter[2]);
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
    }
    counter
}

/// A key: an endless sequence of draws, indexed by a counter, and a parent of further keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    key: u64,
    domain: u64,
}

impl Stream {
    /// The root stream of `seed` for one purpose. Different labels give unrelated streams.
    pub fn new(seed: u64, label: &str) -> Stream {
        Stream {
            key: seed,
            domain: 0,
        }
        .label(label)
    }

    /// The stream of item `i`: a row, a feature, a prefix, a step.
    pub fn item(&self, i: u64) -> Stream {
        self.derive(i, ITEM)
    }

    /// The stream of a named purpose below this one.
    pub fn label(&self, label: &str) -> Stream {
        let absorbed = label.as_bytes().chunks(8).fold(*self, |stream, chunk| {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            stream.derive(u64::from_le_bytes(word), LABEL)
        });
        // The length keeps "ab" and "ab\0" apart.
        absorbed.derive(label.len() as u64, LABEL_END)
    }

    /// Draw `i` as 64 random bits.
    pub fn u64_at(&self, i: u64) -> u64 {
        self.block(i >> 1)[(i & 1) as usize]
    }

    /// Draw `i`, uniform in [0, 1) with 53 bits.
    pub fn uniform_at(&self, i: u64) -> f64 {
        unit_f64(self.u64_at(i))
    }

    /// Draw `i`, uniform in `0..n` (0 for `n = 0`). The bias is at most `n / 2^64`: a rejection
    /// loop would make the number of draws depend on their values.
    pub fn below_at(&self, i: u64, n: u64) -> u64 {
        ((u128::from(self.u64_at(i)) * u128::from(n)) >> 64) as u64
    }

    /// Draw `i` from the standard normal distribution (Box-Muller on the uniform draws `2i` and `2i
    /// + 1`).
    pub fn normal_at(&self, i: u64) -> f64 {
        // 1 - u lies in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.uniform_at(2 * i)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform_at(2 * i + 1)).cos()
    }

    /// Draws `start..start + out.len()`, uniform in [0, 1) with 24 bits and never rounded to 1. A
    /// block of the generator gives two of them.
    pub fn fill_uniform_f32(&self, start: u64, out: &mut [f32]) {
        let mut next = start;
        let mut block = self.block(start >> 1);
        for slot in out {
            if next & 1 == 0 {
                block = self.block(next >> 1);
            }
            *slot = unit_f32(block[(next & 1) as usize]);
            next = next.wrapping_add(1);
        }
    }

    /// `k` different numbers of `0..n` in random order (all `n`, shuffled, when `k >= n`).
    pub fn sample_indices(&self, n: usize, k: usize) -> Vec<usize> {
        let mut pool: Vec<usize> = (0..n).collect();
        let k = k.min(n);
        for i in 0..k {
            let j = i + self.below_at(i as u64, (n - i) as u64) as usize;
            pool.swap(i, j);
        }
        pool.truncate(k);
        pool
    }

    fn derive(&self, tag: u64, purpose: u64) -> Stream {
        let [key, domain] = Stream {
            key: self.key,
            domain: self.domain ^ purpose,
        }
        .block(tag);
        Stream { key, domain }
    }

    fn block(&self, counter: u64) -> [u64; 2] {
        let words = philox4x32(
            [
                counter as u32,
                (counter >> 32) as u32,
                self.domain as u32,
                (self.domain >> 32) as u32,
            ],
            [self.key as u32, (self.key >> 32) as u32],
        );
        [
            u64::from(words[0]) | u64::from(words[1]) << 32,
            u64::from(words[2]) | u64::from(words[3]) << 32,
        ]
    }
}

fn unit_f64(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

fn unit_f32(bits: u64) -> f32 {
    (bits >> 40) as f32 * (1.0 / (1u32 << 24) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The known-answer vectors published with the generator.
    #[test]
    fn philox_known_answers() {
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    /// Results in results/golden depend on these values: a change here is a change of every number.
    #[test]
    fn stream_values_are_pinned() {
        let stream = Stream::new(42, "steer").item(3).label("tokens");
        let got: Vec<u64> = (0..3).map(|i| stream.u64_at(i)).collect();
        assert_eq!(
            got,
            [
                8_688_591_889_488_220_439,
                14_508_584_151_381_690_282,
                2_866_686_120_532_137_012
            ]
        );
    }

    #[test]
    fn labels_and_items_are_unrelated() {
        let root = Stream::new(0, "");
        let others = [
            root,
            root.item(0),
            root.label(""),
            root.label("a"),
            root.label("a\0"),
            Stream::new(1, ""),
        ];
        for (i, a) in others.iter().enumerate() {
            for b in &others[i + 1..] {
                assert_ne!(a.u64_at(0), b.u64_at(0));
            }
        }
        assert_ne!(root.label("ab").label("c"), root.label("abc"));
    }

    #[test]
    fn moments_of_the_draws() {
        let stream = Stream::new(7, "moments");
        let n = 100_000u64;
        let mean = (0..n).map(|i| stream.uniform_at(i)).sum::<f64>() / n as f64;
        // Five standard errors of a mean of n uniforms: 5 * sqrt(1/12/n).
        assert!(
            (mean - 0.5).abs() < 5.0 * (1.0 / 12.0 / n as f64).sqrt(),
            "{mean}"
        );
        let z: Vec<f64> = (0..n).map(|i| stream.label("z").normal_at(i)).collect();
        let z_mean = z.iter().sum::<f64>() / n as f64;
        let z_var = z.iter().map(|x| x * x).sum::<f64>() / n as f64;
        assert!(z_mean.abs() < 5.0 / (n as f64).sqrt(), "{z_mean}");
        assert!(
            (z_var - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt(),
            "{z_var}"
        );
    }

    #[test]
    fn largest_draws_stay_below_one() {
        assert!(unit_f32(u64::MAX) < 1.0 && unit_f64(u64::MAX) < 1.0);
        assert_eq!(unit_f32(0), 0.0);
    }

    proptest! {
        #[test]
        fn fill_equals_single_draws(seed: u64, start in 0u64..1000, n in 0usize..40) {
            let stream = Stream::new(seed, "fill");
            let mut got = vec![0.0f32; n];
            stream.fill_uniform_f32(start, &mut got);
            let want: Vec<f32> = (0..n as u64).map(|i| unit_f32(stream.u64_at(start + i))).collect();
            prop_assert_eq!(got, want);
        }

        #[test]
        fn below_stays_below(seed: u64, i: u64, n in 1u64..) {
            prop_assert!(Stream::new(seed, "below").below_at(i, n) < n);
        }

        #[test]
        fn samples_are_distinct(seed: u64, n in 0usize..60, k in 0usize..80) {
            let mut got = Stream::new(seed, "sample").sample_indices(n, k);
            prop_assert_eq!(got.len(), k.min(n));
            got.sort_unstable();
            got.dedup();
            prop_assert_eq!(got.len(), k.min(n));
            prop_assert!(got.iter().all(|&i| i < n));
        }
    }
}
