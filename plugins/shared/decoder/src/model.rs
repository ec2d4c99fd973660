//! The one interface of all families.

use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use crate::config::DecoderConfig;
use crate::context::{Cache, ForwardContext};
use crate::head;
use crate::names::Slot;
use crate::{DecoderError, Result};

/// A decoder-only model that can be entered and left between any two blocks.
///
/// The methods up to [`Self::project`] are what a model is; the others are built on them and are
/// what callers use. A call on a residual of the wrong shape is an error; an operation that
/// libtorch refuses (memory, for one) panics as everywhere in tch.
pub trait Decoder: Send {
    /// Sizes and rules.
    fn config(&self) -> &DecoderConfig;

    /// Dtype of the weights and of the residual.
    fn kind(&self) -> Kind;

    /// Where the weights are.
    fn device(&self) -> Device;

    /// Embedding of checked tokens. tokens: [r, t], positions: [1 or r, t] -> [r, t, d]
    fn lookup(&self, tokens: &Tensor, positions: &Tensor) -> Tensor;

    /// One block on a checked residual. resid: [r, t, d] -> [r, t, d]
    ///
    /// # Errors
    /// Stored keys and values that do not fit the residual.
    fn block(&self, layer: i64, resid: &Tensor, context: &mut ForwardContext) -> Result<Tensor>;

    /// Final norm. [.., d] -> [.., d]
    ///
    /// # Errors
    /// Rows of another width.
    fn norm(&self, rows: &Tensor) -> Result<Tensor>;

    /// Head, in the model's dtype. [.., d] -> [.., v]
    ///
    /// # Errors
    /// Rows of another width.
    fn project(&self, normed: &Tensor) -> Result<Tensor>;

    /// Starts a batch of `shape` = (b, capacity) tokens.
    ///
    /// attention_mask: [b, capacity], non-zero where valid; `None` when nothing is padding (and
    /// fastest). With a cache it also covers the positions still to be generated.
    ///
    /// # Errors
    /// An empty batch, a mask of another shape, more tokens than the model has positions, a cache
    /// for a bidirectional model.
    fn begin(
        &self,
        shape: (i64, i64),
        attention_mask: Option<&Tensor>,
        cache: Cache,
    ) -> Result<ForwardContext> {
        ForwardContext::new(
            self.config(),
            self.kind(),
            self.device(),
            shape,
            attention_mask,
            cache,
        )
    }

    /// The input of block 0 for the slots `start..start + t`; `start` is 0 without a cache.
    ///
    /// `tokens: [r, t] i64 with r a multiple of the batch -> [r, t, d]`
    ///
    /// # Errors
    /// A shape that does not fit the context, or an id outside the vocabulary.
    fn embed(&self, tokens: &Tensor, start: i64, context: &mut ForwardContext) -> Result<Tensor> {
        let rows = check_tokens(tokens, self.config(), context)?;
        context.enter(start, tokens.size()[1])?;
        Ok(self.lookup(
            &tokens.to_device(self.device()),
            &context.chunk_positions(rows),
        ))
    }

    /// Runs the blocks `first..last`. The result is `resid_post[last - 1]`, or the residual itself
    /// for an empty range.
    ///
    /// `resid: [r, t, d] with r a multiple of the batch -> [r, t, d]`
    ///
    /// With a cache every block has to see every chunk once, in order.
    ///
    /// # Errors
    /// A range outside the model, a shape that does not fit the context, a gap in the stored keys.
    fn blocks(
        &self,
        first: i64,
        last: i64,
        resid: &Tensor,
        context: &mut ForwardContext,
    ) -> Result<Tensor> {
        let n_layers = self.config().n_layers;
        if first < 0 || first > last || last > n_layers {
            return Err(DecoderError::argument(format!(
                "blocks {first} to {last} (exclusive) out of range: the model has {n_layers} blocks, 0 to {}",
                n_layers - 1
            )));
        }
        context.check(&resid.size(), self.config().d_model)?;
        context.prepare(resid.size()[0]);
        let mut resid = resid.shallow_clone();
        for layer in first..last {
            resid = self.block(layer, &resid, context)?;
        }
        Ok(resid)
    }

    /// Final norm of residual rows. [.., d] -> [.., d]
    ///
    /// # Errors
    /// Rows of another width.
    fn final_norm(&self, rows: &Tensor) -> Result<Tensor> {
        let d = self.config().d_model;
        if rows.size().last() != Some(&d) {
            return Err(DecoderError::argument(format!(
                "rows are {:?}, expected [.., {d}]",
                rows.size()
            )));
        }
        self.norm(rows)
    }

    /// Logits of residual rows: final norm, then head. [.., d] -> [.., v] f32
    ///
    /// # Errors
    /// Rows of another width.
    fn unembed(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(self.project(&self.final_norm(rows)?)?.to_kind(Kind::Float))
    }

    /// Writes the logits of residual rows into `out`, a chunk of rows at a time.
    ///
    /// `rows: [n, d], out: [n, v]`
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn unembed_into(&self, rows: &Tensor, out: &Tensor) -> Result<()> {
        head::logits_into(rows, out, self.config().vocab_size, |chunk| {
            self.unembed(chunk)
        })
    }

    /// Cross-entropy of each row, in nats, without ever holding the logits of all rows.
    ///
    /// `rows: [n, d], targets: [n] i64 -> [n] f32`
    ///
    /// # Errors
    /// Shapes that do not fit, or a target outside the vocabulary.
    fn unembed_ce(&self, rows: &Tensor, targets: &Tensor) -> Result<Tensor> {
        head::cross_entropy(rows, targets, self.config().vocab_size, |chunk| {
            self.unembed(chunk)
        })
    }

    /// Logits of a whole batch, for small models and training. tokens: [b, t], attention_mask: [b,
    /// t] -> [b, t, v] f32
    ///
    /// # Errors
    /// As for [`Self::begin`] and [`Self::embed`].
    fn forward(&self, tokens: &Tensor, attention_mask: Option<&Tensor>) -> Result<Tensor> {
        let (b, t) = batch_shape(tokens)?;
        let mut context = self.begin((b, t), attention_mask, Cache::Off)?;
        let resid = self.embed(tokens, 0, &mut context)?;
        let resid = self.blocks(0, self.config().n_layers, &resid, &mut context)?;
        self.unembed(&resid)
    }

    /// Bytes of activations of a forward pass over [b, t] tokens without gradients, weights aside
    /// (an estimate).
    fn memory_estimate(&self, b: i64, t: i64) -> u64 {
        let config = self.config();
        let width = self.kind().elt_size_in_bytes() as i64;
        let heads = (config.n_heads + 2 * config.n_kv_heads) * config.head_dim;
        // The residual before and after a block and its normed copy in f32; queries, keys and
        // values twice (before and after the rotation); the MLP's two halves and their product.
        let per_token = 2 * config.d_model * width
            + 4 * config.d_model
            + 2 * heads * width
            + 3 * config.d_ff * width;
        let mask = b * t * t * width;
        let logits =
            head::chunk_rows(config.vocab_size, self.device()).min(b * t) * config.vocab_size * 8;
        (b * t * per_token + mask + logits).max(0) as u64
    }
}

/// A model's tensors by their place.
pub(crate) struct Parameters {
    slots: HashMap<Slot, Tensor>,
}

impl Parameters {
    pub(crate) fn new(slots: HashMap<Slot, Tensor>) -> Self {
        Self { slots }
    }

    pub(crate) fn take(&mut self, slot: Slot) -> Result<Tensor> {
        self.slots.remove(&slot).ok_or_else(|| {
            DecoderError::argument(format!(
                "no tensor for {:?} of block {:?}",
                slot.role, slot.block
            ))
        })
    }
}

fn batch_shape(tokens: &Tensor) -> Result<(i64, i64)> {
    match tokens.size()[..] {
        [b, t] => Ok((b, t)),
        _ => Err(DecoderError::argument(format!(
            "tokens are {:?}, expected [b, t]",
            tokens.size()
        ))),
    }
}

/// The rows of a token batch that fits the context and the vocabulary.
///
/// An id outside the vocabulary would take a CUDA device down. Ids in host memory are looked at;
/// those on a device the harness has looked at before they went there, since a second look would
/// make every pass wait for the device.
fn check_tokens(tokens: &Tensor, config: &DecoderConfig, context: &ForwardContext) -> Result<i64> {
    let (rows, len) = batch_shape(tokens)?;
    if rows < 1 || len < 1 || rows % context.batch() != 0 {
        return Err(DecoderError::argument(format!(
            "tokens are [{rows}, {len}], expected [a multiple of {}, 1 to {}]",
            context.batch(),
            context.capacity()
        )));
    }
    let ids = match tokens.device() {
        Device::Cpu => Vec::<i64>::try_from(tokens.contiguous().view([-1]))?,
        _ => Vec::new(),
    };
    if let Some(id) = ids.iter().find(|id| !(0..config.vocab_size).contains(*id)) {
        return Err(DecoderError::argument(format!(
            "token id {id} is outside the vocabulary of {} ids; is this the model's tokenizer?",
            config.vocab_size
        )));
    }
    Ok(rows)
}
