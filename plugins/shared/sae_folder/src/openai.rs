use std::path::Path;

use harness_weights::{
    InputError,
    pt::{Item, Scalar, StateDict},
};

use super::Kind;

/// What OpenAI's `autoencoder.pt` says of itself beside its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAiHeader {
    /// Latents.
    pub d_sae: u64,
    /// Width of what it reads.
    pub d_model: u64,
    /// Active budget, of a Top-K SAE.
    pub k: Option<u64>,
    /// Its kind by its activation, where it names one.
    pub kind: Option<Kind>,
    /// Whether OpenAI's code can have written it; see [`normalises_input`].
    pub is_as_published: bool,
}

/// The dictionary in which OpenAI's code keeps the settings of an activation.
const SETTINGS: &str = "activation_state_dict";

/// Whether the SAE of a state dict that says `TopK` reads each row with mean 0 and standard
/// deviation 1. No field says so: OpenAI's reader normalises every `TopK` file it can read, and
/// those have their settings in a dictionary inside. A file with `activation_state_dict.k` beside
/// its weights was written by another program, which that reader refuses; its input is left as it
/// is.
pub fn normalises_input(items: &[(String, Item)]) -> bool {
    let is_settings = |(name, item): &(String, Item)| name == SETTINGS && *item == Item::Dict;
    items.iter().any(is_settings)
}

/// Read the header of an `autoencoder.pt`: names, shapes and settings, no weights.
///
/// # Errors
/// No archive of `torch.save`, or none of this layout.
pub fn openai_header(path: &Path) -> Result<OpenAiHeader, InputError> {
    let file = StateDict::open(path)?;
    let shape = file.tensor("encoder.weight").map(|tensor| &*tensor.shape);
    let Some(&[d_sae, d_model]) = shape else {
        let message = "holds no matrix `encoder.weight`; it is no SAE of OpenAI's layout";
        return Err(InputError::unusable(path, message));
    };
    let kind = match file.scalar("activation") {
        Some(Scalar::Text(word)) => Some(Kind::named(word, "activation")),
        _ => None,
    };
    let k = match file.scalar("activation_state_dict.k") {
        Some(Scalar::Int(k)) => u64::try_from(*k).ok().filter(|k| *k > 0),
        _ => None,
    };
    Ok(OpenAiHeader {
        d_sae,
        d_model,
        k,
        is_as_published: normalises_input(&file.items),
        kind,
    })
}
