//! What belongs to a batch and not to the model: positions, rotary tables, masks, stored keys and
//! values.

use tch::{Device, Kind, Tensor};

use crate::config::{Attention, DecoderConfig, Family, Positions, Rope, RopeScaling};
use crate::rope::RopeTables;
use crate::{DecoderError, Result};

/// Whether keys and values of earlier calls are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Every call sees the whole sequence; blocks are pure functions of the residual.
    Off,
    /// New positions extend stored keys and values (causal models only).
    On,
}

/// The state of one batch through a model.
///
/// `valid` rows repeat: the residual may have a multiple of the batch's rows, and row r uses row `r
/// % b` of the mask. So several SAEs, or several steering directions, go through the suffix of a
/// model together.
#[derive(Debug)]
pub struct ForwardContext {
    batch: i64,
    capacity: i64,
    kind: Kind,
    attention: Attention,
    positions: Tensor,     // [1 or b, capacity] i64
    valid: Option<Tensor>, // [b, capacity] bool, None without padding
    rotation: Rotation,
    cache: Option<Vec<Option<Stored>>>,
    chunk: Option<Chunk>,
    start: i64,
    len: i64,
}

/// Where the rotary rows of a chunk come from.
#[derive(Debug)]
enum Rotation {
    /// Positions are learned.
    None,
    /// Computed once for all slots.
    Whole(RopeTables),
    /// Frequencies depend on how long the text is when a chunk is entered (dynamic scaling).
    OfChunk {
        rope: Rope,
        head_dim: i64,
        kind: Kind,
    },
}

/// Rotary rows and mask of the current slots, for a number of rows.
#[derive(Debug)]
pub(crate) struct Chunk {
    rows: i64,
    pub(crate) rope: Option<RopeTables>,
    pub(crate) mask: Mask,
}

/// What the attention kernel is told. The fewer restrictions, the faster it runs.
#[derive(Debug)]
pub(crate) enum Mask {
    /// Every query sees every key.
    None,
    /// Queries and keys are the same slots, and a query sees keys up to its own.
    Causal,
    /// Added to the scores, 0 where a query sees a key and minus infinity elsewhere: [r or 1, 1,
    /// queries or 1, keys] in the model's dtype. A mask of booleans would be turned into this in
    /// every block.
    Bias(Tensor),
}

/// Keys and values of one block: [r, n_kv_heads, capacity, head_dim], filled up to `len`.
#[derive(Debug)]
struct Stored {
    keys: Tensor,
    values: Tensor,
    len: i64,
}

impl ForwardContext {
    /// A context for `batch` rows of up to `capacity` tokens on a model of the given dtype and
    /// device.
    ///
    /// attention_mask: [batch, capacity], non-zero where valid; `None` when nothing is padding.
    /// With a cache it covers the positions still to come as well.
    ///
    /// # Errors
    /// A shape that does not fit, more positions than the model has, or a cache for a bidirectional
    /// model.
    pub(crate) fn new(
        config: &DecoderConfig,
        kind: Kind,
        device: Device,
        (batch, capacity): (i64, i64),
        attention_mask: Option<&Tensor>,
        cache: Cache,
    ) -> Result<Self> {
        if batch < 1 || capacity < 1 {
            return Err(DecoderError::argument(format!(
                "a batch of {batch} rows of {capacity} tokens is empty"
            )));
        }
        if capacity > config.max_positions {
            return Err(DecoderError::argument(format!(
                "{capacity} tokens do not fit the model's context of {} positions; shorten the text",
                config.max_positions
            )));
        }
        if cache == Cache::On && config.attention == Attention::Bidirectional {
            return Err(DecoderError::argument(
                "stored keys and values need causal attention; this model is bidirectional",
            ));
        }
        let valid = match attention_mask {
            None => None,
            Some(mask) if mask.size() != [batch, capacity] => {
                return Err(DecoderError::argument(format!(
                    "the attention mask is {:?}, expected [{batch}, {capacity}]",
                    mask.size()
                )));
            }
            Some(mask) => {
                // The host's masks come in host memory, where they are read without waiting for a
                // device.
                let flags = Vec::<u8>::try_from(
                    mask.to_device(Device::Cpu)
                        .ne(0)
                        .to_kind(Kind::Uint8)
                        .reshape([-1]),
                )?;
                flags.contains(&0).then(|| mask.to_device(device).ne(0))
            }
        };
        let positions = positions(config.positions, valid.as_ref(), capacity, device);
        let rotation = rotation(config, kind, &positions);
        let cache = (cache == Cache::On).then(|| (0..config.n_layers).map(|_| None).collect());
        Ok(Self {
            batch,
            capacity,
            kind,
            attention: config.attention,
            positions,
            valid,
            rotation,
            cache,
            chunk: None,
            start: 0,
            len: capacity,
        })
    }

    /// Rows of the attention mask, b.
    pub fn batch(&self) -> i64 {
        self.batch
    }

    /// Most tokens a row can hold.
    pub fn capacity(&self) -> i64 {
        self.capacity
    }

    /// Positions of every slot. [1 or b, capacity] i64
    pub fn positions(&self) -> &Tensor {
        &self.positions
    }

    /// Declares that the next block calls are about the slots `start..start + len`.
    pub(crate) fn enter(&mut self, start: i64, len: i64) -> Result<()> {
        if len < 1 || start < 0 || start + len > self.capacity {
            return Err(DecoderError::argument(format!(
                "tokens {start} to {} do not fit a context of {} slots",
                start + len,
                self.capacity
            )));
        }
        if self.cache.is_none() && start != 0 {
            return Err(DecoderError::argument(format!(
                "tokens start at {start}, but without stored keys every call holds the whole sequence; begin with a cache"
            )));
        }
        if (start, len) != (self.start, self.len) {
            (self.start, self.len, self.chunk) = (start, len, None);
        }
        Ok(())
    }

    /// Positions of the current slots, repeated to `rows`. [1 or rows, len] i64
    pub(crate) fn chunk_positions(&self, rows: i64) -> Tensor {
        let part = self.positions.narrow(1, self.start, self.len);
        let batch = part.size()[0];
        if batch == 1 || batch == rows {
            part
        } else {
            part.repeat([rows / batch, 1])
        }
    }

    /// Checks a residual [rows, len, d] against the current slots.
    pub(crate) fn check(&self, shape: &[i64], d_model: i64) -> Result<()> {
        let fits = matches!(shape, [rows, len, d]
            if *rows > 0 && rows % self.batch == 0 && *len == self.len && *d == d_model);
        if fits {
            return Ok(());
        }
        Err(DecoderError::argument(format!(
            "the residual is {shape:?}, expected [a multiple of {}, {}, {d_model}]",
            self.batch, self.len
        )))
    }

    /// Rotary rows and mask for `rows` rows of the current slots, computed once per chunk and row
    /// count.
    pub(crate) fn prepare(&mut self, rows: i64) {
        if self.chunk.as_ref().is_some_and(|chunk| chunk.rows == rows) {
            return;
        }
        let rope = match &self.rotation {
            Rotation::None => None,
            Rotation::Whole(tables) => Some(tables.chunk(self.start, self.len, rows)),
            Rotation::OfChunk {
                rope,
                head_dim,
                kind,
            } => {
                let positions = self.positions.narrow(1, self.start, self.len);
                let tables = RopeTables::new(rope, *head_dim, &positions, *kind);
                Some(tables.chunk(0, self.len, rows))
            }
        };
        self.chunk = Some(Chunk {
            rows,
            rope,
            mask: self.mask(rows),
        });
    }

    /// What [`Self::prepare`] computed.
    pub(crate) fn chunk(&self) -> Result<&Chunk> {
        self.chunk
            .as_ref()
            .ok_or_else(|| DecoderError::argument("the context has no current tokens; embed first"))
    }

    /// Queries are the current slots; keys are those and, with a cache, all before them.
    ///
    /// A query at padding has nothing defined to compute, but must stay finite: it sees itself
    /// (causal), and a row without any valid key sees all of them (bidirectional). Valid queries
    /// see exactly the valid keys, which is the reference's rule for both diffusion families:
    /// whether padding queries are masked too changes nothing that counts.
    fn mask(&self, rows: i64) -> Mask {
        let keys = self.start + self.len;
        let repeat = |allowed: Tensor| {
            let batch = allowed.size()[0];
            let bias = Tensor::zeros(allowed.size(), (self.kind, allowed.device()))
                .masked_fill(&allowed.logical_not(), f64::NEG_INFINITY);
            Mask::Bias(if batch == 1 || batch == rows {
                bias
            } else {
                bias.repeat([rows / batch, 1, 1, 1])
            })
        };
        let valid = self.valid.as_ref().map(|valid| valid.narrow(1, 0, keys)); // [b, keys]
        match (self.attention, valid) {
            (Attention::Bidirectional, None) => Mask::None,
            (Attention::Bidirectional, Some(valid)) => {
                let empty = valid.any_dim(1, true).logical_not(); // [b, 1]
                repeat(valid.logical_or(&empty).unsqueeze(1).unsqueeze(1)) // [b, 1, 1, keys]
            }
            (Attention::Causal, None) if self.start == 0 => Mask::Causal,
            (Attention::Causal, None) if self.len == 1 => Mask::None,
            (Attention::Causal, valid) => {
                let device = self.positions.device();
                let query =
                    Tensor::arange_start(self.start, keys, (Kind::Int64, device)).unsqueeze(-1); // [len, 1]
                let key = Tensor::arange(keys, (Kind::Int64, device)); // [keys]
                let earlier = key.le_tensor(&query).unsqueeze(0).unsqueeze(0); // [1, 1, len, keys]
                match valid {
                    None => repeat(earlier),
                    Some(valid) => {
                        let itself = key.eq_tensor(&query); // [len, keys]
                        let valid = valid.unsqueeze(1).unsqueeze(1); // [b, 1, 1, keys]
                        repeat(earlier.logical_and(&valid).logical_or(&itself)) // [b, 1, len, keys]
                    }
                }
            }
        }
    }

    /// Adds the current slots' keys and values of a block and returns all up to now; without a
    /// cache, returns them.
    ///
    /// `keys, values: [r, n_kv_heads, len, head_dim] -> [r, n_kv_heads, start + len, head_dim]`
    pub(crate) fn extend(
        &mut self,
        layer: i64,
        keys: Tensor,
        values: Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let (start, len, capacity) = (self.start, self.len, self.capacity);
        let Some(cache) = self.cache.as_mut() else {
            return Ok((keys, values));
        };
        let Some(slot) = cache.get_mut(layer as usize) else {
            return Err(DecoderError::argument(format!(
                "the context has no block {layer}"
            )));
        };
        let size = keys.size(); // [r, n_kv_heads, len, head_dim]
        let stored = slot.get_or_insert_with(|| {
            let shape = [size[0], size[1], capacity, size[3]];
            let empty = || Tensor::zeros(shape, (keys.kind(), keys.device()));
            Stored {
                keys: empty(),
                values: empty(),
                len: 0,
            }
        });
        if stored.len < start {
            return Err(DecoderError::argument(format!(
                "tokens start at {start}, but block {layer} has stored only {}; earlier tokens must pass every block first",
                stored.len
            )));
        }
        if stored.keys.size()[0] != size[0] {
            return Err(DecoderError::argument(format!(
                "the residual has {} rows, but block {layer} stored {}",
                size[0],
                stored.keys.size()[0]
            )));
        }
        tch::no_grad(|| {
            stored.keys.narrow(2, start, len).copy_(&keys);
            stored.values.narrow(2, start, len).copy_(&values);
        });
        stored.len = start + len;
        Ok((
            stored.keys.narrow(2, 0, start + len),
            stored.values.narrow(2, 0, start + len),
        ))
    }
}

fn rotation(config: &DecoderConfig, kind: Kind, positions: &Tensor) -> Rotation {
    if config.family == Family::Gpt2 {
        return Rotation::None;
    }
    let kind = match config.rope.rotate_in_f32 {
        true => Kind::Float,
        false => kind,
    };
    let (rope, head_dim) = (config.rope, config.head_dim);
    match rope.scaling {
        RopeScaling::Dynamic { .. } => Rotation::OfChunk {
            rope,
            head_dim,
            kind,
        },
        _ => Rotation::Whole(RopeTables::new(&rope, head_dim, positions, kind)),
    }
}

/// [1 or b, capacity] i64
fn positions(rule: Positions, valid: Option<&Tensor>, capacity: i64, device: Device) -> Tensor {
    match (rule, valid) {
        (Positions::CountValid, Some(valid)) => {
            let count = valid.to_kind(Kind::Int64).cumsum(1, Kind::Int64) - 1;
            count.where_self(valid, &count.ones_like())
        }
        _ => Tensor::arange(capacity, (Kind::Int64, device)).unsqueeze(0),
    }
}
