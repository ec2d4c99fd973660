//! Files of models and SAEs.

use std::{io::Cursor, path::Path};

use decoder::DecoderConfig;
use harness_engine::text::{TextCodec, TokenizerLimits};
use harness_weights::{
    Limits,
    pt::{Archive, Item, TensorDesc, numel, parse},
    read_header,
};

use crate::scratch;

/// Whatever the check of a header takes, the safetensors library takes too.
pub fn safetensors(data: &[u8]) {
    match read_header(data, data.len() as u64, Limits::default()) {
        Ok(_) => {
            let library = safetensors::SafeTensors::deserialize(data);
            let is_known = |error: &safetensors::SafeTensorError| {
                matches!(
                    error,
                    safetensors::SafeTensorError::InvalidHeaderDeserialization(_)
                )
            };
            // The library alone wants words in `__metadata__`.
            assert!(library.as_ref().err().is_none_or(is_known), "{library:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A tensor lies inside its storage and claims no more than is there.
fn inside(tensor: &TensorDesc) {
    assert_eq!(tensor.shape.len(), tensor.stride.len());
    let n = numel(&tensor.shape).expect("a shape that cannot be counted");
    assert!(n <= tensor.storage_len);
    if n > 0 {
        let steps = tensor.shape.iter().zip(&tensor.stride);
        let last = steps.fold(u128::from(tensor.offset), |at, (n, stride)| {
            at + u128::from(n - 1) * u128::from(*stride)
        });
        assert!(last < u128::from(tensor.storage_len));
    }
    assert!(i64::try_from(tensor.storage_bytes()).is_ok());
}

/// The list of tensors of a `.pt` file.
pub fn pickle(data: &[u8]) {
    match parse(data) {
        Ok(items) => {
            assert!(items.len() <= 257);
            for (name, item) in &items {
                assert!(name.len() <= 1024);
                if let Item::Tensor(tensor) = item {
                    inside(tensor);
                }
            }
        }
        Err(error) => assert!(!error.is_empty()),
    }
}

/// A whole `.pt` file: what is read of a tensor is as long as it says.
pub fn torch_archive(data: &[u8]) {
    let head = &data[..data.len().min(256)];
    let Ok((mut archive, items)) = Archive::open(Cursor::new(data), head, data.len() as u64) else {
        return;
    };
    for (name, item) in items {
        if let Item::Tensor(tensor) = item {
            inside(&tensor);
            if let Ok(bytes) = archive.storage(&name, &tensor) {
                assert_eq!(bytes.len() as u64, tensor.storage_bytes());
                assert!(bytes.len() <= data.len());
            }
        }
    }
}

/// What the check lets through must not take the tokenizer library, which panics and aborts on some
/// files, out of its stride.
pub fn tokenizer(data: &[u8]) {
    let limits = TokenizerLimits::default();
    if limits.check(Path::new("tokenizer.json"), data).is_err() {
        return;
    }
    let folder = scratch::folder("tokenizer", &[("tokenizer.json", data)]);
    if let Ok(codec) = TextCodec::load_with_limits(&folder, limits)
        && let Ok(ids) = codec.encode("a b", false)
    {
        let _ = codec.decode(&ids, true);
    }
}

/// The config.json of a model.
pub fn model_config(data: &[u8]) {
    let Ok(value) = serde_json::from_slice(data) else {
        return;
    };
    match DecoderConfig::from_json("config.json", &value) {
        Ok(config) => {
            let again = DecoderConfig::from_json("config.json", &value);
            assert_eq!(format!("{config:?}"), format!("{:?}", again.unwrap()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Inputs to begin with.
pub mod seeds {
    use crate::{pickled, texts};

    pub fn safetensors() -> Vec<Vec<u8>> {
        let entry = |name: &str, dtype: &str, n: u64, from: u64, to: u64| {
            format!(r#""{name}":{{"dtype":"{dtype}","shape":[{n}],"data_offsets":[{from},{to}]}}"#)
        };
        let (a, b) = (entry("a", "F32", 2, 0, 8), entry("b", "BF16", 3, 8, 14));
        let file = |header: String, n: usize| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes.resize(bytes.len() + n, 1);
            bytes
        };
        vec![
            file(format!("{{{a},{b}}}"), 14),
            file(format!(r#"{{"__metadata__":{{"k":"v"}},{b},{a}}}"#), 14),
            file(format!("{{{a},{b}}}"), 12),
            file(format!("{{{a},{a}}}"), 8),
            file(format!("{{{}}}", entry("e", "I64", 0, 0, 0)), 0),
            file("{}".to_owned(), 0),
            // Begins as a pickle does.
            file(format!("{:<640}", format!("{{{a}}}")), 8),
        ]
    }

    /// `{"w": a 2 × 3 tensor, "k": 8}` as `torch.save` writes it.
    fn program(storage: &str) -> Vec<u8> {
        let mut p = b"\x80\x02}q\x00(".to_vec();
        p.extend(pickled::word("w"));
        p.extend(pickled::tensor(storage, "0", &[2, 3]));
        p.extend(pickled::word("k"));
        p.extend(b"K\x08u.");
        p
    }

    pub fn pickle() -> Vec<Vec<u8>> {
        let mut nested = b"\x80\x02}".to_vec();
        nested.extend(pickled::word("outer"));
        nested.extend(b"}");
        nested.extend(pickled::word("inner"));
        nested.extend(b"G\x3f\xe0\0\0\0\0\0\0s");
        nested.extend(b"s.");
        let mut refused = b"\x80\x02".to_vec();
        refused.extend(pickled::global("os\nsystem"));
        refused.extend(b".");
        vec![
            program("FloatStorage"),
            program("BFloat16Storage"),
            nested,
            refused,
            b"\x80\x04\x95\x08\0\0\0\0\0\0\0}\x94(\x8c\x01k\x94\x88u.".to_vec(),
        ]
    }

    pub fn torch_archive() -> Vec<Vec<u8>> {
        let program = program("FloatStorage");
        vec![
            pickled::archive(&[
                ("ae/data.pkl", &program),
                ("ae/byteorder", b"little"),
                ("ae/data/0", &[0; 24]),
                ("ae/version", b"3\n"),
            ]),
            pickled::archive(&[("a/data.pkl", &program), ("a/data/0", &[0; 23])]),
            pickled::archive(&[("a/data.pkl", &program), ("a/byteorder", b"big")]),
            pickled::archive(&[("a/constants.pkl", b""), ("a/data.pkl", &program)]),
        ]
    }

    pub fn tokenizer() -> Vec<Vec<u8>> {
        let with = |more: &str| {
            format!(
                r#"{{"version":"1.0"{more},"model":{{"type":"BPE","vocab":{{"a":0,"b":1,"ab":2,"Ġ":3}},"merges":["a b"]}}}}"#
            )
        };
        texts(&[
            &with(""),
            &with(
                r#","added_tokens":[{"id":4,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}]"#,
            ),
            &with(
                r#","pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}"#,
            ),
            &with(
                r#","normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{L}+| ?[^\\s]"},"behavior":"Isolated","invert":false}]}"#,
            ),
            &with(
                r#","post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"a":{"id":"a","ids":[0],"tokens":["a"]}}}"#,
            ),
            &with(
                r#","padding":{"strategy":{"Fixed":8589934592},"direction":"Right","pad_id":0,"pad_type_id":0,"pad_token":"a"}"#,
            ),
        ])
    }

    pub fn model_config() -> Vec<Vec<u8>> {
        let llama = r#""vocab_size":8,"hidden_size":8,"intermediate_size":16,"num_hidden_layers":2,"num_attention_heads":2,"num_key_value_heads":1,"rms_norm_eps":1e-6,"rope_theta":10000.0,"max_position_embeddings":64,"hidden_act":"silu","tie_word_embeddings":false"#;
        texts(&[
            &format!(r#"{{"model_type":"llama",{llama}}}"#),
            &format!(
                r#"{{"model_type":"llama",{llama},"rope_scaling":{{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":32}}}}"#
            ),
            &format!(r#"{{"model_type":"qwen2",{llama},"eos_token_id":[1,2]}}"#),
            &format!(r#"{{"model_type":"Dream",{llama},"mask_token_id":7}}"#),
            &format!(
                r#"{{"model_type":"llama",{llama},"rope_scaling":{{"type":"yarn","factor":4.0}},"original_max_position_embeddings":16}}"#
            ),
            r#"{"model_type":"llada","block_type":"llama","layer_norm_type":"rms","activation_type":"silu","rope":true,"vocab_size":8,"embedding_size":8,"d_model":8,"mlp_hidden_size":16,"n_layers":2,"n_heads":2,"n_kv_heads":2,"rms_norm_eps":1e-5,"rope_theta":500000.0,"max_sequence_length":64,"mask_token_id":7}"#,
            r#"{"model_type":"gpt2","vocab_size":8,"n_embd":8,"n_layer":2,"n_head":2,"n_positions":64,"n_ctx":64,"layer_norm_epsilon":1e-5,"activation_function":"gelu_new"}"#,
        ])
    }
}
