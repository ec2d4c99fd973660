//! Reductions of the logits that never hold more than a chunk of them.

use tch::{Kind, Reduction, Tensor};

use crate::{DecoderError, Result};

/// Most bytes of float32 logits at a time.
pub const HEAD_CHUNK_BYTES: i64 = 64 << 20;

/// What samplers and order policies ask of a row of logits. All [n].
#[derive(Debug)]
pub struct RowStats {
    /// Most likely token, i64.
    pub argmax: Tensor,
    /// Its probability, f32.
    pub p1: Tensor,
    /// Its probability minus that of the second, f32.
    pub margin: Tensor,
    /// Shannon entropy in nats, f32.
    pub entropy: Tensor,
}

/// Rows of float32 logits that fit [`HEAD_CHUNK_BYTES`], at least 1.
pub(crate) fn chunk_rows(vocab_size: i64) -> i64 {
    (HEAD_CHUNK_BYTES / (4 * vocab_size.max(1))).max(1)
}

/// rows: [n, d], targets: [n] i64 -> [n] f32, nats
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
    let (low, high) = (
        targets.min().int64_value(&[]),
        targets.max().int64_value(&[]),
    );
    if low < 0 || high >= vocab_size {
        let id = if low < 0 { low } else { high };
        return Err(DecoderError::argument(format!(
            "target {id} is outside the vocabulary of {vocab_size} ids"
        )));
    }
    let targets = targets.to_device(rows.device());
    let none: Option<&Tensor> = None;
    let costs = chunks(n, vocab_size)
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

/// rows: [n, d], out: [n, v] of any float dtype and device
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
    for (start, len) in chunks(n, vocab_size) {
        out.narrow(0, start, len)
            .f_copy_(&unembed(&rows.narrow(0, start, len))?)?;
    }
    Ok(())
}

/// rows: [n, d]
pub(crate) fn row_stats(
    rows: &Tensor,
    vocab_size: i64,
    unembed: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<RowStats> {
    let n = row_count(rows)?;
    let mut parts: [Vec<Tensor>; 4] = Default::default();
    for (start, len) in chunks(n, vocab_size) {
        let log_p = unembed(&rows.narrow(0, start, len))?.log_softmax(-1, Kind::Float); // [len, v]
        let (top, ids) = log_p.topk(2.min(vocab_size), -1, true, true); // [len, 2]
        let p = top.exp();
        let p1 = p.select(1, 0);
        let p2 = if vocab_size > 1 {
            p.select(1, 1)
        } else {
            p1.zeros_like()
        };
        // p ln p is 0 where p underflows to 0, also where ln p is minus infinity.
        let entropy = -(log_p.exp() * log_p.clamp_min(f64::from(f32::MIN))).sum_dim_intlist(
            -1,
            false,
            Kind::Float,
        );
        let stats = [ids.select(1, 0), p1.shallow_clone(), &p1 - p2, entropy];
        for (part, stat) in parts.iter_mut().zip(stats) {
            part.push(stat);
        }
    }
    if n == 0 {
        let empty = |kind| Tensor::zeros([0], (kind, rows.device()));
        return Ok(RowStats {
            argmax: empty(Kind::Int64),
            p1: empty(Kind::Float),
            margin: empty(Kind::Float),
            entropy: empty(Kind::Float),
        });
    }
    let [argmax, p1, margin, entropy] = parts.map(|part| Tensor::cat(&part, 0));
    Ok(RowStats {
        argmax,
        p1,
        margin,
        entropy,
    })
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
fn chunks(n: i64, vocab_size: i64) -> impl Iterator<Item = (i64, i64)> {
    let step = chunk_rows(vocab_size);
    (0..n)
        .step_by(step as usize)
        .map(move |start| (start, step.min(n - start)))
}
