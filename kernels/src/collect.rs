//! Indices of the numbers of a row that reach a threshold, ascending.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::{select::Key, simd::Level};

/// Numbers looked at together; where none of them is found they cost one test.
const LANES: usize = 64;

/// Appends the index of every number whose key is at or above `threshold` (at least 1).
pub(crate) fn collect<T: Key>(level: Level, row: &[T], threshold: i32, found: &mut Vec<u32>) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: levels are never above what the processor was found to have.
        Level::Avx512 => unsafe { avx512(row, threshold, found) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2(row, threshold, found) },
        _ => rest(row, 0, threshold, found),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn avx512<T: Key>(row: &[T], threshold: i32, found: &mut Vec<u32>) {
    let chunks = row.chunks_exact(LANES);
    for (at, chunk) in chunks.enumerate() {
        // SAFETY: the chunk has 64 numbers, and this function runs on processors with these features.
        push(
            at,
            unsafe { T::mask_avx512(chunk.as_ptr(), threshold) },
            found,
        );
    }
    rest(row, row.len() / LANES * LANES, threshold, found);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<T: Key>(row: &[T], threshold: i32, found: &mut Vec<u32>) {
    for (at, chunk) in row.chunks_exact(LANES).enumerate() {
        // SAFETY: the chunk has 64 numbers, and this function runs on processors with these features.
        push(
            at,
            unsafe { T::mask_avx2(chunk.as_ptr(), threshold) },
            found,
        );
    }
    rest(row, row.len() / LANES * LANES, threshold, found);
}

/// Numbers from `from` on, one by one.
fn rest<T: Key>(row: &[T], from: usize, threshold: i32, found: &mut Vec<u32>) {
    for (i, v) in row.iter().enumerate().skip(from) {
        if v.reaches(threshold) {
            found.push(i as u32);
        }
    }
}

/// Appends the indices of the bits of chunk `at`.
#[inline(always)]
fn push(at: usize, mut mask: u64, found: &mut Vec<u32>) {
    while mask != 0 {
        found.push((at * LANES) as u32 + mask.trailing_zeros());
        mask &= mask - 1;
    }
}

/// Bit `i` says whether number `i` is at or above `threshold`.
///
/// # Safety
/// 64 numbers must be readable at `at`.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) unsafe fn mask_i32_avx512(at: *const i32, threshold: i32) -> u64 {
    let threshold = _mm512_set1_epi32(threshold);
    let mut mask = 0;
    for part in 0..4 {
        // SAFETY: part 3 ends at number 64; the load needs no alignment.
        let numbers = unsafe { _mm512_loadu_si512(at.add(16 * part).cast()) };
        mask |= u64::from(_mm512_cmpge_epi32_mask(numbers, threshold)) << (16 * part);
    }
    mask
}

/// As [`mask_i32_avx512`].
///
/// # Safety
/// 64 numbers must be readable at `at`.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) unsafe fn mask_i16_avx512(at: *const i16, threshold: i16) -> u64 {
    let threshold = _mm512_set1_epi16(threshold);
    let mut mask = 0;
    for part in 0..2 {
        // SAFETY: part 1 ends at number 64; the load needs no alignment.
        let numbers = unsafe { _mm512_loadu_si512(at.add(32 * part).cast()) };
        mask |= u64::from(_mm512_cmpge_epi16_mask(numbers, threshold)) << (32 * part);
    }
    mask
}

/// As [`mask_i32_avx512`].
///
/// # Safety
/// 64 numbers must be readable at `at`.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn mask_i32_avx2(at: *const i32, threshold: i32) -> u64 {
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

/// As [`mask_i32_avx512`].
///
/// # Safety
/// 64 numbers must be readable at `at`.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn mask_i16_avx2(at: *const i16, threshold: i16) -> u64 {
    let below = _mm256_set1_epi16(threshold - 1);
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
