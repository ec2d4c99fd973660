//! What a model is: sizes, attention, positions, rotary embedding, special tokens.

use crate::{DecoderError, Result};

/// A family of checkpoints: one `model_type` of `config.json`, one set of weight names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Dream-v0: Qwen2's block, bidirectional, masked diffusion with shifted logits.
    Dream,
    /// LLaDA: LLaMA's block under OLMo's names, bidirectional, masked diffusion.
    Llada,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// LLaMA 3 and 3.1.
    Llama,
    Gpt2,
}

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Keys up to the query's own position.
    Causal,
    /// Every valid key.
    Bidirectional,
}

/// How positions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Cumulative sum of the attention mask minus 1, and 1 at padding.
    CountValid,
    /// 0, 1, 2, … whether valid or not.
    Always,
}

/// What the family was trained to predict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// The next token.
    Autoregressive,
    /// The token under a mask.
    MaskedDiffusion,
}

impl Family {
    /// All families, in the order in which they are listed to users.
    pub const ALL: [Self; 5] = [
        Self::Dream,
        Self::Llada,
        Self::Qwen2,
        Self::Llama,
        Self::Gpt2,
    ];

    /// Name of the adapter component.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dream => "dream",
            Self::Llada => "llada",
            Self::Qwen2 => "qwen2",
            Self::Llama => "llama",
            Self::Gpt2 => "gpt2",
        }
    }

    /// `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Dream => "Dream",
            _ => self.name(),
        }
    }

    /// The family of a `model_type`, if there is one.
    pub fn from_model_type(model_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|family| family.model_type() == model_type)
    }

    /// Names of all adapters, for messages.
    pub fn available() -> String {
        Self::ALL
            .map(|family| format!("{} ({})", family.name(), family.model_type()))
            .join(", ")
    }

    /// Which keys a query sees.
    pub fn attention(self) -> Attention {
        match self {
            Self::Dream | Self::Llada => Attention::Bidirectional,
            Self::Qwen2 | Self::Llama | Self::Gpt2 => Attention::Causal,
        }
    }

    /// How positions are counted in a padded batch.
    pub fn positions(self) -> Positions {
        match self {
            Self::Llada => Positions::Always,
            Self::Dream | Self::Qwen2 | Self::Llama | Self::Gpt2 => Positions::CountValid,
        }
    }

    /// What the family was trained to predict.
    pub fn objective(self) -> Objective {
        match self {
            Self::Dream | Self::Llada => Objective::MaskedDiffusion,
            Self::Qwen2 | Self::Llama | Self::Gpt2 => Objective::Autoregressive,
        }
    }

    /// What the paths of its modules call the list of blocks.
    pub fn blocks(self) -> &'static str {
        match self {
            Self::Dream | Self::Qwen2 | Self::Llama => "layers",
            Self::Llada => "blocks",
            Self::Gpt2 => "h",
        }
    }

    /// Matrices of the feed-forward layer of a block: 3 with a gate, else 2.
    pub fn n_ff(self) -> usize {
        match self {
            Self::Gpt2 => 2,
            Self::Dream | Self::Llada | Self::Qwen2 | Self::Llama => 3,
        }
    }

    /// The smallest time of its schedule, where that falls evenly from 1 to it; `None` where every
    /// denoising step unmasks equally many positions.
    pub fn schedule_eps(self) -> Option<f64> {
        match self {
            Self::Dream => Some(1e-3),
            Self::Llada | Self::Qwen2 | Self::Llama | Self::Gpt2 => None,
        }
    }

    /// 0 where the logits of a position score that position, 1 where they score the next one.
    pub fn logit_offset(self) -> u32 {
        match self {
            Self::Llada => 0,
            Self::Dream | Self::Qwen2 | Self::Llama | Self::Gpt2 => 1,
        }
    }
}

/// Change of the rotary frequencies for contexts longer than the first training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Plain frequencies.
    None,
    /// LLaMA 3.1: low frequencies divided by `factor`, high ones kept, a linear blend between.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_positions / low_freq_factor` are low.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_positions / high_freq_factor` are high.
        high_freq_factor: f64,
        /// Context length of the first training, in tokens.
        original_max_positions: i64,
    },
    /// All frequencies divided by `factor`.
    Linear {
        /// Divisor.
        factor: f64,
    },
    /// The base of the wavelengths grows with the length of the text ("dynamic NTK").
    Dynamic {
        /// How much longer the context is to be.
        factor: f64,
        /// Texts up to this length have plain frequencies.
        original_max_positions: i64,
    },
    /// YaRN: low frequencies divided, high ones kept, and cosines and sines made larger.
    Yarn(Yarn),
}

/// The settings of YaRN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// Divisor of the low frequencies.
    pub factor: f64,
    /// Context length of the first training, in tokens.
    pub original_max_positions: i64,
    /// Factor of cosines and sines.
    pub attention_factor: f64,
    /// Pairs that turn more often than this in the first context keep their frequency.
    pub beta_fast: f64,
    /// Pairs that turn less often than this have theirs divided.
    pub beta_slow: f64,
    /// Whether the bounds between the two are rounded outwards to whole pairs.
    pub truncate: bool,
}

/// Activation of the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x sigmoid(x).
    Silu,
    /// x Φ(x), exact.
    Gelu,
    /// The same through tanh.
    GeluTanh,
    /// x sigmoid(1.702 x).
    QuickGelu,
    /// max(x, 0).
    Relu,
}

/// What divides the scores of attention before the softmax (GPT-2 has a choice).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreScale {
    /// The square root of the width of a head.
    pub by_head_dim: bool,
    /// The number of the block, counted from 1.
    pub by_layer: bool,
}

/// Rotary position embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Base of the geometric sequence of wavelengths.
    pub theta: f64,
    /// Change for long contexts.
    pub scaling: RopeScaling,
    /// Rotate in float32 whatever the model's dtype (LLaDA's `rope_full_precision`); otherwise in
    /// the model's dtype.
    pub rotate_in_f32: bool,
}

/// Ids with a meaning of their own, as the checkpoint's files state them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Mask token of the diffusion families.
    pub mask: Option<i64>,
    pub pad: Option<i64>,
    /// Begin of text.
    pub bos: Option<i64>,
    /// Every id that ends a text.
    pub eos: Vec<i64>,
}

/// Everything about a model except its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Family: names of weights, layout of `config.json`.
    pub family: Family,
    /// Rows of the embedding, v.
    pub vocab_size: i64,
    /// Width of the residual stream, d.
    pub d_model: i64,
    /// Number of blocks.
    pub n_layers: i64,
    /// Query heads, h.
    pub n_heads: i64,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: i64,
    /// Width of a head.
    pub head_dim: i64,
    /// Width of the MLP.
    pub d_ff: i64,
    /// Epsilon of the norms.
    pub norm_eps: f64,
    /// Longest context in tokens.
    pub max_positions: i64,
    /// Rotary embedding; GPT-2 has learned positions and ignores it.
    pub rope: Rope,
    /// Biases on the query, key and value projections.
    pub qkv_bias: bool,
    /// Bias on the projection out of attention; GPT-2 always has it.
    pub o_bias: bool,
    /// Biases in the MLP; GPT-2 always has them.
    pub mlp_bias: bool,
    /// Activation of the MLP.
    pub activation: Activation,
    /// What divides the scores of attention.
    pub scores: ScoreScale,
    /// The head is the embedding matrix.
    pub tie_embeddings: bool,
    /// Which keys a query sees.
    pub attention: Attention,
    /// How positions are counted in a padded batch.
    pub positions: Positions,
    pub special: SpecialTokens,
}

impl RopeScaling {
    /// Adds what cannot be computed with.
    fn check(&self, wrong: &mut Vec<String>) {
        let (factor, original) = match *self {
            Self::None => return,
            Self::Linear { factor } => (factor, 1),
            Self::Dynamic {
                factor,
                original_max_positions,
            }
            | Self::Llama3 {
                factor,
                original_max_positions,
                ..
            } => (factor, original_max_positions),
            Self::Yarn(yarn) => {
                let betas = [yarn.beta_fast, yarn.beta_slow, yarn.attention_factor];
                if betas.iter().any(|x| !(x.is_finite() && *x > 0.0)) {
                    wrong.push(format!(
                        "beta_fast {}, beta_slow {} and the attention factor {} are not all above 0",
                        yarn.beta_fast, yarn.beta_slow, yarn.attention_factor
                    ));
                }
                (yarn.factor, yarn.original_max_positions)
            }
        };
        if !(factor.is_finite() && factor > 0.0) {
            wrong.push(format!("the rope factor {factor} is not above 0"));
        }
        if original < 1 {
            wrong.push(format!("original_max_position_embeddings is {original}"));
        }
    }
}

impl DecoderConfig {
    /// A configuration with the family's usual rules and the given sizes; `d_ff` is 4 `d_model` and
    /// everything else can be changed afterwards.
    pub fn new(family: Family, vocab_size: i64, d_model: i64, n_layers: i64, n_heads: i64) -> Self {
        let (theta, norm_eps, max_positions) = match family {
            Family::Dream | Family::Qwen2 => (1e6, 1e-6, 131_072),
            Family::Llama => (5e5, 1e-5, 8192),
            Family::Llada => (5e5, 1e-5, 4096),
            Family::Gpt2 => (1e4, 1e-5, 1024),
        };
        Self {
            family,
            vocab_size,
            d_model,
            n_layers,
            n_heads,
            n_kv_heads: n_heads,
            head_dim: if n_heads > 0 { d_model / n_heads } else { 0 },
            d_ff: 4 * d_model,
            norm_eps,
            max_positions,
            rope: Rope {
                theta,
                scaling: RopeScaling::None,
                rotate_in_f32: family == Family::Llada,
            },
            qkv_bias: matches!(family, Family::Dream | Family::Qwen2 | Family::Gpt2),
            o_bias: family == Family::Gpt2,
            mlp_bias: family == Family::Gpt2,
            activation: match family {
                Family::Gpt2 => Activation::GeluTanh,
                _ => Activation::Silu,
            },
            scores: ScoreScale {
                by_head_dim: true,
                by_layer: false,
            },
            tie_embeddings: family == Family::Gpt2,
            attention: family.attention(),
            positions: family.positions(),
            special: SpecialTokens::default(),
        }
    }

    /// Checks that the sizes fit each other.
    ///
    /// # Errors
    /// [`DecoderError::Config`] naming every field that does not.
    pub fn validate(&self, origin: &str) -> Result<()> {
        let mut wrong = Vec::new();
        for (name, value, most) in [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("d_model", self.d_model, 1 << 17),
            ("n_layers", self.n_layers, 1 << 12),
            ("n_heads", self.n_heads, 1 << 12),
            ("n_kv_heads", self.n_kv_heads, 1 << 12),
            ("head_dim", self.head_dim, 1 << 12),
            ("d_ff", self.d_ff, 1 << 20),
            ("max_positions", self.max_positions, 1 << 24),
        ] {
            if value < 1 || value > most {
                wrong.push(format!("{name} is {value}, allowed are 1 to {most}"));
            }
        }
        if self.n_kv_heads > 0 && self.n_heads % self.n_kv_heads != 0 {
            wrong.push(format!(
                "{} heads cannot share {} key heads: the second must divide the first",
                self.n_heads, self.n_kv_heads
            ));
        }
        if self.family == Family::Gpt2 {
            if self.n_heads * self.head_dim != self.d_model {
                wrong.push(format!(
                    "d_model {} is not {} heads of {}",
                    self.d_model, self.n_heads, self.head_dim
                ));
            }
        } else if self.head_dim % 2 != 0 {
            wrong.push(format!(
                "head_dim {} is odd: rotary embedding turns pairs",
                self.head_dim
            ));
        }
        if !(self.norm_eps > 0.0 && self.norm_eps < 1.0) {
            wrong.push(format!("norm_eps {} is not between 0 and 1", self.norm_eps));
        }
        if !(self.rope.theta.is_finite() && self.rope.theta > 1.0) {
            wrong.push(format!(
                "rope theta {} is not a finite number above 1",
                self.rope.theta
            ));
        }
        self.rope.scaling.check(&mut wrong);
        let ids = [
            ("mask_token_id", self.special.mask),
            ("pad_token_id", self.special.pad),
            ("bos_token_id", self.special.bos),
        ];
        let ends = self
            .special
            .eos
            .iter()
            .map(|id| ("eos_token_id", Some(*id)));
        for (name, id) in ids.into_iter().chain(ends) {
            if let Some(id) = id.filter(|id| *id < 0 || *id >= self.vocab_size) {
                wrong.push(format!(
                    "{name} {id} is outside the vocabulary of {}",
                    self.vocab_size
                ));
            }
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(DecoderError::config(origin, wrong.join("; ")))
        }
    }

    /// Checks that the configuration is of the family that the caller reads.
    ///
    /// # Errors
    /// [`DecoderError::WrongFamily`], naming the adapter to use.
    pub fn expect_family(&self, origin: &str, wanted: Family) -> Result<()> {
        if self.family == wanted {
            return Ok(());
        }
        Err(DecoderError::WrongFamily {
            origin: origin.to_owned(),
            wanted: wanted.name(),
            found: self.family.model_type().to_owned(),
            found_adapter: self.family.name(),
        })
    }
}
