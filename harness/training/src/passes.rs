//! The stream of model passes: rows of text, corrupted by keyed draws, through the blocks up to the
//! last layer asked for.

use std::path::PathBuf;

use harness_contract::{jobs::TrainJob, stages::MAX_BAD_ROWS};
use harness_core::{policy::Policy, rng::Stream};
use harness_engine::{
    data::{DataError, DataOptions, Documents, PackPolicy, Packer, TokenBatch, TokenRow},
    error::CellError,
    plugin::{CacheMode, Model},
    text::TextCodec,
};
use tch::Tensor;

use crate::settings::Settings;

/// Rows of the data in order.
pub(crate) struct Rows<'a> {
    codec: &'a TextCodec,
    files: Vec<PathBuf>,
    context_length: usize,
    options: DataOptions,
    packer: Packer<'a, Documents>,
    /// Rows handed out, over all epochs.
    pub(crate) next: u64,
    /// Tokens of those rows.
    pub(crate) tokens: u64,
    /// Times the data was begun, 1 at first.
    pub(crate) epochs: u64,
}

impl<'a> Rows<'a> {
    pub(crate) fn open(
        codec: &'a TextCodec,
        files: &[PathBuf],
        context_length: usize,
        options: DataOptions,
    ) -> Result<Self, CellError> {
        let packer = packer(codec, files, context_length, &options)?;
        Ok(Self {
            codec,
            files: files.to_vec(),
            context_length,
            options,
            packer,
            next: 0,
            tokens: 0,
            epochs: 1,
        })
    }

    /// The next `n` rows, numbered over all epochs, so that a row's masks differ when it comes
    /// again; fewer before the data ends, none after.
    pub(crate) fn take(&mut self, n: usize) -> Result<Vec<TokenRow>, CellError> {
        let mut rows = Vec::with_capacity(n);
        while rows.len() < n {
            let Some(mut row) = self.packer.next().transpose()? else {
                break;
            };
            row.item = self.next;
            self.next += 1;
            self.tokens += row.ids.len() as u64;
            rows.push(row);
        }
        Ok(rows)
    }

    /// Begins the data again.
    pub(crate) fn restart(&mut self) -> Result<(), CellError> {
        if self.next == 0 {
            return Err(DataError::TooShort {
                found: 0,
                rows: 0,
                wanted: 1,
            }
            .into());
        }
        self.epochs += 1;
        self.packer = packer(self.codec, &self.files, self.context_length, &self.options)?;
        Ok(())
    }

    /// The bad rows of this epoch, for a person.
    ///
    /// # Errors
    /// More of them than allowed.
    pub(crate) fn bad_rows_note(&self) -> Result<Option<String>, CellError> {
        let documents = self.packer.documents();
        documents.check_bad_rows()?;
        Ok(documents.counts().bad_rows_note())
    }
}

/// The rows of the job's text.
pub(crate) fn open_rows<'c>(job: &TrainJob, codec: &'c TextCodec) -> Result<Rows<'c>, CellError> {
    let options = DataOptions {
        field: job.text_field.clone(),
        naming: "--text-field ",
        max_bad_rows: job.max_bad_rows.unwrap_or(MAX_BAD_ROWS),
        ..DataOptions::default()
    };
    Rows::open(codec, &job.data, job.context_length as usize, options)
}

fn packer<'a>(
    codec: &'a TextCodec,
    files: &[PathBuf],
    context_length: usize,
    options: &DataOptions,
) -> Result<Packer<'a, Documents>, CellError> {
    let documents = Documents::open(files, options.clone())?;
    Ok(Packer::new(
        documents,
        codec,
        PackPolicy::Pack,
        context_length,
    )?)
}

/// Masked positions of pass `pass`, `[b, t]`: one rate a pass, one draw a position, never the first
/// token nor padding.
pub(crate) fn masked_positions(batch: &TokenBatch, settings: &Settings, pass: u64) -> Vec<bool> {
    let stream = Stream::new(settings.seed, "sae-train");
    let rate =
        settings.t_min + (settings.t_max - settings.t_min) * stream.label("rate").uniform_at(pass);
    let masks = stream.label("mask");
    let mut masked = vec![false; batch.rows * batch.len];
    for (row, item) in batch.items.iter().enumerate() {
        let draws = masks.item(*item);
        for t in 1..batch.len {
            let at = row * batch.len + t;
            masked[at] = batch.attention_mask[at] == 1 && draws.uniform_at(t as u64) < rate;
        }
    }
    masked
}

/// The positions of a policy, as indices of the flattened batch.
pub(crate) fn positions(batch: &TokenBatch, masked: &[bool], policy: Policy) -> Vec<i64> {
    let wanted = |at: usize| {
        batch.attention_mask[at] == 1
            && match policy {
                Policy::Mask => masked[at],
                Policy::Unmask => !masked[at],
                Policy::Clean => true,
            }
    };
    (0..masked.len())
        .filter(|&at| wanted(at))
        .map(|at| at as i64)
        .collect()
}

/// Rows of residuals a policy gets from a pass: per layer `[n, d_model]`.
pub(crate) type PolicyRows = (Policy, Vec<Tensor>);

/// Runs one pass for the policies in `wanted`. Corrupted and clean rows are two forwards, each at
/// most once.
pub(crate) fn residuals(
    model: &mut Model,
    batch: &TokenBatch,
    settings: &Settings,
    pass: u64,
    wanted: &[Policy],
) -> Result<Vec<PolicyRows>, CellError> {
    let info = model.info()?.clone();
    let shape = [batch.rows as i64, batch.len as i64];
    let attention = Tensor::f_from_slice(&batch.attention_mask)?.f_view(shape)?;
    let device = model.options()?.device;
    let mut out = Vec::new();
    for corrupted in [true, false] {
        let served: Vec<Policy> = wanted
            .iter()
            .copied()
            .filter(|p| (*p != Policy::Clean) == corrupted)
            .collect();
        if served.is_empty() {
            continue;
        }
        let mut ids = batch.ids.clone();
        let mut masked = vec![false; ids.len()];
        if corrupted {
            masked = masked_positions(batch, settings, pass);
            let mask_token = info.mask_token_id.ok_or_else(|| {
                CellError::Invalid("a corrupted pass of a model without mask token".to_owned())
            })?;
            for (id, masked) in ids.iter_mut().zip(&masked) {
                if *masked {
                    *id = mask_token;
                }
            }
        }
        let mut indices = Vec::new();
        for policy in &served {
            let at = positions(batch, &masked, *policy);
            indices.push(Tensor::f_from_slice(&at)?.f_to_device(device)?);
        }
        let mut rows: Vec<Vec<Tensor>> = served.iter().map(|_| Vec::new()).collect();
        let mut forward = model.begin(&attention, CacheMode::OFF)?;
        let mut resid = forward.embed(&Tensor::f_from_slice(&ids)?.f_view(shape)?, 0)?; // [b, t, d]
        let mut first = 0;
        for layer in &settings.layers {
            forward.blocks(first, layer + 1, &mut resid)?;
            first = layer + 1;
            let flat = resid.f_view([-1, info.d_model as i64])?; // [b * t, d]
            for (rows, indices) in rows.iter_mut().zip(&indices) {
                rows.push(flat.f_index_select(0, indices)?); // [n, d]
            }
        }
        out.extend(served.into_iter().zip(rows));
    }
    Ok(out)
}
