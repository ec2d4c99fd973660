//! Chooses the tokens of many rows of logits.

use std::num::NonZero;

use harness_kernels::readback;
use tch::{Device, Kind, Tensor};

use super::{
    Needed, Packed, Sampling, choose_by_tensors,
    row::{self, Chosen, Scratch},
    tensors::COLUMNS,
};
use crate::generate::GenerateError;

/// Fewer values than this are not worth a second thread.
const VALUES_FOR_THREADS: usize = 1 << 16;

/// What was chosen in each of `n` rows. Statistics that were not needed are 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices {
    /// The tokens. `[n]`
    pub token: Vec<i64>,
    /// Probability of the token. `[n]`
    pub confidence: Vec<f32>,
    /// Largest minus second largest probability. `[n]`
    pub margin: Vec<f32>,
    /// Sum of p·ln(p + 1e-10). `[n]`
    pub neg_entropy: Vec<f32>,
    /// The first row whose logits are NaN or infinite.
    pub broken: Option<usize>,
    /// Rows in which more tokens equal the last one kept than were looked at;
    /// [`super::choose_by_sort`] settles them.
    pub open: Vec<usize>,
}

impl Choices {
    /// What was chosen in all rows of some calls of [`choose`], and other tensors that are wanted
    /// on the host, in one read.
    ///
    /// # Errors
    /// libtorch's.
    pub fn read(packed: &[Packed], also: &[&Tensor]) -> Result<(Self, Vec<Tensor>), GenerateError> {
        let chosen: Vec<&Tensor> = packed.iter().map(|part| &part.0).collect();
        let n_chosen = chosen.len();
        let mut read = readback::together(&[&chosen, also].concat())?;
        let also = read.split_off(n_chosen);
        let mut values = Vec::new();
        for part in read {
            values.extend(Vec::<f64>::try_from(&part.f_view([-1])?)?);
        }
        let mut all = Self::default();
        for (i, row) in values.chunks_exact(COLUMNS as usize).enumerate() {
            all.token.push(row[0] as i64);
            all.confidence.push(row[1] as f32);
            all.margin.push(row[2] as f32);
            all.neg_entropy.push(row[3] as f32);
            if row[4] == 0.0 {
                all.broken.get_or_insert(i);
            }
            if row[5] != 0.0 {
                all.open.push(i);
            }
        }
        Ok((all, also))
    }
}

/// Chooses a token in each row: the most likely one at temperature 0, else by the inverse of the
/// cumulative distribution (in order of token ids, in float64) at the row's draw. What it returns
/// stays where the logits are until it is read.
///
/// - `logits: [n, v] f32`, `draws: [n]` in [0, 1), read at temperatures above 0 only
///
/// # Errors
/// Shapes that do not fit; libtorch's.
pub fn choose(
    logits: &Tensor,
    sampling: &Sampling,
    needed: Needed,
    draws: &[f64],
) -> Result<Packed, GenerateError> {
    let shape = logits.size();
    let [n, v] = shape[..] else {
        return Err(GenerateError::request(format!(
            "logits have shape {shape:?}, not [n, v]"
        )));
    };
    let (n, v) = (n as usize, v as usize);
    if sampling.temperature > 0.0 && draws.len() != n {
        return Err(GenerateError::request(format!(
            "{} draws for {n} rows of logits",
            draws.len()
        )));
    }
    if n == 0 || v == 0 {
        let none = (Kind::Double, logits.device());
        return Ok(Packed(Tensor::f_zeros([0, COLUMNS], none)?));
    }
    if logits.device() != Device::Cpu {
        return choose_by_tensors(logits, sampling, needed, draws);
    }
    let logits = logits.f_to_kind(Kind::Float)?.f_contiguous()?;
    let heated = sampling.temperature > 0.0;
    let read_apart = sampling.apart() && needed.any();
    // Where the draw and the statistics read one distribution, one softmax serves both.
    let drawn = match (heated, needed.any() && !sampling.apart()) {
        (true, _) => Some(
            logits
                .f_div_scalar(sampling.temperature)?
                .f_softmax(-1, Kind::Float)?,
        ),
        (false, true) => Some(logits.f_softmax(-1, Kind::Float)?),
        (false, false) => None,
    };
    let read = if read_apart {
        Some(logits.f_softmax(-1, Kind::Float)?)
    } else {
        None
    };
    let values = |tensor: &Tensor| -> Result<Vec<f32>, GenerateError> {
        Ok(Vec::<f32>::try_from(&tensor.f_view([-1])?)?)
    };
    // At temperature 0 the token is the largest logit; the probabilities may round to equal ones.
    let logits = if heated { None } else { Some(values(&logits)?) };
    let drawn = drawn.as_ref().map(values).transpose()?;
    let read = read.as_ref().map(values).transpose()?;
    let one = |i: usize, scratch: &mut Scratch| -> Chosen {
        let span = i * v..(i + 1) * v;
        let row = row::Row {
            logits: logits.as_deref().map(|values| &values[span.clone()]),
            drawn: drawn.as_deref().map(|values| &values[span.clone()]),
            read: read.as_deref().map(|values| &values[span.clone()]),
            draw: draws.get(i).copied().unwrap_or(0.0),
        }; // [v] each
        row::choose(&row, sampling, needed, scratch)
    };
    packed(&parallel(n, n * v, &one))
}

/// Runs `one` for `0..n`, on as many threads as libtorch uses.
fn parallel(
    n: usize,
    values: usize,
    one: &(impl Fn(usize, &mut Scratch) -> Chosen + Sync),
) -> Vec<Chosen> {
    let available = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = usize::try_from(tch::get_num_threads())
        .unwrap_or(1)
        .min(available);
    let run = |rows: std::ops::Range<usize>| {
        let mut scratch = Scratch::default();
        rows.map(|i| one(i, &mut scratch)).collect::<Vec<_>>()
    };
    if threads < 2 || values < VALUES_FOR_THREADS || n < threads {
        return run(0..n);
    }
    let share = n.div_ceil(threads);
    std::thread::scope(|scope| {
        let run = &run;
        let others: Vec<_> = (1..threads)
            .map(|k| scope.spawn(move || run((k * share).min(n)..((k + 1) * share).min(n))))
            .collect();
        let mut all = run(0..share);
        for other in others {
            match other.join() {
                Ok(rows) => all.extend(rows),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

fn packed(rows: &[Chosen]) -> Result<Packed, GenerateError> {
    let values: Vec<f64> = (rows.iter())
        .flat_map(|row| {
            [
                row.token as f64,
                row.confidence,
                row.margin,
                row.neg_entropy,
                f64::from(u8::from(row.is_finite)),
                0.0,
            ]
        })
        .collect();
    let shape = [rows.len() as i64, COLUMNS];
    Ok(Packed(Tensor::f_from_slice(&values)?.f_view(shape)?))
}
