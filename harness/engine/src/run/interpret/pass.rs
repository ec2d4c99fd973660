//! The pass: every SAE sees every row once, and the blocks run once for all of them.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use harness_core::{
    autointerp::{Activity, BadCode, Codes},
    grid::{ModelShape, SAE_CHUNK_BYTES, sae_flops},
};
use harness_kernels::readback;
use harness_plan::protocol::Counters;
use tch::{Kind, Tensor};

use super::text::{BatchRows, Text};
use crate::{
    eval::Scope,
    plugin::{CacheMode, Model, Sae},
    run::{CellError, Progress},
    steps,
    text::TextCodec,
};

/// An SAE that follows the text.
pub(super) struct Follower<'a> {
    pub(super) layer: usize,
    pub(super) sae: &'a Sae,
    /// For messages: its set, layer and k.
    pub(super) name: String,
    /// Positions at which its activations count.
    pub(super) scope: Scope,
    /// Of those that counted, masked ones.
    pub(super) n_masked: u64,
    pub(super) activity: Activity,
}

/// Active latents of the real rows of a batch, on the host.
struct BatchCodes {
    w: usize,
    /// `[n_valid, w]`.
    acts: Vec<f32>,
    /// `[n_valid, w]`.
    latents: Vec<i64>,
}

/// How the text is read.
pub(super) struct Reading<'a> {
    pub(super) text: &'a Text,
    pub(super) codec: &'a TextCodec,
    pub(super) batch_rows: usize,
    /// Threads that follow.
    pub(super) threads: usize,
    /// Sizes of the model, for what the pass takes.
    pub(super) shape: ModelShape,
}

/// Takes the whole text through the model's blocks up to the deepest SAE.
///
/// # Errors
/// Failures of plugins and tensors; activations that cannot be; a stop that was asked for.
pub(super) fn run(
    model: &mut Model,
    reading: &Reading<'_>,
    followers: &mut [Follower<'_>],
    progress: Progress<'_>,
) -> Result<Counters, CellError> {
    let Reading { text, codec, .. } = *reading;
    let batch_rows = reading.batch_rows.max(1);
    let mut layers: Vec<usize> = followers.iter().map(|f| f.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let info = model.info()?.clone();
    let device = model.options()?.device;
    let mut counters = Counters {
        saes_read: followers.len() as u64,
        ..Counters::default()
    };
    let total = text.rows.len();
    for start in (0..total).step_by(batch_rows) {
        let clock = Instant::now();
        let range = start..(start + batch_rows).min(total);
        let (batch, rows) = text.batch(range.clone(), &info, codec)?;
        let labels: Vec<&[u32]> = (text.rows[range.clone()].iter())
            .map(|row| row.labels.as_slice())
            .collect();
        let valid: Vec<i64> = (0_i64..)
            .zip(&batch.is_valid)
            .filter_map(|(i, is_valid)| is_valid.then_some(i))
            .collect();
        let valid = Tensor::f_from_slice(&valid)?.f_to_device(device)?;
        counters.phases.data += clock.elapsed().as_secs_f64();

        let _step = steps::step();
        let mut pass = model.begin(&batch.mask_tensor()?, CacheMode::OFF)?;
        let clock = Instant::now();
        let mut resid = pass.embed(&batch.input_tensor()?, 0)?; // [b, t, d]
        counters.phases.clean += clock.elapsed().as_secs_f64();
        let mut from = 0;
        for &layer in &layers {
            let clock = Instant::now();
            pass.blocks(from, layer + 1, &mut resid)?;
            let (b, t, n_blocks) = (batch.b as u64, batch.t as u64, (layer + 1 - from) as u64);
            counters.batch_block_passes += n_blocks;
            counters.block_passes += b * n_blocks;
            counters.flops += n_blocks as f64 * reading.shape.block_flops(b, t);
            from = layer + 1;
            counters.phases.clean += clock.elapsed().as_secs_f64();

            let clock = Instant::now();
            let x = resid
                .f_reshape([-1, info.d_model as i64])?
                .f_index_select(0, &valid)?
                .f_to_kind(Kind::Float)?; // [n_valid, d]
            let mut work = Vec::new();
            for follower in followers.iter_mut().filter(|f| f.layer == layer) {
                let sae = follower.sae.info();
                let n = rows.tokens.len() as u64;
                counters.sae_rows += n;
                let (d_model, d_sae) = (sae.d_model as u64, sae.d_sae as u64);
                counters.flops += sae_flops(n, d_model, d_sae, 0);
                let codes = encode(follower.sae, &x)?;
                work.push((&mut *follower, codes));
            }
            counters.phases.sae += clock.elapsed().as_secs_f64();

            let clock = Instant::now();
            take(work, &rows, &labels, reading.threads)?;
            counters.phases.windows += clock.elapsed().as_secs_f64();
        }
        counters.batches += 1;
        progress(range.end as u64, total as u64, "rows")?;
    }
    Ok(counters)
}

/// Codes of `x: [n, d_model] f32`, in chunks of rows that bound the memory of the latents.
fn encode(sae: &Sae, x: &Tensor) -> Result<BatchCodes, CellError> {
    let n = x.size()[0];
    let w = sae.info().max_active;
    let chunk = (SAE_CHUNK_BYTES / (4 * sae.info().d_sae as u64)).max(1) as i64;
    let mut codes = BatchCodes {
        w,
        acts: Vec::with_capacity(n as usize * w),
        latents: Vec::with_capacity(n as usize * w),
    };
    for start in (0..n).step_by(chunk as usize) {
        let encoded = sae.encode(&x.f_narrow(0, start, chunk.min(n - start))?)?;
        codes.acts.extend(readback::f32s(&encoded.acts)?);
        codes.latents.extend(readback::i64s(&encoded.latents)?);
    }
    Ok(codes)
}

/// What an SAE found in a batch, without the SAE, which stays on its thread.
struct Found<'a> {
    name: &'a str,
    activity: &'a mut Activity,
    /// `[n_valid]`.
    counts: Vec<bool>,
    codes: BatchCodes,
}

impl Found<'_> {
    fn take(self, rows: &BatchRows, labels: &[&[u32]]) -> Result<(), (String, BadCode)> {
        let BatchCodes { w, acts, latents } = &self.codes;
        let mut start = 0;
        for ((row, len), labels) in (rows.first..).zip(&rows.lens).zip(labels) {
            let slots = start * w..(start + len) * w;
            let codes = Codes {
                w: *w,
                acts: &acts[slots.clone()],
                latents: &latents[slots],
            };
            let counts = &self.counts[start..start + len];
            let taken = self.activity.push_row(row, counts, codes, labels);
            taken.map_err(|error| (self.name.to_owned(), error))?;
            start += len;
        }
        Ok(())
    }
}

/// Hands the codes of a batch to their SAEs' activities, several at a time.
fn take(
    work: Vec<(&mut Follower<'_>, BatchCodes)>,
    rows: &BatchRows,
    labels: &[&[u32]],
    threads: usize,
) -> Result<(), CellError> {
    let threads = threads.clamp(1, work.len().max(1));
    let bad = |(name, error): (String, BadCode)| CellError::BadInput(format!("{name}: {error}"));
    let work = work.into_iter().map(|(follower, codes)| {
        let (counts, n_masked) = rows.counted(follower.scope);
        follower.n_masked += n_masked;
        Found {
            name: &follower.name,
            activity: &mut follower.activity,
            counts,
            codes,
        }
    });
    if threads == 1 {
        for found in work {
            found.take(rows, labels).map_err(bad)?;
        }
        return Ok(());
    }
    let queue = Mutex::new(work.collect::<Vec<_>>());
    let drain = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match next {
                Some(found) => found.take(rows, labels)?,
                None => return Ok(()),
            }
        }
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(drain)).collect();
        for one in running {
            let ended = one
                .join()
                .map_err(|_| CellError::Invalid("finding windows ended in a panic".to_owned()))?;
            ended.map_err(bad)?;
        }
        Ok(())
    })
}
