use serde_json::Value;

/// Words of configurations by the kind they mean, the more special first: a class called
/// `MatryoshkaBatchTopKSAE` is of the first kind that its name contains.
const KINDS: [(&str, &str); 12] = [
    ("transcoder", "transcoder"),
    ("crosscoder", "crosscoder"),
    ("matryoshka", "Matryoshka BatchTopK"),
    ("batchtopk", "BatchTopK"),
    ("jumprelu", "JumpReLU"),
    ("gated", "Gated"),
    ("groupmax", "GroupMax"),
    ("panneal", "p-annealing"),
    ("temporal", "temporal"),
    ("topk", Kind::TOP_K),
    ("standard", "ReLU"),
    ("relu", "ReLU"),
];

/// The kind of an SAE as its configuration calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name: `Top-K`, `BatchTopK`, `JumpReLU`, …, or the configuration's own word.
    pub name: String,
    /// Where the configuration says so: `` `architecture` is `batchtopk` ``.
    pub said: String,
}

impl Kind {
    /// The name of the kind that keeps the `k` largest activations of each row.
    pub const TOP_K: &str = "Top-K";

    /// The kind that a configuration states, whatever its layout; `None` where it states none.
    #[must_use]
    pub fn of(config: &Value) -> Option<Kind> {
        let word = |at: &str| {
            let text = config.pointer(at).and_then(Value::as_str)?;
            let field = at.trim_start_matches('/').replace('/', ".");
            (!text.is_empty()).then(|| Kind::named(text, &field))
        };
        let is_on = |key: &str| config.get(key).and_then(Value::as_bool) == Some(true);
        if is_on("transcode") {
            return Some(Kind {
                name: "transcoder".to_owned(),
                said: "`transcode` is true".to_owned(),
            });
        }
        let activation = ["/activation_fn_str", "/activation_fn", "/activation"]
            .into_iter()
            .find_map(word);
        match word("/architecture") {
            // SAELens called every SAE of a linear encoder so, whatever came after it.
            Some(kind) if kind.name == "ReLU" => activation.or(Some(kind)),
            Some(kind) => Some(kind),
            None => activation
                .or_else(|| word("/trainer/dict_class"))
                .or_else(|| word("/trainer/trainer_class")),
        }
    }

    /// The kind that a word of a configuration's field means.
    #[must_use]
    pub fn named(word: &str, field: &str) -> Kind {
        let plain: String = word
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let known = KINDS.iter().find(|(part, _)| plain.contains(part));
        let known = known.map(|(_, name)| (*name).to_owned());
        // dictionary_learning's oldest class has no other word in its name.
        let plain_class = || matches!(&*plain, "autoencoder" | "autoencodernew");
        let shown: String = word.escape_debug().take(80).collect();
        Kind {
            name: known
                .or_else(|| plain_class().then(|| "ReLU".to_owned()))
                .unwrap_or_else(|| shown.clone()),
            said: format!("`{field}` is `{shown}`"),
        }
    }

    /// Whether it keeps the `k` largest activations of each row.
    #[must_use]
    pub fn is_top_k(&self) -> bool {
        self.name == Kind::TOP_K
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_told_from_the_words_of_every_layout() {
        let cases = [
            (json!({"architecture": "topk", "k": 4}), "Top-K"),
            (json!({"architecture": "batchtopk", "k": 4.0}), "BatchTopK"),
            (
                json!({"architecture": "matryoshka_batchtopk"}),
                "Matryoshka BatchTopK",
            ),
            (json!({"architecture": "jumprelu"}), "JumpReLU"),
            (json!({"architecture": "gated"}), "Gated"),
            (json!({"architecture": "jumprelu_transcoder"}), "transcoder"),
            (
                json!({"architecture": "standard", "activation_fn": "topk"}),
                "Top-K",
            ),
            (
                json!({"architecture": "standard", "activation_fn_str": "relu"}),
                "ReLU",
            ),
            (json!({"architecture": "standard"}), "ReLU"),
            (json!({"activation_fn_str": "topk"}), "Top-K"),
            (json!({"activation": "groupmax"}), "GroupMax"),
            (
                json!({"activation": "topk", "transcode": true}),
                "transcoder",
            ),
            (
                json!({"trainer": {"dict_class": "AutoEncoderTopK"}}),
                "Top-K",
            ),
            (
                json!({"trainer": {"dict_class": "BatchTopKSAE"}}),
                "BatchTopK",
            ),
            (
                json!({"trainer": {"dict_class": "MatryoshkaBatchTopKSAE"}}),
                "Matryoshka BatchTopK",
            ),
            (
                json!({"trainer": {"dict_class": "GatedAutoEncoder"}}),
                "Gated",
            ),
            (json!({"trainer": {"dict_class": "AutoEncoder"}}), "ReLU"),
            (
                json!({"trainer": {"dict_class": "CrossCoder"}}),
                "crosscoder",
            ),
            (
                json!({"trainer": {"trainer_class": "JumpReluTrainer"}}),
                "JumpReLU",
            ),
            (json!({"architecture": "hypercube"}), "hypercube"),
        ];
        for (config, name) in cases {
            assert_eq!(Kind::of(&config).unwrap().name, name, "{config}");
        }
        assert_eq!(Kind::of(&json!({"k": 4, "d_in": 8})), None);
        let kind = Kind::of(&json!({"trainer": {"dict_class": "BatchTopKSAE"}})).unwrap();
        assert_eq!(kind.said, "`trainer.dict_class` is `BatchTopKSAE`");
    }
}
