//! The exponential the row statistics are made of, the same bits at every level.

/// Below this the result is 0: the smallest normal f32 is `exp(-87.34)`.
const LOWEST: f32 = -87.0;
/// `1.5 · 2^23`: adding it leaves a number of this size rounded to a whole one, with the whole in
/// the low bits.
const ROUND: f32 = 12_582_912.0;
/// High and low part of `ln 2`; the high part times a small whole number is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `exp(x)` for `x <= 0` within 2 units in the last place, 0 below -87, NaN for NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let rest = whole.mul_add(-LN_2_LOW, whole.mul_add(-LN_2_HIGH, x)); // within ±0.35
    let mut p = 1.0 / 5040.0f32;
    for c in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0f32,
    ] {
        p = p.mul_add(rest, c);
    }
    // The whole part sits in the low bits of `shifted`; moved up it is an exponent, to which the
    // bias is added.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < LOWEST { 0.0 } else { p * scale }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exponential_is_within_two_units_in_the_last_place() {
        for i in 0..=870_000 {
            let x = -(i as f32) / 10_000.0;
            let right = f64::from(x).exp();
            let off = (f64::from(exp(x)) - right).abs() / right;
            assert!(
                off < 2.0 * f64::from(f32::EPSILON),
                "exp({x}): off by {off}"
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }
}
