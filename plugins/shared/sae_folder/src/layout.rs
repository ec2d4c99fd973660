use std::path::Path;

/// Layout of an SAE's files. The file that holds the weights tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layout {
    /// `cfg.json` and `sae_weights.safetensors`.
    Saelens,
    /// `cfg.json` and `sae.safetensors`.
    Sparsify,
    /// `config.json` and `ae.pt`.
    DictionaryLearning,
    /// `autoencoder.pt`, which holds its settings beside its tensors.
    OpenAi,
}

impl Layout {
    pub const ALL: [Self; 4] = [
        Self::Saelens,
        Self::Sparsify,
        Self::DictionaryLearning,
        Self::OpenAi,
    ];

    /// Name in results and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Saelens => "saelens",
            Self::Sparsify => "sparsify",
            Self::DictionaryLearning => "dictionary_learning",
            Self::OpenAi => "openai",
        }
    }

    #[must_use]
    pub const fn weights_file(self) -> &'static str {
        match self {
            Self::Saelens => "sae_weights.safetensors",
            Self::Sparsify => "sae.safetensors",
            Self::DictionaryLearning => "ae.pt",
            Self::OpenAi => "autoencoder.pt",
        }
    }

    /// File of the configuration, where the layout has one.
    #[must_use]
    pub const fn config_file(self) -> Option<&'static str> {
        match self {
            Self::Saelens | Self::Sparsify => Some("cfg.json"),
            Self::DictionaryLearning => Some("config.json"),
            Self::OpenAi => None,
        }
    }
}

/// The layouts whose weights lie directly in a folder.
#[must_use]
pub fn layouts_in(dir: &Path) -> Vec<Layout> {
    Layout::ALL
        .into_iter()
        .filter(|layout| dir.join(layout.weights_file()).is_file())
        .collect()
}
