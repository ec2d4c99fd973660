//! Colours that stand for values: from dark blue over green to light yellow.
//!
//! The colours lie on a curve through CIELAB in which lightness rises all the way, so that their
//! order can be seen in grey print and with any kind of colour vision, and they are taken at equal
//! distances along it, so that equal differences of values look equally large. None is grey: that
//! is left to missing values.

use plotters::style::RGBColor;

/// Colours there are; values that share one differ by less than 1 % of the range.
pub const LEVELS: usize = 128;

/// Corners of the curve (a quadratic Bézier curve) as L*, a*, b*. All of the curve is inside sRGB.
const CURVE: [[f64; 3]; 3] = [
    [18.0, 22.0, -42.0],
    [64.0, -60.0, -10.0],
    [90.0, -8.0, 66.0],
];
/// Straight pieces the curve is measured in.
const PIECES: usize = 1024;
/// CIE standard illuminant D65, the white of sRGB.
const WHITE: [f64; 3] = [0.95047, 1.0, 1.08883];

/// Range of values that the colours cover.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColourScale {
    /// The smallest value.
    pub lo: f64,
    /// The largest.
    pub hi: f64,
}

impl ColourScale {
    /// From the smallest to the largest of `values`, all of them finite; `None` without values.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        values.fold(None, |scale: Option<Self>, value| {
            let (lo, hi) = scale.map_or((value, value), |scale| {
                (scale.lo.min(value), scale.hi.max(value))
            });
            Some(Self { lo, hi })
        })
    }

    /// The colour of a value of the range, counted from 0; the one in the middle where all values
    /// are equal.
    pub fn level(&self, value: f64) -> usize {
        // Halves, because the difference of two finite numbers need not be finite.
        let range = 0.5 * self.hi - 0.5 * self.lo;
        if range <= 0.0 {
            return LEVELS / 2;
        }
        let share = (0.5 * value - 0.5 * self.lo) / range;
        ((share * LEVELS as f64) as usize).min(LEVELS - 1)
    }
}

/// The colours, from that of the smallest values to that of the largest.
pub(super) fn sequential() -> Vec<RGBColor> {
    let points: Vec<[f64; 3]> = (0..=PIECES)
        .map(|i| on_curve(i as f64 / PIECES as f64))
        .collect();
    let mut along = vec![0.0];
    let mut length = 0.0;
    for pair in points.windows(2) {
        length += distance(pair[0], pair[1]);
        along.push(length);
    }
    (0..LEVELS)
        .map(|level| {
            let wanted = length * level as f64 / (LEVELS - 1) as f64;
            let i = along.partition_point(|at| *at < wanted).min(PIECES);
            let [r, g, b] = srgb(points[i]).map(|c| (255.0 * c.clamp(0.0, 1.0)).round() as u8);
            RGBColor(r, g, b)
        })
        .collect()
}

fn on_curve(t: f64) -> [f64; 3] {
    let weights = [(1.0 - t) * (1.0 - t), 2.0 * t * (1.0 - t), t * t];
    [0, 1, 2].map(|axis| {
        (0..3)
            .map(|corner| weights[corner] * CURVE[corner][axis])
            .sum()
    })
}

/// CIE 1976 colour difference.
fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
    squares.sum::<f64>().sqrt()
}

/// A CIELAB colour as sRGB (IEC 61966-2-1), 0 to 1 where it is inside.
pub(super) fn srgb([lightness, a, b]: [f64; 3]) -> [f64; 3] {
    let y = (lightness + 16.0) / 116.0;
    let linear = |f: f64| match f > 6.0 / 29.0 {
        true => f * f * f,
        false => 108.0 / 841.0 * (f - 4.0 / 29.0),
    };
    let xyz = [
        WHITE[0] * linear(y + a / 500.0),
        WHITE[1] * linear(y),
        WHITE[2] * linear(y - b / 200.0),
    ];
    let rows = [
        [3.240_454_2, -1.537_138_5, -0.498_531_4],
        [-0.969_266_0, 1.876_010_8, 0.041_556_0],
        [0.055_643_4, -0.204_025_9, 1.057_225_2],
    ];
    rows.map(|row| {
        let light: f64 = row.iter().zip(xyz).map(|(m, c)| m * c).sum();
        match light <= 0.003_130_8 {
            true => 12.92 * light,
            false => 1.055 * light.powf(1.0 / 2.4) - 0.055,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_rise_in_lightness_in_equal_steps_inside_srgb() {
        for i in 0..=PIECES {
            let colour = srgb(on_curve(i as f64 / PIECES as f64));
            assert!(colour.iter().all(|c| (0.0..=1.0).contains(c)), "{colour:?}");
        }
        let colours = sequential();
        assert_eq!(colours.len(), LEVELS);
        let lab: Vec<[f64; 3]> = colours.iter().map(lab).collect();
        // Over eight colours, because rounding to whole numbers moves one colour by up to half of
        // what two neighbours differ.
        let steps: Vec<f64> = lab.windows(9).map(|p| distance(p[0], p[8])).collect();
        let mean = steps.iter().sum::<f64>() / steps.len() as f64;
        let is_near = |step: &f64| (step / mean - 1.0).abs() < 0.12;
        assert!(steps.iter().all(is_near), "{mean}: {steps:?}");
        assert!(
            lab.windows(5).all(|p| p[4][0] > p[0][0] + 0.5),
            "lightness rises"
        );
        let grey = lab
            .iter()
            .map(|c| c[1].hypot(c[2]))
            .fold(f64::MAX, f64::min);
        assert!(grey > 20.0, "the palest colour has a chroma of {grey}");
    }

    /// The way back from 8-bit sRGB to CIELAB, written from the definitions, so that the way there
    /// is checked as well.
    fn lab(colour: &RGBColor) -> [f64; 3] {
        let linear = [colour.0, colour.1, colour.2].map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        });
        let rows = [
            [0.412_456_4, 0.357_576_1, 0.180_437_5],
            [0.212_672_9, 0.715_152_2, 0.072_175_0],
            [0.019_333_9, 0.119_192_0, 0.950_304_1],
        ];
        let mut f = [0.0; 3];
        for axis in 0..3 {
            let c = (0..3).map(|i| rows[axis][i] * linear[i]).sum::<f64>() / WHITE[axis];
            f[axis] = if c > 216.0 / 24389.0 {
                c.cbrt()
            } else {
                (24389.0 / 27.0 * c + 16.0) / 116.0
            };
        }
        [
            116.0 * f[1] - 16.0,
            500.0 * (f[0] - f[1]),
            200.0 * (f[1] - f[2]),
        ]
    }

    #[test]
    fn the_ends_of_the_range_have_the_first_and_the_last_colour() {
        let scale = ColourScale::of([0.5, -1.0, 3.0].into_iter()).unwrap();
        assert_eq!((scale.lo, scale.hi), (-1.0, 3.0));
        assert_eq!((scale.level(-1.0), scale.level(3.0)), (0, LEVELS - 1));
        assert_eq!(scale.level(1.0), LEVELS / 2);
        let same = ColourScale::of([2.0, 2.0].into_iter()).unwrap();
        assert_eq!(same.level(2.0), LEVELS / 2);
        assert_eq!(ColourScale::of(std::iter::empty()), None);
        let wide = ColourScale {
            lo: f64::MIN,
            hi: f64::MAX,
        };
        assert_eq!(
            (wide.level(f64::MIN), wide.level(0.0), wide.level(f64::MAX)),
            (0, LEVELS / 2, LEVELS - 1)
        );
    }
}
