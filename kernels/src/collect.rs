//! Indices of the numbers of a row that reach a threshold, ascending.

use crate::{key::Key, simd::Level};

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
        // SAFETY: the chunk has 64 numbers, and this function runs on processors with these
        // features.
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
        // SAFETY: the chunk has 64 numbers, and this function runs on processors with these
        // features.
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
