//! Which of the reference's tokenizer classes reads a folder, and by what rules it cuts text.
//!
//! transformers 5 takes vocabulary and merges from tokenizer.json and, for some classes, builds the
//! rest of the tokenizer from rules of the class. What the file says of normalisation and splitting
//! is then without effect. The classes of the families here are known; for any other class
//! tokenizer.json is followed, which is also what every generic class does.

use serde_json::{Map, Value, json};

use super::folder::Folder;

/// How Qwen2's tokenizer cuts text before BPE: contractions, words with one leading mark, single
/// digits, runs of marks, line ends, space.
const QWEN2_SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Names of classes without rules of their own; `Fast` at the end of a name is cut off before.
const GENERIC: [&str; 3] = ["PreTrainedTokenizer", "TokenizersBackend", "PythonBackend"];

/// A class of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    /// tokenizer.json counts as it is.
    File,
    /// A class of the folder's own code, or one whose rules are not known here.
    Unknown(String),
    Gpt2,
    Qwen2,
    Llama,
}

/// The parts of a tokenizer that a class decides.
pub(super) struct Rules {
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    pub decoder: Value,
    /// Settings of the BPE model beside vocabulary and merges.
    pub model: Map<String, Value>,
}

impl Class {
    /// The class that the reference loads for `folder`; `description` is its tokenizer.json.
    pub fn of(folder: &Folder, description: Option<&Value>) -> Self {
        let word = |value: Option<&Value>, key: &str| {
            let name = value?.get(key)?.as_str()?;
            Some(name.trim_end_matches("Fast").to_owned())
        };
        let declared = word(Some(&folder.tokenizer_config), "tokenizer_class")
            .or_else(|| word(folder.config.as_ref(), "tokenizer_class"));
        if folder.has_own_class() {
            let name = declared.unwrap_or_else(|| "(a class of the folder's own)".to_owned());
            return match description {
                Some(_) => Self::Unknown(name),
                None => Self::named(&name),
            };
        }
        let model_type = folder.model_type();
        // The class of Llama 2 in a folder with the byte-level tokenizer of Llama 3.
        if declared.as_deref() == Some("LlamaTokenizer")
            && model_type != Some("qwen2")
            && description.is_some_and(|file| file.to_string().contains("\"ByteLevel\""))
        {
            return Self::File;
        }
        match (model_type, declared.as_deref()) {
            // The reference distrusts what folders of this family name.
            (Some("qwen2"), _) | (Some("qwen3"), None) => Self::Qwen2,
            (Some("gpt2"), None) => Self::Gpt2,
            (_, None) => Self::File,
            (_, Some(name)) => Self::named(name),
        }
    }

    fn named(name: &str) -> Self {
        match name {
            "GPT2Tokenizer" => Self::Gpt2,
            // Dream's own class cuts by the same rules.
            "Qwen2Tokenizer" | "DreamTokenizer" => Self::Qwen2,
            "LlamaTokenizer" => Self::Llama,
            name if GENERIC.contains(&name) => Self::File,
            name => Self::Unknown(name.to_owned()),
        }
    }

    /// The class's name, where it has rules of its own.
    pub fn name(&self) -> &str {
        match self {
            Self::File => "PreTrainedTokenizerFast",
            Self::Unknown(name) => name,
            Self::Gpt2 => "GPT2Tokenizer",
            Self::Qwen2 => "Qwen2Tokenizer",
            Self::Llama => "LlamaTokenizer",
        }
    }

    /// Named tokens that the class brings where no file names them.
    pub fn default_tokens(&self) -> &'static [(&'static str, &'static str)] {
        const END: &str = "<|endoftext|>";
        match self {
            Self::Gpt2 => &[("bos_token", END), ("eos_token", END), ("unk_token", END)],
            Self::Qwen2 => &[("eos_token", END), ("unk_token", END), ("pad_token", END)],
            Self::Llama => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
            ],
            Self::File | Self::Unknown(_) => &[],
        }
    }

    /// What the class decides; `None` where tokenizer.json does.
    pub fn rules(&self, folder: &Folder) -> Option<Rules> {
        let prefix_space = folder.flag("add_prefix_space");
        let byte_level = |use_regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": prefix_space.unwrap_or(false),
                "trim_offsets": true, "use_regex": use_regex,
            })
        };
        let (normalizer, pre_tokenizer) = match self {
            Self::File | Self::Unknown(_) => return None,
            Self::Gpt2 => (Value::Null, byte_level(true)),
            Self::Qwen2 => (
                json!({"type": "NFC"}),
                json!({"type": "Sequence", "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": QWEN2_SPLIT}, "behavior": "Isolated", "invert": false},
                    byte_level(false),
                ]}),
            ),
            Self::Llama => {
                let prefix = prefix_space.unwrap_or(true);
                let scheme = match (prefix, folder.flag("legacy").unwrap_or(false)) {
                    (false, _) => "never",
                    (true, true) => "always",
                    (true, false) => "first",
                };
                (
                    Value::Null,
                    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false}),
                )
            }
        };
        let decoder = match self {
            Self::Llama => sentencepiece_decoder(prefix_space.unwrap_or(true)),
            _ => {
                json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true})
            }
        };
        let is_llama = *self == Self::Llama;
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": is_llama, "byte_fallback": is_llama,
            "ignore_merges": false,
        });
        let Value::Object(model) = model else {
            return None;
        };
        Some(Rules {
            normalizer,
            pre_tokenizer,
            decoder,
            model,
        })
    }
}

fn sentencepiece_decoder(strips: bool) -> Value {
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if strips {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({"type": "Sequence", "decoders": decoders})
}

impl Rules {
    /// Puts the class's rules into `description` and returns the names of the parts that were
    /// otherwise in the file. `None`, and nothing is changed, where the file holds no BPE.
    pub fn replace(self, description: &mut Value) -> Option<Vec<&'static str>> {
        let file = description.as_object_mut()?;
        let old = file.get("model")?.as_object()?;
        let vocab = old.get("vocab").filter(|vocab| vocab.is_object())?.clone();
        let kind = old.get("type").and_then(Value::as_str).unwrap_or("BPE");
        if kind != "BPE" {
            return None;
        }
        let merges = old.get("merges").cloned().unwrap_or_else(|| json!([]));
        let mut differing = Vec::new();
        let part = |name: &str| file.get(name).unwrap_or(&Value::Null);
        let old_rules = (part("normalizer"), part("pre_tokenizer"));
        let new_rules = (&self.normalizer, &self.pre_tokenizer);
        match (prefix_of(old_rules), prefix_of(new_rules)) {
            // SentencePiece has two forms; what counts is where a blank is put in front.
            (Some(old), Some(new)) if old == new => {}
            (Some(_), Some(_)) => differing.push("where a blank is put in front"),
            _ => {
                if plain(old_rules.0) != plain(new_rules.0) {
                    differing.push("normalizer");
                }
                if plain(old_rules.1) != plain(new_rules.1) {
                    differing.push("pre_tokenizer");
                }
            }
        }
        let bytes = |decoder: &Value| decoder["type"] == "ByteLevel";
        let both_bytes = bytes(part("decoder")) && bytes(&self.decoder);
        if !both_bytes && plain(part("decoder")) != plain(&self.decoder) {
            differing.push("decoder");
        }
        for flag in ["byte_fallback", "ignore_merges"] {
            let is_set = |model: &Map<String, Value>| model.get(flag) == Some(&Value::Bool(true));
            if is_set(old) != is_set(&self.model) {
                differing.push(flag);
            }
        }
        let mut model = self.model;
        model.insert("vocab".into(), vocab);
        model.insert("merges".into(), merges);
        // The reference takes added tokens from their list, which tokens.rs does.
        file.insert("added_tokens".into(), json!([]));
        file.insert("model".into(), model.into());
        file.insert("normalizer".into(), self.normalizer);
        file.insert("pre_tokenizer".into(), self.pre_tokenizer);
        file.insert("decoder".into(), self.decoder);
        Some(differing)
    }
}

/// Where a SentencePiece pipeline puts its blank: `always` (before every piece of text between
/// added tokens), `first` (before the text) or `never`. `None` for other pipelines.
fn prefix_of((normalizer, pre_tokenizer): (&Value, &Value)) -> Option<&'static str> {
    let kind = |value: &Value| value.get("type").and_then(Value::as_str).map(str::to_owned);
    let metaspace = match pre_tokenizer.get("pretokenizers").and_then(Value::as_array) {
        Some(parts) => parts
            .iter()
            .find(|part| kind(part).as_deref() == Some("Metaspace")),
        None => Some(pre_tokenizer).filter(|part| kind(part).as_deref() == Some("Metaspace")),
    };
    if let Some(metaspace) = metaspace {
        return Some(
            match metaspace.get("prepend_scheme").and_then(Value::as_str) {
                Some("first") => "first",
                Some("never") => "never",
                _ => "always",
            },
        );
    }
    let own = std::slice::from_ref(normalizer);
    let parts = match normalizer.get("normalizers").and_then(Value::as_array) {
        Some(parts) => parts.as_slice(),
        None => own,
    };
    let has = |name: &str| parts.iter().any(|part| kind(part).as_deref() == Some(name));
    let replaces_blanks = parts
        .iter()
        .any(|part| part.get("content").and_then(Value::as_str) == Some("▁"));
    match (pre_tokenizer.is_null() && replaces_blanks, has("Prepend")) {
        (true, true) => Some("always"),
        (true, false) => Some("never"),
        (false, _) => None,
    }
}

/// A part without what changes neither ids nor text: offsets, defaults, a sequence of one.
fn plain(part: &Value) -> Value {
    match part {
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str);
            let inner = ["pretokenizers", "normalizers", "decoders"]
                .iter()
                .find_map(|name| fields.get(*name).and_then(Value::as_array));
            if let (Some("Sequence"), Some([single])) = (kind, inner.map(Vec::as_slice)) {
                return plain(single);
            }
            let mut out: Map<String, Value> = fields
                .iter()
                .filter(|(name, _)| *name != "trim_offsets")
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect();
            if kind == Some("ByteLevel") {
                out.entry("use_regex").or_insert(Value::Bool(true));
            }
            Value::Object(out)
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}
