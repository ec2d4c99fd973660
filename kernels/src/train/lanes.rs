//! Sums over lanes.

use crate::host::Element;

/// Partial sums of a dot product. Wide enough that the additions of one do not wait for each other.
const LANES: usize = 64;

/// `a · b`, over lanes in a fixed order.
#[inline(always)]
pub(super) fn dot<E: Element>(a: &[E], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for j in 0..LANES {
            lanes[j] = a[j].f32().mul_add(b[j], lanes[j]);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for j in 0..half {
            lanes[j] += lanes[j + half];
        }
        half /= 2;
    }
    let mut sum = lanes[0];
    for (a, b) in a_rest.iter().zip(b_rest) {
        sum = a.f32().mul_add(*b, sum);
    }
    sum
}

/// `to += by · x`.
#[inline(always)]
pub(super) fn add_scaled<E: Element>(to: &mut [f32], x: &[E], by: f32) {
    for (to, x) in to.iter_mut().zip(x) {
        *to = by.mul_add(x.f32(), *to);
    }
}
