//! Reductions of the logits that never hold more than a chunk of them.

use tch::{Device, Kind, Reduction, Tensor};

use crate::{DecoderError, Result};

/// Most bytes of float32 logits at a time in a CPU's memory, where they are to stay in its cache.
pub const HEAD_CHUNK_BYTES: i64 = 64 << 20;
/// The same on a device, where small products leave it idle.
const DEVICE_CHUNK_BYTES: i64 = 1 << 30;

/// Rows of float32 logits that fit these bytes, at least 1.
pub(crate) fn chunk_rows(vocab_size: i64, device: Device) -> i64 {
    let bytes = match device {
        Device::Cpu => HEAD_CHUNK_BYTES,
        _ => DEVICE_CHUNK_BYTES,
    };
    (bytes / (4 * vocab_size.max(1))).max(1)
}

/// `rows: [n, d], targets: [n] i64 -> [n] f32, nats`
pub(crate) fn cross_entropy(
    rows: &Tensor,
    targets: &Tensor,
    vocab_size: i64,
    unembed: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let n = row_count(rows)?;
    if targets.size() != [n] {
        return Err(DecoderError::argument(format!(
            "targets are {:?}, expected [{n}]",
            targets.size()
        )));
    }
    if n == 0 {
        return Ok(Tensor::zeros([0], (Kind::Float, rows.device())));
    }
    // Targets on a device the harness has looked at before they went there, as it does with ids.
    let ids = match targets.device() {
        Device::Cpu => Vec::<i64>::try_from(targets.contiguous())?,
        _ => Vec::new(),
    };
    if let Some(id) = ids.iter().find(|id| !(0..vocab_size).contains(*id)) {
        return Err(DecoderError::argument(format!(
            "target {id} is outside the vocabulary of {vocab_size} ids"
        )));
    }
    let targets = targets.to_device(rows.device());
    let none: Option<&Tensor> = None;
    let costs = chunks(n, vocab_size, rows.device())
        .map(|(start, len)| {
            let logits = unembed(&rows.narrow(0, start, len))?; // [len, v]
            Ok(logits.cross_entropy_loss(
                &targets.narrow(0, start, len),
                none,
                Reduction::None,
                -100,
                0.0,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&costs, 0))
}

/// `rows: [n, d], out: [n, v] of any float dtype and device`
pub(crate) fn logits_into(
    rows: &Tensor,
    out: &Tensor,
    vocab_size: i64,
    unembed: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<()> {
    let n = row_count(rows)?;
    if out.size() != [n, vocab_size] {
        return Err(DecoderError::argument(format!(
            "the logits are {:?}, expected [{n}, {vocab_size}]",
            out.size()
        )));
    }
    for (start, len) in chunks(n, vocab_size, rows.device()) {
        out.narrow(0, start, len)
            .f_copy_(&unembed(&rows.narrow(0, start, len))?)?;
    }
    Ok(())
}

fn row_count(rows: &Tensor) -> Result<i64> {
    match rows.size()[..] {
        [n, _] => Ok(n),
        _ => Err(DecoderError::argument(format!(
            "rows are {:?}, expected [n, d]",
            rows.size()
        ))),
    }
}

/// (start, len) of each chunk of n rows.
fn chunks(n: i64, vocab_size: i64, device: Device) -> impl Iterator<Item = (i64, i64)> {
    let step = chunk_rows(vocab_size, device);
    (0..n)
        .step_by(step as usize)
        .map(move |start| (start, step.min(n - start)))
}
