//! Byte-level BPE tokenizers, trained on the generated text and written in each family's own
//! layout.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result, anyhow, bail};
use harness_data::{Split, chat_tasks, documents};
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split as SplitRule, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer, TokenizerBuilder};

/// Base vocabulary: 256 bytes and the merges. With the special tokens it stays below the models'
/// 2048 rows.
const BASE_VOCAB: usize = 2036;
/// Documents and chat tasks that merges are counted on.
const MERGE_DOCUMENTS: u64 = 30_000;
const MERGE_TASKS: u64 = 3_000;

/// How a family cuts text before merging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// One digit at a time, with NFC (Qwen2, Dream).
    Qwen,
    /// One digit at a time, no normaliser (LLaDA).
    Llada,
    /// Up to three digits, and whole words of the vocabulary need no merges (LLaMA 3).
    Llama,
    /// GPT-2's own rule, built into the byte-level pre-tokenizer.
    Gpt2,
}

impl Cut {
    fn pattern(self) -> String {
        let digits = if self == Self::Llama {
            r"\p{N}{1,3}"
        } else {
            r"\p{N}"
        };
        format!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
    }

    fn pre_tokenizer(self) -> Value {
        if self == Self::Gpt2 {
            return json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        }
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": self.pattern()}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]})
    }
}

/// A trained vocabulary with a family's special tokens after it.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    cut: Cut,
    /// Token (in byte-level letters) → id, merges included.
    base: BTreeMap<String, u32>,
    merges: Vec<String>,
    specials: Vec<&'static str>,
    /// Put in front of every text by the tokenizer itself (LLaMA).
    prepended: Option<&'static str>,
}

impl Vocabulary {
    /// Counts merges on generated text. The result is the same on every machine.
    ///
    /// # Errors
    /// What the tokenizers library refuses.
    pub fn train(
        cut: Cut,
        specials: &[&'static str],
        prepended: Option<&'static str>,
    ) -> Result<Self> {
        let (with_regex, rules) = if cut == Cut::Gpt2 {
            (true, None)
        } else {
            let split = SplitRule::new(
                SplitPattern::Regex(cut.pattern()),
                SplitDelimiterBehavior::Isolated,
                false,
            )
            .map_err(|e| anyhow!("pre-tokenizer: {e}"))?;
            (false, Some(split))
        };
        let bytes = ByteLevel::new(false, true, with_regex);
        let mut stages: Vec<tokenizers::PreTokenizerWrapper> = Vec::new();
        stages.extend(rules.map(Into::into));
        stages.push(bytes.into());
        let mut tokenizer = TokenizerBuilder::<
            BPE,
            tokenizers::NormalizerWrapper,
            Sequence,
            tokenizers::PostProcessorWrapper,
            tokenizers::DecoderWrapper,
        >::new()
        .with_model(BPE::default())
        .with_normalizer(None)
        .with_pre_tokenizer(Some(Sequence::new(stages)))
        .with_post_processor(None)
        .with_decoder(None)
        .build()
        .map_err(|e| anyhow!("tokenizer: {e}"))?;
        let mut trainer = BpeTrainer::builder()
            .vocab_size(BASE_VOCAB)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let texts = documents(Split::Train, 0, MERGE_DOCUMENTS, None)
            .map(|d| d.text)
            .chain(
                chat_tasks(Split::Train, 0, MERGE_TASKS)
                    .map(|t| format!("user\n{}\nassistant\n{}", t.prompt, t.response)),
            );
        tokenizer
            .train(&mut trainer, texts)
            .map_err(|e| anyhow!("merges: {e}"))?;
        let model: Value = serde_json::to_value(tokenizer.get_model())?;
        let base: BTreeMap<String, u32> = serde_json::from_value(model["vocab"].clone())?;
        let merges = model["merges"]
            .as_array()
            .context("the trained model has no merges")?
            .iter()
            .map(merge_line)
            .collect::<Result<_>>()?;
        Ok(Self {
            cut,
            base,
            merges,
            specials: specials.to_vec(),
            prepended,
        })
    }

    /// The id of a special token.
    ///
    /// # Errors
    /// A token that is not one of them.
    pub fn special(&self, token: &str) -> Result<i64> {
        match self.specials.iter().position(|s| *s == token) {
            Some(at) => Ok((self.base.len() + at) as i64),
            None => bail!(
                "{token} is not among the special tokens {:?}",
                self.specials
            ),
        }
    }

    /// Ids in use, special tokens included.
    pub fn len(&self) -> usize {
        self.base.len() + self.specials.len()
    }

    pub fn base_tokens(&self) -> impl Iterator<Item = (&str, i64)> {
        self.base
            .iter()
            .map(|(token, &id)| (token.as_str(), i64::from(id)))
    }

    /// The tokenizer, as the library builds it from [`Self::tokenizer_json`].
    ///
    /// # Errors
    /// What the library refuses.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::from_bytes(serde_json::to_vec(&self.tokenizer_json())?)
            .map_err(|e| anyhow!("tokenizer.json: {e}"))
    }

    pub fn tokenizer_json(&self) -> Value {
        let added: Vec<Value> = self
            .specials
            .iter()
            .enumerate()
            .map(|(i, content)| {
                json!({"id": self.base.len() + i, "content": content, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true})
            })
            .collect();
        let normalizer = if self.cut == Cut::Qwen {
            json!({"type": "NFC"})
        } else {
            Value::Null
        };
        let post_processor = match self.prepended {
            Some(token) => json!({"type": "Sequence", "processors": [
                {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
                {"type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                    "pair": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                        {"SpecialToken": {"id": token, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
                    "special_tokens": {token: {"id": token, "ids": [self.special(token).unwrap_or_default()],
                        "tokens": [token]}}},
            ]}),
            None => Value::Null,
        };
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": self.cut.pre_tokenizer(), "post_processor": post_processor,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": self.cut == Cut::Llama, "vocab": self.vocab_json(), "merges": self.merges},
        })
    }

    /// `vocab.json`: base tokens by id.
    pub fn vocab_json(&self) -> Value {
        let mut by_id: Vec<(&String, &u32)> = self.base.iter().collect();
        by_id.sort_by_key(|(_, id)| **id);
        Value::Object(
            by_id
                .into_iter()
                .map(|(token, id)| (token.clone(), json!(id)))
                .collect(),
        )
    }

    pub fn merges_txt(&self) -> String {
        let mut out = String::from("#version: 0.2\n");
        for merge in &self.merges {
            let _ = writeln!(out, "{merge}");
        }
        out
    }

    pub fn added_tokens_json(&self) -> Value {
        let pairs = self
            .specials
            .iter()
            .enumerate()
            .map(|(i, s)| ((*s).to_owned(), json!(self.base.len() + i)));
        Value::Object(pairs.collect())
    }

    /// `added_tokens_decoder` of tokenizer_config.json.
    pub fn added_tokens_decoder(&self) -> Value {
        let entries = self.specials.iter().enumerate().map(|(i, content)| {
            let AddedToken { single_word, lstrip, rstrip, normalized, special, .. } = AddedToken::from(*content, true);
            let entry = json!({"content": content, "lstrip": lstrip, "normalized": normalized, "rstrip": rstrip,
                "single_word": single_word, "special": special});
            ((self.base.len() + i).to_string(), entry)
        });
        Value::Object(entries.collect())
    }
}

fn merge_line(merge: &Value) -> Result<String> {
    match merge {
        Value::String(line) => Ok(line.clone()),
        Value::Array(pair) => {
            let parts: Vec<&str> = pair.iter().filter_map(Value::as_str).collect();
            Ok(parts.join(" "))
        }
        other => bail!("a merge is a pair of tokens, not {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_and_words_are_mostly_one_token() {
        let vocabulary = Vocabulary::train(Cut::Qwen, &["<|endoftext|>"], None).unwrap();
        assert_eq!(vocabulary.len(), BASE_VOCAB + 1);
        let tokenizer = vocabulary.tokenizer().unwrap();
        let (mut words, mut tokens) = (0, 0);
        for document in documents(Split::Heldout, 0, 300, None) {
            let ids = tokenizer
                .encode(document.text.as_str(), false)
                .unwrap()
                .get_ids()
                .to_vec();
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), document.text);
            tokens += ids.len();
            words += document
                .text
                .split(|c: char| !c.is_alphabetic())
                .filter(|w| !w.is_empty())
                .count()
                + document
                    .text
                    .matches(|c: char| c.is_ascii_punctuation() || c.is_ascii_digit())
                    .count();
        }
        assert!(
            (tokens as f64) < 1.2 * words as f64,
            "{tokens} tokens for {words} words and marks"
        );
    }
}
