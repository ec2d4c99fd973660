//! Comparing what was computed with what the reference recorded.

use super::fixture::Array;

/// `|got - want| <= atol + rtol * |want|`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Absolute part.
    pub atol: f64,
    /// Part relative to the wanted value.
    pub rtol: f64,
}

impl Tolerance {
    pub const EXACT: Self = Self {
        atol: 0.0,
        rtol: 0.0,
    };
}

/// The outcome of one comparison; an empty reason is a pass.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Compared {
    pub n: u64,
    pub max_abs: Option<f64>,
    pub tolerance: Tolerance,
    pub reason: String,
}

impl Compared {
    /// A comparison that could not be made.
    pub(super) fn fail(tolerance: Tolerance, reason: String) -> Self {
        Self {
            n: 0,
            max_abs: None,
            tolerance,
            reason,
        }
    }

    /// `n` things that are the same, or are not for a reason.
    pub(super) fn exact(n: usize, reason: String) -> Self {
        Self {
            n: n as u64,
            max_abs: Some(if reason.is_empty() { 0.0 } else { 1.0 }),
            tolerance: Tolerance::EXACT,
            reason,
        }
    }
}

/// Compares arrays of the same shape; `keep` (one flag per leading index of `got`, each covering an
/// equal number of values) selects what is defined, such as positions that are not padding.
///
/// A value that is not finite on either side is never within tolerance, and a comparison of no
/// values is a failure.
pub(super) fn floats(
    got: &Array<f64>,
    want: &Array<f64>,
    keep: Option<&[bool]>,
    tolerance: Tolerance,
) -> Compared {
    if got.shape != want.shape {
        return Compared::fail(tolerance, other_shape(got, want));
    }
    let width = match keep {
        Some(keep) if keep.is_empty() || !got.data.len().is_multiple_of(keep.len()) => {
            let (n, positions) = (got.data.len(), keep.len());
            let reason = format!("{n} values do not divide into {positions} positions");
            return Compared::fail(tolerance, reason);
        }
        Some(keep) => got.data.len() / keep.len(),
        None => 1,
    };
    let (mut n, mut max_abs, mut outside, mut first) = (0u64, 0f64, 0u64, None);
    for (i, (g, w)) in got.data.iter().zip(&want.data).enumerate() {
        if keep.is_some_and(|keep| !keep[i / width]) {
            continue;
        }
        n += 1;
        let difference = (g - w).abs();
        max_abs = if difference.is_nan() || max_abs.is_nan() {
            f64::NAN
        } else {
            max_abs.max(difference)
        };
        let within = g.is_finite()
            && w.is_finite()
            && difference <= tolerance.atol + tolerance.rtol * w.abs();
        if !within {
            outside += 1;
            first.get_or_insert((i, *g, *w));
        }
    }
    let reason = match first {
        _ if n == 0 => "no values to compare".to_owned(),
        Some((i, g, w)) => format!(
            "{outside} of {n} values outside; the first at {:?}: {g} computed, {w} in the fixture",
            position(i, &want.shape)
        ),
        None => String::new(),
    };
    Compared {
        n,
        max_abs: (n > 0).then_some(max_abs),
        tolerance,
        reason,
    }
}

/// Compares integers for equality; `max_abs` is the largest difference.
pub(super) fn integers(got: &Array<i64>, want: &Array<i64>, keep: Option<&[bool]>) -> Compared {
    let as_floats = |a: &Array<i64>| Array {
        shape: a.shape.clone(),
        data: a.data.iter().map(|v| *v as f64).collect(),
    };
    floats(&as_floats(got), &as_floats(want), keep, Tolerance::EXACT)
}

/// Compares token ids: each is a value, and a different length is a failure.
pub(super) fn ids(got: &[u32], want: &[u32]) -> Compared {
    let first = got.iter().zip(want).position(|(g, w)| g != w);
    let reason = match first {
        Some(i) => format!("id {i}: {} computed, {} in the fixture", got[i], want[i]),
        None if got.len() != want.len() => {
            format!("{} ids computed, {} in the fixture", got.len(), want.len())
        }
        None => String::new(),
    };
    Compared::exact(want.len(), reason)
}

/// Compares text; each character is a value.
pub(super) fn text(got: &str, want: &str) -> Compared {
    let reason = if got == want {
        String::new()
    } else {
        format!("{got:?} computed, {want:?} in the fixture")
    };
    Compared::exact(want.chars().count(), reason)
}

/// Compares one number, which may be absent on both sides.
pub(super) fn scalar(got: Option<f64>, want: Option<f64>, tolerance: Tolerance) -> Compared {
    match (got, want) {
        (Some(got), Some(want)) => {
            let one = |v: f64| Array::column(vec![v]);
            floats(&one(got), &one(want), None, tolerance)
        }
        (None, None) => Compared {
            tolerance,
            ..Compared::exact(1, String::new())
        },
        (got, want) => {
            let reason = format!("{got:?} computed, {want:?} in the fixture");
            Compared::fail(tolerance, reason)
        }
    }
}

/// Compares one number, which may be absent on both sides, for equality.
pub(super) fn number(got: Option<f64>, want: Option<f64>) -> Compared {
    scalar(got, want, Tolerance::EXACT)
}

pub(super) fn other_shape<T>(got: &Array<T>, want: &Array<T>) -> String {
    format!(
        "shape {:?} computed, {:?} in the fixture",
        got.shape, want.shape
    )
}

/// The index of element `i` in each dimension.
fn position(i: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = i;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|extent| {
            let at = rest % extent;
            rest /= extent;
            at
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: &[usize], data: &[f64]) -> Array<f64> {
        Array {
            shape: shape.to_vec(),
            data: data.to_vec(),
        }
    }

    const LOOSE: Tolerance = Tolerance {
        atol: 0.1,
        rtol: 0.0,
    };

    #[test]
    fn the_first_value_outside_is_named() {
        let outcome = floats(
            &array(&[2, 2], &[1.0, 2.0, 3.0, 4.5]),
            &array(&[2, 2], &[1.0, 2.05, 3.0, 4.0]),
            None,
            LOOSE,
        );
        assert_eq!((outcome.n, outcome.max_abs), (4, Some(0.5)));
        assert!(
            outcome
                .reason
                .starts_with("1 of 4 values outside; the first at [1, 1]: 4.5"),
            "{}",
            outcome.reason
        );
    }

    #[test]
    fn nan_never_passes_and_padding_is_not_looked_at() {
        let got = array(&[2, 1], &[1.0, f64::NAN]);
        let same = floats(&got, &got, None, LOOSE);
        assert!(!same.reason.is_empty());
        assert!(
            floats(&got, &got, Some(&[true, false]), LOOSE)
                .reason
                .is_empty()
        );
        assert!(
            !floats(&got, &got, Some(&[false, false]), LOOSE)
                .reason
                .is_empty(),
            "nothing compared is no pass"
        );
        assert!(
            !floats(&got, &array(&[2], &[1.0, 1.0]), None, LOOSE)
                .reason
                .is_empty()
        );
        assert!(
            !scalar(Some(f64::INFINITY), Some(f64::INFINITY), LOOSE)
                .reason
                .is_empty()
        );
    }

    #[test]
    fn lengths_and_absence_count() {
        assert!(!ids(&[1, 2], &[1, 2, 3]).reason.is_empty());
        assert!(ids(&[], &[]).reason.is_empty());
        assert!(!scalar(None, Some(1.0), LOOSE).reason.is_empty());
        assert!(scalar(None, None, LOOSE).reason.is_empty());
    }
}
