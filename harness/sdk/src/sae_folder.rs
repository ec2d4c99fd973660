use serde_json::{Value, json};

/// The version of the JSON in which facts about folders of SAEs are handed to the host.
const VERSION: u32 = 1;

/// What a folder is to an SAE architecture.
#[derive(Clone, Debug, PartialEq)]
pub enum SaeFolder {
    /// It holds an SAE.
    Sae(Box<SaeFacts>),
    /// It holds a sound SAE that is not used, such as one of another place in the model; the words
    /// say why.
    PassedOver(String),
    /// Its name says that it is the place of an SAE, and it holds none; the words say what is
    /// missing.
    Missing(String),
}

/// What the files of an SAE say of it. What no file states is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SaeFacts {
    /// Block whose output it reads, from 0.
    pub layer: u32,
    /// Active budget of a row; `None` for a kind of SAE without one.
    pub k: Option<u32>,
    /// Input width.
    pub d_model: u32,
    /// Number of latents.
    pub d_sae: u32,
    /// Layout of its files, e.g. `saelens`.
    pub format: Option<String>,
    /// Its kind as the files call it, e.g. `topk`.
    pub kind: Option<String>,
    /// Number format of the stored weights.
    pub dtype: Option<String>,
    /// Positions it was trained on: `mask`, `unmask` or `clean`.
    pub policy: Option<String>,
    /// Why this architecture does not read the SAE, although it knows what it is: the end of a
    /// sentence that begins with its folder.
    pub not_read: Option<String>,
    /// What is taken for granted because no file says it: the end of a sentence that begins with
    /// its name.
    pub assumes: Option<String>,
    /// The model that it says it was made for.
    pub made_for: MadeFor,
    /// How many folders above its own the one lies whose name gives the layer; 0 is its own.
    pub layer_folder: Option<u32>,
    /// How it was trained, as a JSON object: `tokens`, `epochs`, `data`, `batch`, `model_batch`,
    /// `context_length`, `mask_rate`, `seed`, `steps`, `lr`, and at its end `ev`, `loss`, `l0` and
    /// `n_dead`. Other fields are ignored.
    pub training: Value,
}

/// What an SAE says of the model it was made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MadeFor {
    /// The model's name.
    pub model: Option<String>,
    /// The model's family.
    pub family: Option<String>,
    /// Content hash of the checkpoint.
    pub hash: Option<String>,
    /// The module or hook it reads, in the words of its files.
    pub module: Option<String>,
    /// What that module's path calls the list of the model's blocks, e.g. `h`; `None` where it is
    /// called alike in all models.
    pub blocks: Option<String>,
}

impl SaeFolder {
    /// The JSON object that the host reads.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            SaeFolder::Sae(facts) => {
                json!({"version": VERSION, "folder": "sae", "facts": facts.to_json()})
            }
            SaeFolder::PassedOver(why) => {
                json!({"version": VERSION, "folder": "passed_over", "why": why})
            }
            SaeFolder::Missing(why) => {
                json!({"version": VERSION, "folder": "missing", "why": why})
            }
        }
    }
}

impl SaeFacts {
    fn to_json(&self) -> Value {
        let MadeFor {
            model,
            family,
            hash,
            module,
            blocks,
        } = &self.made_for;
        json!({
            "layer": self.layer,
            "k": self.k,
            "d_model": self.d_model,
            "d_sae": self.d_sae,
            "format": self.format,
            "kind": self.kind,
            "dtype": self.dtype,
            "policy": self.policy,
            "not_read": self.not_read,
            "assumes": self.assumes,
            "made_for": {
                "model": model, "family": family, "hash": hash, "module": module, "blocks": blocks,
            },
            "layer_folder": self.layer_folder,
            "training": if self.training.is_object() { self.training.clone() } else { json!({}) },
        })
    }
}
