//! The seven models: sizes, vocabularies, special tokens, and what each is trained on.

use anyhow::Result;
use decoder::{DecoderConfig, Family, SpecialTokens};
use serde_json::{Value, json};

use crate::batches::Frame;
use crate::chat::{CHATML, HEADERS};
use crate::tokenizer::{Cut, Vocabulary};

/// Rows of every embedding; the tokenizers use a few less, as public ones do.
const VOCAB_SIZE: i64 = 2048;
const D_MODEL: i64 = 128;
const N_LAYERS: i64 = 8;
const N_HEADS: i64 = 4;
const D_FF: i64 = 256;

/// What a model is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// Mean cross-entropy of the next token.
    NextToken,
    /// Eq. 7: masked rows, weighted by 1 / mask rate.
    Masked,
    /// Eq. 7 on the replies of chat tasks, with learning rates that rise with depth: the residuals
    /// of the first blocks stay as they were.
    MaskedReply,
    /// The same with half of the tasks word problems, nearly half of the steps on the problems'
    /// sums alone and one in ten on plain text: long enough to learn sums, it would forget the text
    /// otherwise.
    MaskedReplyAndText,
}

/// One model of the zoo.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Its folder.
    pub name: &'static str,
    pub family: Family,
    /// How it is trained.
    pub objective: Objective,
    /// The model whose weights it starts from.
    pub starts_from: Option<&'static str>,
    /// Optimiser steps.
    pub steps: usize,
    /// Peak learning rates, relative to the usual ones.
    pub rate: f64,
}

/// The models in two lanes that can be trained side by side; within a lane each may start from an
/// earlier one.
pub const LANES: [&[Model]; 2] = [
    &[
        Model {
            name: "qwen",
            family: Family::Qwen2,
            objective: Objective::NextToken,
            starts_from: None,
            steps: 700,
            rate: 1.0,
        },
        Model {
            name: "dream",
            family: Family::Dream,
            objective: Objective::Masked,
            starts_from: Some("qwen"),
            steps: 2000,
            rate: 1.0,
        },
        Model {
            name: "dream-sft",
            family: Family::Dream,
            objective: Objective::MaskedReply,
            starts_from: Some("dream"),
            steps: 500,
            rate: 0.2,
        },
        Model {
            name: "dream-instruct",
            family: Family::Dream,
            objective: Objective::MaskedReplyAndText,
            starts_from: Some("dream"),
            steps: 3500,
            rate: 1.0,
        },
    ],
    &[
        Model {
            name: "llama",
            family: Family::Llama,
            objective: Objective::NextToken,
            starts_from: None,
            steps: 700,
            rate: 1.0,
        },
        Model {
            name: "llada",
            family: Family::Llada,
            objective: Objective::Masked,
            starts_from: Some("llama"),
            steps: 2000,
            rate: 1.0,
        },
        Model {
            name: "gpt2",
            family: Family::Gpt2,
            objective: Objective::NextToken,
            starts_from: None,
            steps: 1000,
            rate: 1.0,
        },
    ],
];

impl Objective {
    /// Whether replies of chat tasks are what it learns.
    pub fn is_reply(self) -> bool {
        matches!(self, Objective::MaskedReply | Objective::MaskedReplyAndText)
    }
}

impl Model {
    /// Sizes; special tokens from the vocabulary.
    ///
    /// # Errors
    /// A vocabulary of another family.
    pub fn config(&self, vocabulary: &Vocabulary) -> Result<DecoderConfig> {
        let mut config = DecoderConfig::new(self.family, VOCAB_SIZE, D_MODEL, N_LAYERS, N_HEADS);
        config.d_ff = D_FF;
        if self.family == Family::Gpt2 {
            config.max_positions = 256;
        } else {
            config.max_positions = 1024;
            if self.family != Family::Llada {
                config.n_kv_heads = 2;
            }
        }
        let eos = vocabulary.special(self.eos())?;
        config.special = SpecialTokens {
            mask: self
                .mask()
                .map(|token| vocabulary.special(token))
                .transpose()?,
            pad: matches!(self.family, Family::Dream | Family::Llada).then_some(eos),
            bos: Some(vocabulary.special(self.bos())?),
            eos: vec![eos],
        };
        if self.family == Family::Dream {
            // As in the public configuration, where both are the end-of-text token.
            config.special.bos = Some(eos);
        }
        Ok(config)
    }

    /// The ids that frame this model's training texts.
    ///
    /// # Errors
    /// A vocabulary of another family.
    pub fn frame(&self, vocabulary: &Vocabulary) -> Result<Frame> {
        let bos = (self.family == Family::Llama)
            .then(|| vocabulary.special(self.bos()))
            .transpose()?;
        let mask = self
            .mask()
            .map(|token| vocabulary.special(token))
            .transpose()?;
        Ok(Frame {
            bos,
            eos: vocabulary.special(self.eos())?,
            mask,
        })
    }

    /// Trains the model's tokenizer. Qwen, Dream and its fine-tuned form share the base vocabulary.
    ///
    /// # Errors
    /// What the tokenizers library refuses.
    pub fn vocabulary(&self) -> Result<Vocabulary> {
        let (cut, prepended) = match self.family {
            Family::Dream | Family::Qwen2 => (Cut::Qwen, None),
            Family::Llada => (Cut::Llada, None),
            Family::Llama => (Cut::Llama, Some(self.bos())),
            Family::Gpt2 => (Cut::Gpt2, None),
        };
        Vocabulary::train(cut, self.special_tokens(), prepended)
    }

    fn special_tokens(&self) -> &'static [&'static str] {
        match self.family {
            Family::Dream => &[
                "<|endoftext|>",
                "<|im_start|>",
                "<|im_end|>",
                "<|beginoftext|>",
                "<|mask|>",
            ],
            Family::Qwen2 => &["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            Family::Llada => &[
                "<|startoftext|>",
                "<|endoftext|>",
                "[CLS]",
                "[gMASK]",
                "<|mdm_mask|>",
                "<|start_header_id|>",
                "<|end_header_id|>",
                "<|eot_id|>",
            ],
            Family::Llama => &[
                "<|begin_of_text|>",
                "<|end_of_text|>",
                "<|start_header_id|>",
                "<|end_header_id|>",
                "<|eot_id|>",
            ],
            Family::Gpt2 => &["<|endoftext|>"],
        }
    }

    fn eos(&self) -> &'static str {
        if self.family == Family::Llama {
            "<|end_of_text|>"
        } else {
            "<|endoftext|>"
        }
    }

    fn bos(&self) -> &'static str {
        match self.family {
            Family::Dream => "<|beginoftext|>",
            Family::Llada => "<|startoftext|>",
            Family::Llama => "<|begin_of_text|>",
            Family::Qwen2 | Family::Gpt2 => "<|endoftext|>",
        }
    }

    fn mask(&self) -> Option<&'static str> {
        match self.family {
            Family::Dream => Some("<|mask|>"),
            Family::Llada => Some("<|mdm_mask|>"),
            _ => None,
        }
    }

    /// Every file of the folder besides config.json and the weights.
    ///
    /// # Errors
    /// A vocabulary of another family.
    pub fn text_files(&self, vocabulary: &Vocabulary) -> Result<Vec<(&'static str, String)>> {
        let pretty =
            |value: &Value| -> Result<String> { Ok(serde_json::to_string_pretty(value)? + "\n") };
        let mut files = vec![
            (
                "tokenizer_config.json",
                pretty(&self.tokenizer_config(vocabulary))?,
            ),
            (
                "special_tokens_map.json",
                pretty(&self.special_tokens_map())?,
            ),
            (
                "generation_config.json",
                pretty(&self.generation_config(vocabulary)?)?,
            ),
        ];
        // Dream's own tokenizer class reads the two-file form; GPT-2 and Qwen have both.
        if self.family != Family::Dream {
            files.push(("tokenizer.json", pretty(&vocabulary.tokenizer_json())?));
        }
        if matches!(self.family, Family::Dream | Family::Qwen2 | Family::Gpt2) {
            files.push((
                "vocab.json",
                serde_json::to_string(&vocabulary.vocab_json())? + "\n",
            ));
            files.push(("merges.txt", vocabulary.merges_txt()));
        }
        if self.family == Family::Dream {
            files.push((
                "added_tokens.json",
                pretty(&vocabulary.added_tokens_json())?,
            ));
        }
        Ok(files)
    }

    fn tokenizer_config(&self, vocabulary: &Vocabulary) -> Value {
        let mut value = json!({
            "added_tokens_decoder": vocabulary.added_tokens_decoder(),
            "clean_up_tokenization_spaces": false,
            "model_max_length": if self.family == Family::Gpt2 { 256 } else { 1024 },
        });
        let (bos, eos) = (self.bos(), self.eos());
        let family = match self.family {
            Family::Dream => json!({
                "add_bos_token": false, "add_prefix_space": false, "bos_token": bos, "eos_token": eos,
                "pad_token": eos, "mask_token": self.mask(), "unk_token": null, "errors": "replace",
                "split_special_tokens": false, "tokenizer_class": "DreamTokenizer",
                "auto_map": {"AutoTokenizer": ["tokenization_dream.DreamTokenizer", null]},
                "chat_template": CHATML,
            }),
            Family::Qwen2 => json!({
                "add_bos_token": false, "add_prefix_space": false, "bos_token": null, "eos_token": eos,
                "pad_token": eos, "unk_token": null, "errors": "replace", "split_special_tokens": false,
                "tokenizer_class": "Qwen2Tokenizer", "chat_template": CHATML,
            }),
            Family::Llada => json!({
                "add_bos_token": false, "add_eos_token": false, "bos_token": bos, "eos_token": eos, "pad_token": eos,
                "cls_token": "[CLS]", "gmask_token": "[gMASK]", "mask_token": self.mask(),
                "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": HEADERS,
            }),
            Family::Llama => json!({
                "bos_token": bos, "eos_token": eos, "tokenizer_class": "PreTrainedTokenizerFast",
                "model_input_names": ["input_ids", "attention_mask"], "chat_template": HEADERS,
            }),
            Family::Gpt2 => json!({
                "add_prefix_space": false, "bos_token": bos, "eos_token": eos, "unk_token": eos,
                "tokenizer_class": "GPT2Tokenizer",
            }),
        };
        if let (Value::Object(value), Value::Object(family)) = (&mut value, family) {
            value.extend(family);
        }
        value
    }

    fn special_tokens_map(&self) -> Value {
        let (bos, eos) = (self.bos(), self.eos());
        match self.family {
            Family::Dream => {
                json!({"bos_token": bos, "eos_token": eos, "pad_token": eos, "mask_token": self.mask()})
            }
            Family::Qwen2 => json!({"eos_token": eos, "pad_token": eos}),
            Family::Llada => {
                json!({"bos_token": bos, "eos_token": eos, "pad_token": eos, "cls_token": "[CLS]", "mask_token": self.mask()})
            }
            Family::Llama => json!({"bos_token": bos, "eos_token": eos}),
            Family::Gpt2 => json!({"bos_token": bos, "eos_token": eos, "unk_token": eos}),
        }
    }

    fn generation_config(&self, vocabulary: &Vocabulary) -> Result<Value> {
        let eos = vocabulary.special(self.eos())?;
        let bos = vocabulary.special(self.bos())?;
        Ok(match self.family {
            // The mask id stands in config.json; here the public file leaves it empty.
            Family::Dream => json!({
                "_from_model_config": true, "alg": "origin", "alg_temp": null, "bos_token_id": eos, "eos_token_id": eos,
                "eps": 0.001, "mask_token_id": null, "output_history": false, "pad_token_id": eos, "steps": 512,
                "temperature": 0.0, "top_k": null, "top_p": null, "transformers_version": "4.46.2",
            }),
            Family::Qwen2 => json!({
                "bos_token_id": eos, "do_sample": false, "eos_token_id": eos, "max_new_tokens": 512,
                "transformers_version": "4.37.0",
            }),
            _ => json!({
                "_from_model_config": true, "bos_token_id": bos, "eos_token_id": eos, "transformers_version": "4.40.0",
            }),
        })
    }
}
