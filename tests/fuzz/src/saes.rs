//! Folders of SAEs.

use plugin_topk::{Format, InputNorm, NonFinite, SaeError, Stored, TopKWeights, load, save};
use serde_json::json;
use tch::Tensor;

use crate::scratch;

/// The layout, the configuration and the weights of an input: a byte, two bytes of a length, so
/// many bytes, the rest.
fn parts(data: &[u8]) -> Option<(Format, &[u8], &[u8])> {
    let (head, rest) = data.split_first_chunk::<3>()?;
    let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
    let (config, weights) = rest.split_at_checked(length)?;
    Some((Format::ALL[usize::from(head[0] % 4)], config, weights))
}

fn read(format: Format, config: &[u8], weights: &[u8]) -> Result<TopKWeights, SaeError> {
    let mut files = vec![(format.weights_file(), weights)];
    files.extend(format.config_file().map(|name| (name, config)));
    load(&scratch::folder(format.name(), &files), NonFinite::Refuse)
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let flat = tensor.contiguous().flatten(0, -1);
    let values = Vec::<f32>::try_from(flat).expect("weights are f32 on the CPU");
    values.into_iter().map(f32::to_bits).collect()
}

/// What is computed with an SAE.
fn meaning(sae: &TopKWeights) -> impl PartialEq + std::fmt::Debug {
    let tensors = [&sae.w_enc, &sae.b_enc, &sae.w_dec, &sae.b_dec];
    (
        tensors.map(|tensor| (tensor.size(), bits(tensor))),
        (sae.k, sae.apply_b_dec_to_input),
        (sae.rescale_by_decoder_norm, sae.meta.layer),
    )
}

/// An SAE that is read has tensors of its sizes and numbers that are finite; written anew, it is
/// the same SAE.
pub fn sae(data: &[u8]) {
    let Some((format, config, weights)) = parts(data) else {
        return;
    };
    let Ok(sae) = read(format, config, weights) else {
        return;
    };
    let (d_model, d_sae) = (sae.d_model() as i64, sae.d_sae() as i64);
    assert_eq!(sae.w_dec.size(), [d_sae, d_model]);
    assert_eq!(sae.b_enc.size(), [d_sae]);
    assert_eq!(sae.b_dec.size(), [d_model]);
    assert!((1..=sae.d_sae()).contains(&sae.k));
    for tensor in [&sae.w_enc, &sae.b_enc, &sae.w_dec, &sae.b_dec] {
        assert!(
            bits(tensor)
                .iter()
                .all(|&bits| f32::from_bits(bits).is_finite())
        );
    }
    if sae.input_norm != InputNorm::None {
        return;
    }
    let written = scratch::folder("written", &[]);
    save(&sae, &written, Format::Saelens, Stored::F32, &json!({}))
        .expect("what was read is written");
    let again = load(&written, NonFinite::Refuse).expect("what was written is read");
    assert_eq!(meaning(&again), meaning(&sae));
}

/// Inputs to begin with.
pub mod seeds {
    use plugin_topk::Format;
    use serde_json::{Value, json};

    use crate::pickled;

    /// A tensor's name and sizes.
    type Sizes<'a> = (&'a str, &'a [u8]);

    fn input(format: Format, config: &Value, weights: &[u8]) -> Vec<u8> {
        let config = match format.config_file() {
            Some(_) => config.to_string(),
            None => String::new(),
        };
        let number = Format::ALL.iter().position(|known| *known == format);
        let mut bytes = vec![number.unwrap() as u8];
        bytes.extend((config.len() as u16).to_le_bytes());
        bytes.extend(config.as_bytes());
        bytes.extend(weights);
        bytes
    }

    fn numbers(n: usize) -> Vec<u8> {
        (0..n)
            .flat_map(|i| (i as f32 * 0.5 - 1.0).to_le_bytes())
            .collect()
    }

    fn safetensors(tensors: &[Sizes]) -> Vec<u8> {
        let (mut header, mut at) = (serde_json::Map::new(), 0);
        for (name, shape) in tensors {
            let end = at + 4 * shape.iter().map(|&n| usize::from(n)).product::<usize>();
            let body = json!({"dtype": "F32", "shape": shape, "data_offsets": [at, end]});
            header.insert((*name).to_owned(), body);
            at = end;
        }
        let header = Value::Object(header).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(numbers(at / 4));
        bytes
    }

    /// A state dict with `more` as further items.
    fn state_dict(tensors: &[Sizes], more: &[u8]) -> Vec<u8> {
        let mut program = b"\x80\x02}(".to_vec();
        let mut records = Vec::new();
        for (i, (name, shape)) in tensors.iter().enumerate() {
            program.extend(pickled::word(name));
            program.extend(pickled::tensor("FloatStorage", &i.to_string(), shape));
            let n = shape.iter().map(|&n| usize::from(n)).product();
            records.push((format!("a/data/{i}"), numbers(n)));
        }
        program.extend(more);
        program.extend(b"u.");
        let mut files: Vec<(&str, &[u8])> = vec![("a/data.pkl", &program)];
        files.extend(records.iter().map(|(name, bytes)| (&**name, &**bytes)));
        pickled::archive(&files)
    }

    pub fn sae() -> Vec<Vec<u8>> {
        let (enc, dec): (&[u8], &[u8]) = (&[3, 2], &[2, 3]);
        let saelens = json!({"architecture": "topk", "d_in": 2, "d_sae": 3, "k": 2, "metadata": {"hook_name": "blocks.1.hook_resid_post"}});
        let plain = json!({"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 1}, "d_in": 2, "d_sae": 3, "apply_b_dec_to_input": false, "rescale_acts_by_decoder_norm": true});
        let lens = safetensors(&[
            ("W_enc", dec),
            ("b_enc", &[3]),
            ("W_dec", enc),
            ("b_dec", &[2]),
        ]);
        let sparsify = json!({"d_in": 2, "num_latents": 3, "k": 2, "activation": "topk"});
        let rows = safetensors(&[
            ("encoder.weight", enc),
            ("encoder.bias", &[3]),
            ("W_dec", enc),
            ("b_dec", &[2]),
        ]);
        let learned = json!({"trainer": {"dict_class": "AutoEncoderTopK", "activation_dim": 2, "dict_size": 3, "k": 2, "layer": 1}, "buffer": {"io": "out"}});
        let torch = state_dict(
            &[
                ("encoder.weight", enc),
                ("encoder.bias", &[3]),
                ("decoder.weight", dec),
                ("b_dec", &[2]),
                ("threshold", &[]),
            ],
            b"",
        );
        let mut activation = [pickled::word("activation"), pickled::word("TopK")].concat();
        activation.extend(pickled::word("activation_state_dict"));
        activation.extend(b"}(");
        activation.extend([pickled::word("k"), b"K\x02".to_vec()].concat());
        activation.extend([pickled::word("postact_fn"), pickled::word("ReLU")].concat());
        activation.push(b'u');
        let openai = state_dict(
            &[
                ("encoder.weight", enc),
                ("latent_bias", &[3]),
                ("decoder.weight", dec),
                ("pre_bias", &[2]),
            ],
            &activation,
        );
        vec![
            input(Format::Saelens, &saelens, &lens),
            input(Format::Saelens, &plain, &lens),
            input(Format::Sparsify, &sparsify, &rows),
            input(Format::DictionaryLearning, &learned, &torch),
            input(Format::OpenAi, &Value::Null, &openai),
        ]
    }

    #[test]
    fn every_seed_is_an_sae() {
        for seed in sae() {
            let (format, config, weights) = super::parts(&seed).unwrap();
            if let Err(error) = super::read(format, config, weights) {
                panic!("{}: {error}", format.name());
            }
        }
    }
}
