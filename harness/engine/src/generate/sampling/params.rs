use harness_abi::RemaskNeeds;

use crate::{
    generate::GenerateError,
    plugin::{ModelInfo, Objective, Remasker},
};

/// In which order filters apply, and which distribution confidence is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplingRule {
    /// Dream: temperature, nucleus, top-k; statistics of the distribution that is sampled.
    NucleusFirst,
    /// Hugging Face's autoregressive samplers: temperature, top-k, nucleus; statistics likewise.
    TopKFirst,
    /// LLaDA: the largest of `exp(l) / (-ln u)^T`; statistics of `softmax(l)`, whatever the
    /// temperature.
    ///
    /// With one uniform `u` per vocabulary entry that choice has the probabilities `softmax(l /
    /// T)`, so it is drawn from them directly with one uniform. LLaDA's own sampler has no filters;
    /// where a request asks for some, they apply to the draw and not to the statistics.
    Noise,
}

/// How tokens are chosen from logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the most likely token, the lowest id of equals.
    pub temperature: f64,
    /// Tokens are kept until their probability passes this; `None` or 1 keeps all.
    pub top_p: Option<f64>,
    /// Tokens kept; 0 keeps all. `None` keeps all in the functions of this module, and in a run
    /// stands for what the reference sampler does when nothing is said:
    /// [`SamplingRule::default_top_k`].
    pub top_k: Option<usize>,
    /// Order of filters.
    pub rule: SamplingRule,
}

impl Sampling {
    /// The most likely token.
    #[must_use]
    pub fn greedy(rule: SamplingRule) -> Self {
        Self {
            temperature: 0.0,
            top_p: None,
            top_k: None,
            rule,
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// A temperature, nucleus or count that means nothing, with its value.
    pub fn check(&self) -> Result<(), GenerateError> {
        let refuse = |message: String| Err(GenerateError::Request(message));
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return refuse(format!(
                "temperature {} is not a finite number from 0 up",
                self.temperature
            ));
        }
        if self.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
            return refuse(format!(
                "top_p {} is not between 0 and 1",
                self.top_p.unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// What a run does with these settings.
    pub(in crate::generate) fn in_run(self) -> Self {
        Self {
            top_k: self.top_k.or(self.rule.default_top_k()),
            ..self
        }
    }

    pub(super) fn k(&self) -> Option<usize> {
        self.top_k.filter(|k| *k > 0)
    }

    pub(super) fn nucleus(&self) -> Option<f64> {
        self.top_p.filter(|p| *p < 1.0)
    }

    pub(super) fn is_filtered(&self) -> bool {
        self.nucleus().is_some() || self.k().is_some()
    }

    /// Whether statistics are read from another distribution than the draw.
    pub(super) fn apart(&self) -> bool {
        self.rule == SamplingRule::Noise && (self.temperature > 0.0 || self.is_filtered())
    }
}

impl SamplingRule {
    /// Tokens that the reference sampler keeps when nothing is said: Hugging Face's generation
    /// settings start from 50, and Dream's are built on them, so that its statistics at temperature
    /// 0 are those of the 50 largest logits too. LLaDA's sampler keeps all.
    #[must_use]
    pub fn default_top_k(self) -> Option<usize> {
        match self {
            Self::NucleusFirst | Self::TopKFirst => Some(50),
            Self::Noise => None,
        }
    }

    /// The rule of the reference sampler of such a model: masked diffusion whose logits score their
    /// own position is sampled as LLaDA is, masked diffusion with shifted logits as Dream is, the
    /// rest as Hugging Face does.
    #[must_use]
    pub fn of(info: &ModelInfo) -> Self {
        match (info.objective, info.logit_offset) {
            (Objective::Autoregressive, _) => Self::TopKFirst,
            (Objective::MaskedDiffusion, 0) => Self::Noise,
            (Objective::MaskedDiffusion, _) => Self::NucleusFirst,
        }
    }
}

/// Which statistics are read; the others are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// Probability of the chosen token.
    pub confidence: bool,
    /// Largest minus second largest probability.
    pub margin: bool,
    /// Sum of p·ln(p + 1e-10).
    pub neg_entropy: bool,
}

impl Needed {
    /// What `remasker` reads.
    #[must_use]
    pub fn by(remasker: &Remasker) -> Self {
        Self {
            confidence: remasker.reads(RemaskNeeds::CONFIDENCE),
            margin: remasker.reads(RemaskNeeds::MARGIN),
            neg_entropy: remasker.reads(RemaskNeeds::NEG_ENTROPY),
        }
    }

    pub(super) fn any(self) -> bool {
        self.confidence || self.margin || self.neg_entropy
    }
}
