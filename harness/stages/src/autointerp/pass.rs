//! The pass: every SAE sees every row once, and the blocks run once for all of them.
//!
//! Codes stay where they were computed until a batch is done, or until they take [`READ_BYTES`]: a
//! device is waited for once for all layers and SAEs.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use harness_contract::protocol::Counters;
use harness_core::{
    autointerp::{Activity, BadCode, Codes},
    grid::{ModelShape, SAE_CHUNK_BYTES, sae_flops},
};
use harness_engine::{
    error::CellError,
    eval::Scope,
    plugin::{CacheMode, Checks, Model, Sae},
    steps,
    text::TextCodec,
};
use harness_kernels::readback;
use tch::{Kind, Tensor};

use super::text::{BatchRows, Text};
use crate::stage::Progress;

/// Bytes of codes that are brought to the host before the batch is done.
const READ_BYTES: usize = 16 << 20;

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

/// Codes of followers, by their number, where they were computed.
#[derive(Default)]
struct Unread {
    codes: Vec<(usize, EncodedRows)>,
    checks: Checks,
}

/// Active latents of the real rows of a batch where they were computed, chunk by chunk.
struct EncodedRows {
    w: usize,
    /// `[n, w] f32` each.
    acts: Vec<Tensor>,
    /// `[n, w]` each, in as few bytes as the SAE's latents need.
    latents: Vec<Tensor>,
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
        let mut unread = Unread::default();
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
            let here = (followers.iter().enumerate()).filter(|(_, f)| f.layer == layer);
            for (i, follower) in here {
                let sae = follower.sae.info();
                let n = rows.tokens.len() as u64;
                counters.sae_rows += n;
                let (d_model, d_sae) = (sae.d_model as u64, sae.d_sae as u64);
                counters.flops += sae_flops(n, d_model, d_sae, 0);
                let codes = encode(follower.sae, &x, &mut unread.checks)?;
                unread.codes.push((i, codes));
            }
            let is_last = layers.last() == Some(&layer);
            if !is_last && unread.bytes() < READ_BYTES {
                counters.phases.sae += clock.elapsed().as_secs_f64();
                continue;
            }
            let mut codes = std::mem::take(&mut unread).read()?;
            counters.phases.sae += clock.elapsed().as_secs_f64();

            let clock = Instant::now();
            let work = (followers.iter_mut().enumerate())
                .filter_map(|(i, follower)| Some((follower, codes.remove(&i)?)))
                .collect();
            take(work, &rows, &labels, reading.threads)?;
            counters.phases.windows += clock.elapsed().as_secs_f64();
        }
        counters.batches += 1;
        progress(range.end as u64, total as u64, "rows")?;
    }
    Ok(counters)
}

/// Codes of `x: [n, d_model] f32`, in chunks of rows that bound the memory of the latents.
fn encode(sae: &Sae, x: &Tensor, checks: &mut Checks) -> Result<EncodedRows, CellError> {
    let n = x.size()[0];
    let info = sae.info();
    let chunk = (SAE_CHUNK_BYTES / (4 * info.d_sae as u64)).max(1) as i64;
    let mut rows = EncodedRows {
        w: info.max_active,
        acts: Vec::new(),
        latents: Vec::new(),
    };
    for start in (0..n).step_by(chunk as usize) {
        let encoded = sae.encode_checked(&x.f_narrow(0, start, chunk.min(n - start))?, checks)?;
        rows.acts.push(encoded.acts);
        let narrow = encoded.latents.f_to_kind(latent_kind(info.d_sae))?;
        rows.latents.push(narrow);
    }
    Ok(rows)
}

/// The smallest kind that holds -1 and every latent below `d_sae`.
fn latent_kind(d_sae: usize) -> Kind {
    let holds = |highest: usize| d_sae.saturating_sub(1) <= highest;
    if holds(i16::MAX as usize) {
        Kind::Int16
    } else if holds(i32::MAX as usize) {
        Kind::Int
    } else {
        Kind::Int64
    }
}

impl Unread {
    /// Bytes of the codes.
    fn bytes(&self) -> usize {
        let tensors =
            (self.codes.iter()).flat_map(|(_, rows)| rows.acts.iter().chain(&rows.latents));
        tensors
            .map(|t| t.numel() * t.kind().elt_size_in_bytes())
            .sum()
    }

    /// Brings them to the host in one read, and checks what plugins returned.
    fn read(self) -> Result<BTreeMap<usize, BatchCodes>, CellError> {
        let mut tensors = self.checks.unread();
        let n_checks = tensors.len();
        for (_, rows) in &self.codes {
            tensors.extend(rows.acts.iter().chain(&rows.latents));
        }
        let host = readback::together(&tensors)?;
        let (checks, host) = host.split_at(n_checks);
        let mut host = host.iter();
        let mut codes = BTreeMap::new();
        for (i, EncodedRows { w, acts, latents }) in &self.codes {
            let mut read = BatchCodes {
                w: *w,
                acts: Vec::new(),
                latents: Vec::new(),
            };
            for part in host.by_ref().take(acts.len()) {
                let flat = part.f_view([-1])?;
                read.acts.extend(Vec::<f32>::try_from(&flat)?);
            }
            for part in host.by_ref().take(latents.len()) {
                let wide = part.f_view([-1])?.f_to_kind(Kind::Int64)?;
                read.latents.extend(Vec::<i64>::try_from(&wide)?);
            }
            codes.insert(*i, read);
        }
        self.checks.settle(checks)?;
        Ok(codes)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latents_take_as_few_bytes_as_hold_them() {
        let sizes = [1, 32_768, 32_769, 1 << 31, (1 << 31) + 1];
        let kinds = [Kind::Int16, Kind::Int16, Kind::Int, Kind::Int, Kind::Int64];
        for (d_sae, kind) in sizes.into_iter().zip(kinds) {
            assert_eq!(latent_kind(d_sae), kind);
            let ends = Tensor::from_slice(&[-1, d_sae as i64 - 1]);
            assert_eq!(ends.to_kind(kind).to_kind(Kind::Int64), ends);
        }
    }
}
