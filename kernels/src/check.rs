//! Shape checks shared by the kernels.

use tch::Tensor;

use crate::{KernelError, Result, readback};

/// Shape of a matrix `[rows, cols]`.
pub(crate) fn matrix(
    kernel: &'static str,
    operand: &'static str,
    t: &Tensor,
) -> Result<(i64, i64)> {
    match t.size()[..] {
        [rows, cols] => Ok((rows, cols)),
        _ => Err(KernelError::Shape {
            kernel,
            operand,
            found: t.size(),
            expected: "a matrix".into(),
        }),
    }
}

/// Checks that `t` has exactly the shape `expected`.
pub(crate) fn shape(
    kernel: &'static str,
    operand: &'static str,
    t: &Tensor,
    expected: &[i64],
) -> Result<()> {
    if t.size() == expected {
        return Ok(());
    }
    Err(KernelError::Shape {
        kernel,
        operand,
        found: t.size(),
        expected: format!("{expected:?}"),
    })
}

/// Checks that every index is in `[lowest, end)`: a device is waited for.
pub(crate) fn indices(
    kernel: &'static str,
    operand: &'static str,
    t: &Tensor,
    lowest: i64,
    end: i64,
) -> Result<()> {
    if t.numel() == 0 {
        return Ok(());
    }
    let (low, high) = t.f_aminmax(None::<i64>, false)?;
    let ends = readback::i64s(&Tensor::f_stack(&[low, high], 0)?)?;
    in_range(kernel, operand, (ends[0], ends[1]), lowest, end)
}

/// [`indices`] of the host.
pub(crate) fn host_indices(
    kernel: &'static str,
    operand: &'static str,
    indices: &[i64],
    lowest: i64,
    end: i64,
) -> Result<()> {
    let ends = (indices.iter()).fold(None, |ends: Option<(i64, i64)>, &index| {
        let (low, high) = ends.unwrap_or((index, index));
        Some((low.min(index), high.max(index)))
    });
    match ends {
        Some(ends) => in_range(kernel, operand, ends, lowest, end),
        None => Ok(()),
    }
}

/// Checks the lowest and the highest index there is.
fn in_range(
    kernel: &'static str,
    operand: &'static str,
    (low, high): (i64, i64),
    lowest: i64,
    end: i64,
) -> Result<()> {
    let found = if low < lowest { low } else { high };
    if low < lowest || high >= end {
        return Err(KernelError::Range {
            kernel,
            operand,
            found,
            expected: format!("{lowest} to {}", end - 1),
        });
    }
    Ok(())
}
