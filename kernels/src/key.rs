//! The order of the positive numbers of a kind, as the order of whole numbers.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use half::bf16;

use crate::host::Element;

/// Numbers counted before a 16-bit counter is emptied.
pub(crate) const FLUSH: usize = 1 << 15;

/// A number whose bits, as a signed whole number, order the positive values.
pub(crate) trait Key: Element {
    /// One octave (a doubling) in keys.
    const OCTAVE: f64;
    /// Key of infinity.
    const TOP: i32;
    /// Bits as a signed number.
    fn key(self) -> i32;
    /// How many of at most [`FLUSH`] numbers are hit, in counters as wide as the number, so that
    /// comparing and counting share registers.
    fn count(part: &[Self], hit: impl Fn(Self) -> bool) -> usize;
    /// True for a key at or above the threshold, compared in the number's own width.
    fn reaches(self, threshold: i32) -> bool;
    /// True for NaN of either sign.
    fn is_nan(self) -> bool;
    /// Bit `i` says whether number `i` of 64 reaches `threshold`.
    ///
    /// # Safety
    /// 64 numbers must be readable at `at`, and the processor must have AVX-512 F and BW.
    #[cfg(target_arch = "x86_64")]
    unsafe fn mask_avx512(at: *const Self, threshold: i32) -> u64;
    /// As [`Self::mask_avx512`].
    ///
    /// # Safety
    /// 64 numbers must be readable at `at`, and the processor must have AVX2.
    #[cfg(target_arch = "x86_64")]
    unsafe fn mask_avx2(at: *const Self, threshold: i32) -> u64;
}

impl Key for f32 {
    const OCTAVE: f64 = 8_388_608.0;
    const TOP: i32 = 0x7f80_0000;
    #[inline(always)]
    fn key(self) -> i32 {
        self.to_bits() as i32
    }
    #[inline(always)]
    fn count(part: &[Self], hit: impl Fn(Self) -> bool) -> usize {
        part.iter().map(|&v| u32::from(hit(v))).sum::<u32>() as usize
    }
    #[inline(always)]
    fn reaches(self, threshold: i32) -> bool {
        self.to_bits() as i32 >= threshold
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        (self.to_bits() & 0x7fff_ffff) as i32 > Self::TOP
    }
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn mask_avx512(at: *const Self, threshold: i32) -> u64 {
        let threshold = _mm512_set1_epi32(threshold);
        let mut mask = 0;
        for part in 0..4 {
            // SAFETY: part 3 ends at number 64; the load needs no alignment.
            let numbers = unsafe { _mm512_loadu_si512(at.add(16 * part).cast()) };
            mask |= u64::from(_mm512_cmpge_epi32_mask(numbers, threshold)) << (16 * part);
        }
        mask
    }
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn mask_avx2(at: *const Self, threshold: i32) -> u64 {
        // There is only "greater than"; a threshold is at least 1.
        let below = _mm256_set1_epi32(threshold - 1);
        let mut mask = 0;
        for part in 0..8 {
            // SAFETY: part 7 ends at number 64; the load needs no alignment.
            let numbers = unsafe { _mm256_loadu_si256(at.add(8 * part).cast()) };
            let hits = _mm256_castsi256_ps(_mm256_cmpgt_epi32(numbers, below));
            mask |= u64::from(_mm256_movemask_ps(hits) as u8) << (8 * part);
        }
        mask
    }
}

impl Key for bf16 {
    const OCTAVE: f64 = 128.0;
    const TOP: i32 = 0x7f80;
    #[inline(always)]
    fn key(self) -> i32 {
        i32::from(self.to_bits() as i16)
    }
    #[inline(always)]
    fn count(part: &[Self], hit: impl Fn(Self) -> bool) -> usize {
        part.iter().map(|&v| u16::from(hit(v))).sum::<u16>() as usize
    }
    #[inline(always)]
    fn reaches(self, threshold: i32) -> bool {
        self.to_bits() as i16 >= threshold as i16
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        (self.to_bits() & 0x7fff) as i16 > 0x7f80
    }
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn mask_avx512(at: *const Self, threshold: i32) -> u64 {
        let threshold = _mm512_set1_epi16(threshold as i16);
        let mut mask = 0;
        for part in 0..2 {
            // SAFETY: part 1 ends at number 64; the load needs no alignment.
            let numbers = unsafe { _mm512_loadu_si512(at.add(32 * part).cast()) };
            mask |= u64::from(_mm512_cmpge_epi16_mask(numbers, threshold)) << (32 * part);
        }
        mask
    }
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn mask_avx2(at: *const Self, threshold: i32) -> u64 {
        let below = _mm256_set1_epi16(threshold as i16 - 1);
        let mut mask = 0;
        for part in 0..2 {
            // SAFETY: part 1 ends at number 64; the loads need no alignment.
            let halves = unsafe {
                let at = at.add(32 * part);
                [
                    _mm256_loadu_si256(at.cast()),
                    _mm256_loadu_si256(at.add(16).cast()),
                ]
            };
            let [a, b] = halves.map(|half| _mm256_cmpgt_epi16(half, below));
            // Packing works within 128-bit halves; the permutation puts the bytes back in order.
            let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(a, b));
            mask |= u64::from(_mm256_movemask_epi8(bytes) as u32) << (32 * part);
        }
        mask
    }
}
