use std::{cell::Cell, path::Path, rc::Rc};

use harness_abi::{
    CacheMode, Device, ErrorCode, ForwardBox, ForwardRequest, LoadRequest, ModelBox,
};
use harness_contract::sources::ModelFacts;
use harness_core::work::PassWork;
use serde_json::Value;
use tch::{Kind, Tensor};

use super::{
    PluginFailure,
    failure::Origin,
    tensors::{self, Lent},
};
use crate::steps;

/// How a model was trained to predict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// Next-token prediction.
    Autoregressive,
    /// Masked (absorbing) diffusion.
    MaskedDiffusion,
}

/// Which positions a position may attend to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Earlier positions and itself.
    Causal,
    /// All positions.
    Bidirectional,
}

/// What the host knows of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Family: `dream`, `llada`, `qwen2`, `llama`, `gpt2`, or a plugin's own.
    pub family: String,
    pub objective: Objective,
    pub attention: Attention,
    /// 1 where logits at position i score position i + 1, else 0.
    pub logit_offset: usize,
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Rows of the output head.
    pub vocab_size: usize,
    /// Longest context.
    pub max_positions: usize,
    pub n_params: u64,
    /// Mask token, for masked diffusion.
    pub mask_token_id: Option<i64>,
    pub pad_token_id: Option<i64>,
    pub bos_token_id: Option<i64>,
    /// Tokens that end a text.
    pub eos_token_ids: Vec<i64>,
}

#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Device of weights and activations.
    pub device: tch::Device,
    /// Element type of weights and residuals.
    pub kind: Kind,
    /// Accept NaN and infinite weights.
    pub allow_nan: bool,
}

/// The newest version of an adapter's facts that is read.
const FACTS_VERSION: u64 = 1;

/// Work done by a model so far.
type Work = Cell<PassWork>;

/// A model adapter, with its weights once [`Model::load`] has run.
pub struct Model {
    adapter: ModelBox,
    origin: Origin,
    loaded: Option<(ModelInfo, LoadOptions)>,
    work: Rc<Work>,
}

/// Blocks as most models have them (as many keys as queries, a gated feed-forward layer), so wide
/// that the model has the number of parameters that its adapter says.
fn usual_blocks(info: &ModelInfo) -> ModelFacts {
    let (d, n_layers) = (info.d_model as u64, info.n_layers as u64);
    // Embedding and head.
    let vocabulary = 2 * d * info.vocab_size as u64;
    let attention = 4 * d * d;
    let of_block = info.n_params.saturating_sub(vocabulary) / n_layers.max(1);
    let d_ff = of_block.saturating_sub(attention) / (3 * d).max(1);
    ModelFacts {
        d_ff: u32::try_from(d_ff).unwrap_or(u32::MAX).max(1),
        n_ff: 3,
        d_kv: u32::try_from(d).unwrap_or(u32::MAX),
        ..ModelFacts::default()
    }
}

impl Model {
    pub(super) fn new(adapter: ModelBox, origin: Origin) -> Self {
        Self {
            adapter,
            origin,
            loaded: None,
            work: Rc::default(),
        }
    }

    /// Reads the configuration in `dir` without weights.
    ///
    /// # Errors
    /// A folder that is not of this family.
    pub fn inspect(&self, dir: &Path) -> Result<ModelInfo, PluginFailure> {
        let dir = dir.to_string_lossy();
        let info = self
            .origin
            .call("inspect", || self.adapter.inspect(dir.as_ref().into()))?;
        self.host_info("inspect", info)
    }

    /// What a plan needs of the checkpoint in `dir`, read without weights. Of an adapter that does
    /// not answer this, the sizes of blocks are assumed (`usual_blocks`).
    ///
    /// # Errors
    /// A folder that is not of this family; facts of a later version, or none that can be read.
    pub fn facts(&self, dir: &Path) -> Result<ModelFacts, PluginFailure> {
        let info = self.inspect(dir)?;
        let path = dir.to_string_lossy();
        let call = || self.adapter.facts(path.as_ref().into());
        let stated = match self.origin.call("facts", call) {
            Ok(text) => self
                .stated(&text)
                .map_err(|why| self.origin.broken("facts", why))?,
            Err(failure) if failure.code == ErrorCode::UNSUPPORTED => usual_blocks(&info),
            Err(failure) => return Err(failure),
        };
        let narrow = |n: usize| {
            u32::try_from(n).map_err(|_| {
                self.origin
                    .broken("inspect", format!("{n} is too large for a size"))
            })
        };
        Ok(ModelFacts {
            is_diffusion: info.objective == Objective::MaskedDiffusion,
            logit_offset: narrow(info.logit_offset)?,
            n_layers: narrow(info.n_layers)?,
            d_model: narrow(info.d_model)?,
            vocab_size: narrow(info.vocab_size)?,
            ..stated
        })
    }

    /// The facts in an adapter's answer; what [`ModelInfo`] says is left at zero.
    fn stated(&self, text: &str) -> Result<ModelFacts, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match value["version"].as_u64() {
            Some(FACTS_VERSION) => {}
            Some(version) => {
                return Err(format!(
                    "its facts are of version {version}, and {FACTS_VERSION} is the newest that is read"
                ));
            }
            None => return Err("its facts name no version".to_owned()),
        }
        let size = |key: &str| {
            let n = value[key].as_u64().and_then(|n| u32::try_from(n).ok());
            n.filter(|n| *n > 0)
                .ok_or_else(|| format!("`{key}` is {}, not a size", value[key]))
        };
        Ok(ModelFacts {
            d_ff: size("d_ff")?,
            n_ff: size("n_ff")?,
            d_kv: size("d_kv")?,
            blocks: value["blocks"].as_str().map(str::to_owned),
            schedule_eps: value["schedule_eps"].as_f64(),
            ..ModelFacts::default()
        })
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// Missing or damaged files, too little memory.
    pub fn load(&mut self, dir: &Path, options: LoadOptions) -> Result<ModelInfo, PluginFailure> {
        let dir = dir.to_string_lossy();
        let device = self.abi_device(options.device)?;
        let dtype = tensors::dtype(options.kind).ok_or_else(|| {
            self.origin
                .host("load", format!("dtype {:?}", options.kind))
        })?;
        let request = LoadRequest {
            dir: dir.as_ref().into(),
            device,
            dtype,
            allow_nan: options.allow_nan,
        };
        let info = self.origin.call("load", || self.adapter.load(request))?;
        let info = self.host_info("load", info)?;
        self.loaded = Some((info.clone(), options));
        Ok(info)
    }

    fn abi_device(&self, device: tch::Device) -> Result<Device, PluginFailure> {
        tensors::device(device)
            .ok_or_else(|| self.origin.host("load", format!("device {device:?}")))
    }

    /// What [`Model::load`] returned.
    ///
    /// # Errors
    /// Before `load`.
    pub fn info(&self) -> Result<&ModelInfo, PluginFailure> {
        self.loaded
            .as_ref()
            .map(|(info, _)| info)
            .ok_or_else(|| self.origin.host("info", "the model is not loaded"))
    }

    /// Device and element type of residuals.
    ///
    /// # Errors
    /// Before `load`.
    pub fn options(&self) -> Result<LoadOptions, PluginFailure> {
        self.loaded
            .as_ref()
            .map(|(_, options)| *options)
            .ok_or_else(|| self.origin.host("options", "the model is not loaded"))
    }

    /// Starts a forward. `attention_mask: [b, capacity]`, nonzero at real tokens (tokens still to
    /// be generated included).
    ///
    /// # Errors
    /// A capacity over `max_positions`; a cache for a bidirectional model.
    pub fn begin(
        &mut self,
        attention_mask: &Tensor,
        cache: CacheMode,
    ) -> Result<Pass, PluginFailure> {
        let (info, options) = self
            .loaded
            .clone()
            .ok_or_else(|| self.origin.host("begin", "the model is not loaded"))?;
        let host = |error: tch::TchError| self.origin.host("begin", error);
        let mask = attention_mask
            .f_ne(0)
            .and_then(|mask| mask.f_to_device(tch::Device::Cpu))
            .and_then(|mask| mask.f_to_kind(Kind::Uint8))
            .map_err(host)?;
        let lent = Lent::read(&mask).map_err(|error| self.origin.host("begin", error))?;
        let request = ForwardRequest {
            attention_mask: lent.view(),
            cache,
        };
        let forward = self.origin.call("begin", || self.adapter.begin(request))?;
        Ok(Pass {
            forward,
            origin: self.origin.clone(),
            info,
            options,
            work: Rc::clone(&self.work),
            stored: 0,
        })
    }

    /// Work of all passes so far.
    #[must_use]
    pub fn work(&self) -> PassWork {
        self.work.get()
    }

    fn host_info(
        &self,
        method: &'static str,
        info: harness_abi::ModelInfo,
    ) -> Result<ModelInfo, PluginFailure> {
        let size = |what: &str, value: u64| {
            usize::try_from(value)
                .ok()
                .filter(|&value| value > 0)
                .ok_or_else(|| {
                    self.origin
                        .broken(method, format!("model info: {what} is {value}"))
                })
        };
        Ok(ModelInfo {
            family: info.family.to_string(),
            objective: match info.objective {
                harness_abi::Objective::AUTOREGRESSIVE => Objective::Autoregressive,
                harness_abi::Objective::MASKED_DIFFUSION => Objective::MaskedDiffusion,
                other => {
                    return Err(self
                        .origin
                        .broken(method, format!("unknown objective {}", other.0)));
                }
            },
            attention: match info.attention {
                harness_abi::Attention::CAUSAL => Attention::Causal,
                harness_abi::Attention::BIDIRECTIONAL => Attention::Bidirectional,
                other => {
                    return Err(self
                        .origin
                        .broken(method, format!("unknown attention {}", other.0)));
                }
            },
            logit_offset: match info.logit_offset {
                0 => 0,
                1 => 1,
                other => {
                    return Err(self
                        .origin
                        .broken(method, format!("logit offset {other}, not 0 or 1")));
                }
            },
            n_layers: size("n_layers", info.n_layers)?,
            d_model: size("d_model", info.d_model)?,
            vocab_size: size("vocab_size", info.vocab_size)?,
            max_positions: size("max_positions", info.max_positions)?,
            n_params: info.n_params,
            mask_token_id: info.mask_token_id.into(),
            pad_token_id: info.pad_token_id.into(),
            bos_token_id: info.bos_token_id.into(),
            eos_token_ids: info.eos_token_ids.into(),
        })
    }
}

/// A forward over one batch, in segments: the host changes the residual between them.
pub struct Pass {
    forward: ForwardBox,
    origin: Origin,
    info: ModelInfo,
    options: LoadOptions,
    work: Rc<Work>,
    /// Columns before those that were embedded last: what is stored of them is attended to.
    stored: u64,
}

impl Pass {
    /// `tokens: [b, t] i64` at columns `start..start + t` → `resid: [b, t, d_model]`.
    ///
    /// # Errors
    /// A token id out of range.
    pub fn embed(&mut self, tokens: &Tensor, start: usize) -> Result<Tensor, PluginFailure> {
        let shape = tokens.size();
        let [b, t] = shape[..] else {
            return Err(self
                .origin
                .host("embed", format!("tokens have shape {shape:?}, not [b, t]")));
        };
        self.check_ids("embed", "token id", tokens)?;
        let tokens = self.on_device("embed", tokens)?;
        let resid = self.empty(
            "embed",
            &[b, t, self.info.d_model as i64],
            self.options.kind,
        )?;
        let tokens = self.lend("embed", &tokens)?;
        let mut out = self.lend_mut("embed", &resid)?;
        self.origin.call("embed", || {
            self.forward
                .embed(tokens.view(), start as u64, out.view_mut())
        })?;
        Ok(resid)
    }

    /// Runs blocks `first..last` (counted from 0, half open) on `resid: [n·b, t, d_model]` in
    /// place.
    ///
    /// # Errors
    /// A range that is not within the model's blocks.
    pub fn blocks(
        &mut self,
        first: usize,
        last: usize,
        resid: &mut Tensor,
    ) -> Result<(), PluginFailure> {
        let n_layers = self.info.n_layers;
        if first > last || last > n_layers {
            let message = format!(
                "blocks {first}..{last} out of range: the model has {n_layers} blocks, 0 to {}",
                n_layers - 1
            );
            return Err(self.origin.host("blocks", message));
        }
        if !resid.is_contiguous() {
            *resid = resid
                .f_contiguous()
                .map_err(|error| self.origin.host("blocks", error))?;
        }
        let mut lent = self.lend_mut("blocks", resid)?;
        steps::in_blocks((last - first) as u64, || {
            self.origin.call("blocks", || {
                self.forward
                    .blocks(first as u64, last as u64, lent.view_mut())
            })
        })?;
        let shape = resid.size();
        let (rows, tokens) = (shape[0].unsigned_abs(), shape[1].unsigned_abs());
        let n_blocks = (last - first) as u64;
        self.count(PassWork::blocks(
            rows,
            n_blocks,
            tokens,
            self.stored + tokens,
        ));
        Ok(())
    }

    /// `rows: [n, d_model]` after the last block → `[n, d_model]` after the final norm.
    ///
    /// # Errors
    /// The plugin's own.
    pub fn final_norm(&mut self, rows: &Tensor) -> Result<Tensor, PluginFailure> {
        let out = self.empty("final_norm", &rows.size(), self.options.kind)?;
        let rows = self.lend("final_norm", rows)?;
        let mut lent = self.lend_mut("final_norm", &out)?;
        self.origin.call("final_norm", || {
            self.forward.final_norm(rows.view(), lent.view_mut())
        })?;
        Ok(out)
    }

    /// `rows: [n, d_model]` after the last block → `logits: [n, vocab_size] f32`.
    ///
    /// # Errors
    /// The plugin's own.
    pub fn unembed(&mut self, rows: &Tensor) -> Result<Tensor, PluginFailure> {
        let n = rows.size()[0];
        let logits = self.empty("unembed", &[n, self.info.vocab_size as i64], Kind::Float)?;
        let rows = self.lend("unembed", rows)?;
        let mut lent = self.lend_mut("unembed", &logits)?;
        self.origin.call("unembed", || {
            self.forward.unembed(rows.view(), lent.view_mut())
        })?;
        self.count_head(n);
        Ok(logits)
    }

    /// Cross-entropy (nats) `[n] f32` of `targets: [n] i64` under `unembed(rows: [n, d_model])`.
    ///
    /// # Errors
    /// The plugin's own, other than `UNSUPPORTED`: then the host computes it from the logits.
    pub fn unembed_ce(&mut self, rows: &Tensor, targets: &Tensor) -> Result<Tensor, PluginFailure> {
        /// Rows of logits alive at once in the fallback.
        const CHUNK: i64 = 256;
        let n = rows.size()[0];
        let ce = self.empty("unembed_ce", &[n], Kind::Float)?;
        self.check_ids("unembed_ce", "target", targets)?;
        let targets = self.on_device("unembed_ce", targets)?;
        let result = {
            let rows = self.lend("unembed_ce", rows)?;
            let targets = self.lend("unembed_ce", &targets)?;
            let mut lent = self.lend_mut("unembed_ce", &ce)?;
            self.origin.call("unembed_ce", || {
                self.forward
                    .unembed_ce(rows.view(), targets.view(), lent.view_mut())
            })
        };
        match result {
            Ok(()) => {
                self.count_head(n);
                Ok(ce)
            }
            Err(failure) if failure.code == harness_abi::ErrorCode::UNSUPPORTED => {
                let mut start = 0;
                while start < n {
                    let len = CHUNK.min(n - start);
                    let logits = self.unembed(&rows.narrow(0, start, len))?;
                    let picked = logits
                        .log_softmax(-1, Kind::Float)
                        .gather(1, &targets.narrow(0, start, len).unsqueeze(1), false)
                        .squeeze_dim(1);
                    ce.narrow(0, start, len).copy_(&picked.neg());
                    start += len;
                }
                Ok(ce)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Token ids are within the vocabulary. They are looked at here, in host memory: on a device
    /// every pass would wait for the look, and an id out of range would take the device down.
    fn check_ids(
        &self,
        method: &'static str,
        what: &str,
        tokens: &Tensor,
    ) -> Result<(), PluginFailure> {
        let ids = tokens
            .f_to_device(tch::Device::Cpu)
            .and_then(|ids| ids.f_to_kind(Kind::Int64)?.f_contiguous()?.f_view([-1]))
            .and_then(|ids| Vec::<i64>::try_from(&ids))
            .map_err(|error| self.origin.host(method, error))?;
        let n = self.info.vocab_size as i64;
        match ids.iter().find(|id| !(0..n).contains(*id)) {
            Some(id) => Err(self.origin.host(
                method,
                format!(
                    "{what} {id} is outside the vocabulary of {n} ids; is this the model's tokenizer?"
                ),
            )),
            None => Ok(()),
        }
    }

    fn count_head(&self, rows: i64) {
        self.count(PassWork::head(rows.unsigned_abs()));
    }

    fn count(&self, more: PassWork) {
        let mut work = self.work.get();
        work += more;
        self.work.set(work);
    }

    fn on_device(&self, method: &'static str, tensor: &Tensor) -> Result<Tensor, PluginFailure> {
        tensor
            .f_to_device(self.options.device)
            .and_then(|tensor| tensor.f_to_kind(Kind::Int64))
            .map_err(|error| self.origin.host(method, error))
    }

    fn empty(
        &self,
        method: &'static str,
        shape: &[i64],
        kind: Kind,
    ) -> Result<Tensor, PluginFailure> {
        Tensor::f_zeros(shape, (kind, self.options.device))
            .map_err(|error| self.origin.host(method, error))
    }

    fn lend(&self, method: &'static str, tensor: &Tensor) -> Result<Lent, PluginFailure> {
        Lent::read(tensor).map_err(|error| self.origin.host(method, error))
    }

    fn lend_mut(&self, method: &'static str, tensor: &Tensor) -> Result<Lent, PluginFailure> {
        Lent::write(tensor).map_err(|error| self.origin.host(method, error))
    }
}
