//! What every model plugin has to hold, through the traits that the host drives. Each plugin's
//! tests include this file.

use std::path::Path;

use decoder::{DecoderConfig, Family, save_checkpoint};
use harness_sdk::{
    Attention, CacheMode, DType, Device, ErrorCode, Forward, LoadRequest, ModelAdapter, ModelInfo,
    Value, View, ViewMut,
};
use tch::{Kind, Tensor, nn};

const D: usize = 32;
const V: usize = 50;
const LAYERS: usize = 4;

fn config(family: Family) -> DecoderConfig {
    let mut config = DecoderConfig::new(family, V as i64, D as i64, LAYERS as i64, 4);
    config.d_ff = 48;
    config.max_positions = 64;
    config.special.mask = Some(47);
    config.special.pad = Some(48);
    config.special.eos = vec![49];
    config
}

/// A folder with a random model of the family.
fn folder(family: Family) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    tch::manual_seed(11);
    let store = nn::VarStore::new(tch::Device::Cpu);
    let config = config(family);
    decoder::init(&config, &store.root()).expect("a valid configuration");
    // Spread the small first weights, so that what is compared below is not almost zero.
    tch::no_grad(|| {
        for (_, mut variable) in store.variables() {
            let noise = variable.randn_like() * 0.1;
            let _ = variable.f_add_(&noise).expect("same shape");
        }
    });
    save_checkpoint(folder.path(), &config, store.variables(), Kind::BFloat16).expect("written");
    folder
}

fn adapter<A: ModelAdapter>(dir: &Path, dtype: DType) -> (A, ModelInfo) {
    tch::set_num_threads(1);
    let mut adapter = A::new("model", &Value::Null).expect("no settings are needed");
    let request = LoadRequest {
        dir: dir.to_owned(),
        device: Device::CPU,
        dtype,
        allow_nan: false,
    };
    let info = adapter
        .load(&request)
        .unwrap_or_else(|error| panic!("{}", error.message()));
    (adapter, info)
}

fn tokens(b: usize, t: usize) -> Vec<i64> {
    (0..b * t).map(|i| (i as i64 * 17 + 5) % 47).collect()
}

fn begin<A: ModelAdapter>(
    adapter: &mut A,
    mask: &[u8],
    b: usize,
    cache: CacheMode,
) -> Box<dyn Forward> {
    let shape = [b as i64, (mask.len() / b) as i64];
    let view = View::of_u8(mask, &shape).expect("the shape fits");
    adapter
        .begin(view, cache)
        .unwrap_or_else(|error| panic!("{}", error.message()))
}

/// Embeds `tokens` [b, t] from column `start`.
fn embed(forward: &mut dyn Forward, tokens: &[i64], b: usize, start: usize) -> Vec<f32> {
    let t = tokens.len() / b;
    let mut resid = vec![0.0; b * t * D];
    let (shape, out) = ([b as i64, t as i64], [b as i64, t as i64, D as i64]);
    let mut view = ViewMut::of_f32(&mut resid, &out).expect("the shape fits");
    let ids = View::of_i64(tokens, &shape).expect("the shape fits");
    forward
        .embed(ids, start, &mut view)
        .unwrap_or_else(|error| panic!("{}", error.message()));
    resid
}

fn blocks(forward: &mut dyn Forward, resid: &mut [f32], b: usize, first: usize, last: usize) {
    let shape = [b as i64, (resid.len() / b / D) as i64, D as i64];
    let mut view = ViewMut::of_f32(resid, &shape).expect("the shape fits");
    forward
        .blocks(first, last, &mut view)
        .unwrap_or_else(|error| panic!("{}", error.message()));
}

fn unembed(forward: &mut dyn Forward, rows: &[f32]) -> Vec<f32> {
    let n = rows.len() / D;
    let mut logits = vec![0.0; n * V];
    let (shape, out) = ([n as i64, D as i64], [n as i64, V as i64]);
    let mut view = ViewMut::of_f32(&mut logits, &out).expect("the shape fits");
    let rows = View::of_f32(rows, &shape).expect("the shape fits");
    forward
        .unembed(rows, &mut view)
        .unwrap_or_else(|error| panic!("{}", error.message()));
    logits
}

/// Logits of a whole batch through one forward.
fn logits<A: ModelAdapter>(adapter: &mut A, ids: &[i64], mask: &[u8], b: usize) -> Vec<f32> {
    let mut forward = begin(adapter, mask, b, CacheMode::OFF);
    let mut resid = embed(&mut *forward, ids, b, 0);
    blocks(&mut *forward, &mut resid, b, 0, LAYERS);
    unembed(&mut *forward, &resid)
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

/// All laws for one plugin.
pub fn check<A: ModelAdapter>(family: Family) {
    let folder = folder(family);
    let (mut adapter, info) = adapter::<A>(folder.path(), DType::F32);
    tells_what_it_is(&adapter, &info, family, folder.path());
    splits_are_bit_identical(&mut adapter);
    rows_and_padding_do_not_matter(&mut adapter);
    stacked_rows_are_their_parts(&mut adapter);
    costs_are_those_of_the_logits(&mut adapter);
    if info.attention == Attention::CAUSAL {
        stored_keys_change_nothing(&mut adapter);
    } else {
        let view = View::of_u8(&[1, 1], &[1, 2]).expect("the shape fits");
        assert!(
            adapter.begin(view, CacheMode::ON).is_err(),
            "stored keys need causal attention"
        );
    }
    low_precision_is_close(&mut adapter, folder.path());
    refuses_other_families::<A>(family);
}

fn tells_what_it_is<A: ModelAdapter>(adapter: &A, info: &ModelInfo, family: Family, dir: &Path) {
    let inspected = adapter
        .inspect(dir)
        .unwrap_or_else(|error| panic!("{}", error.message()));
    assert_eq!(&inspected, info, "before and after loading");
    assert_eq!(info.family, family.name());
    assert_eq!(
        (
            info.n_layers,
            info.d_model,
            info.vocab_size,
            info.max_positions
        ),
        (LAYERS, D, V, 64)
    );
    assert_eq!(
        (info.mask_token_id, info.pad_token_id),
        (Some(47), Some(48))
    );
    assert_eq!(info.eos_token_ids, [49]);
    assert_eq!(info.stored_dtype, DType::BF16);
    assert_eq!(info.n_params, config(family).n_params() as u64);
    let small = adapter
        .memory_estimate(1, 8)
        .unwrap_or_else(|error| panic!("{}", error.message()));
    let large = adapter
        .memory_estimate(8, 32)
        .unwrap_or_else(|error| panic!("{}", error.message()));
    assert!(small > 0 && large > 8 * small, "{small} {large}");
}

fn splits_are_bit_identical<A: ModelAdapter>(adapter: &mut A) {
    let (b, t) = (2, 7);
    let mask = [1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1];
    let mut forward = begin(adapter, &mask, b, CacheMode::OFF);
    let start = embed(&mut *forward, &tokens(b, t), b, 0);
    let mut whole = start.clone();
    blocks(&mut *forward, &mut whole, b, 0, LAYERS);
    for cut in 0..=LAYERS {
        let mut parts = start.clone();
        blocks(&mut *forward, &mut parts, b, 0, cut);
        // Another forward on the same model, alive at the same time, takes the residual over.
        let mut other = begin(adapter, &mask, b, CacheMode::OFF);
        blocks(&mut *other, &mut parts, b, cut, cut);
        blocks(&mut *other, &mut parts, b, cut, LAYERS);
        assert!(whole == parts, "cut at {cut}");
    }
}

fn rows_and_padding_do_not_matter<A: ModelAdapter>(adapter: &mut A) {
    let t = 6;
    let both = tokens(2, t);
    let mut other = both.clone();
    other[t..].reverse();
    let full = [1_u8; 12];
    let (first, second) = (
        logits(adapter, &both, &full, 2),
        logits(adapter, &other, &full, 2),
    );
    assert!(first[..t * V] == second[..t * V], "row 1 changed row 0");
    assert!(first[t * V..] != second[t * V..]);
    let alone = logits(adapter, &both[..t], &full[..t], 1);
    // Other shapes sum in another order: float32 noise on values of order 1.
    assert!(largest_difference(&alone, &first[..t * V]) < 5e-5);
    for (left, right) in [(3, 0), (0, 3), (2, 1)] {
        let mut padded = vec![48; left];
        padded.extend(&both[..t]);
        padded.extend(vec![48; right]);
        let mask: Vec<u8> = (0..left + t + right)
            .map(|i| u8::from(i >= left && i < left + t))
            .collect();
        let ours = logits(adapter, &padded, &mask, 1);
        assert!(
            largest_difference(&alone, &ours[left * V..(left + t) * V]) < 5e-5,
            "{left} {right}"
        );
        assert!(ours.iter().all(|value| value.is_finite()));
    }
}

fn stacked_rows_are_their_parts<A: ModelAdapter>(adapter: &mut A) {
    let (b, t) = (2, 5);
    let mask = [1, 1, 1, 1, 1, 0, 1, 1, 1, 1];
    let mut forward = begin(adapter, &mask, b, CacheMode::OFF);
    let mut prefix = embed(&mut *forward, &tokens(b, t), b, 0);
    blocks(&mut *forward, &mut prefix, b, 0, 1);
    let parts: Vec<Vec<f32>> = (0..3_u8)
        .map(|copy| prefix.iter().map(|x| x + 0.1 * f32::from(copy)).collect())
        .collect();
    let mut stacked = parts.concat();
    blocks(&mut *forward, &mut stacked, 3 * b, 1, LAYERS);
    for (mut part, ours) in parts.into_iter().zip(stacked.chunks(b * t * D)) {
        blocks(&mut *forward, &mut part, b, 1, LAYERS);
        // Row 1 begins with padding, where nothing is defined.
        assert!(largest_difference(&part[..t * D], &ours[..t * D]) < 5e-5);
        assert!(largest_difference(&part[(t + 1) * D..], &ours[(t + 1) * D..]) < 5e-5);
    }
}

fn costs_are_those_of_the_logits<A: ModelAdapter>(adapter: &mut A) {
    let mut forward = begin(adapter, &[1; 9], 1, CacheMode::OFF);
    let mut resid = embed(&mut *forward, &tokens(1, 9), 1, 0);
    blocks(&mut *forward, &mut resid, 1, 0, LAYERS);
    let logits = unembed(&mut *forward, &resid);
    let targets = tokens(1, 9);
    let mut costs = vec![0.0; 9];
    let (rows_shape, n) = ([9, D as i64], [9]);
    let rows = View::of_f32(&resid, &rows_shape).expect("the shape fits");
    let ids = View::of_i64(&targets, &n).expect("the shape fits");
    let mut view = ViewMut::of_f32(&mut costs, &n).expect("the shape fits");
    forward
        .unembed_ce(rows, ids, &mut view)
        .unwrap_or_else(|error| panic!("{}", error.message()));
    for (row, cost) in costs.iter().enumerate() {
        let row_logits = &logits[row * V..(row + 1) * V];
        let total: f64 = row_logits.iter().map(|x| f64::from(*x).exp()).sum();
        let expected = total.ln() - f64::from(row_logits[targets[row] as usize]);
        assert!(
            (f64::from(*cost) - expected).abs() < 1e-4,
            "{cost} {expected}"
        );
    }
    let mut normed = vec![0.0; resid.len()];
    let mut view = ViewMut::of_f32(&mut normed, &rows_shape).expect("the shape fits");
    forward
        .final_norm(rows, &mut view)
        .unwrap_or_else(|error| panic!("{}", error.message()));
    assert!(normed != resid && normed.iter().all(|value| value.is_finite()));
}

fn stored_keys_change_nothing<A: ModelAdapter>(adapter: &mut A) {
    let (b, t) = (2, 8);
    let ids = tokens(b, t);
    let mut mask = [1_u8; 16];
    mask[t] = 0;
    mask[t + 1] = 0;
    let whole = logits(adapter, &ids, &mask, b);
    let mut forward = begin(adapter, &mask, b, CacheMode::ON);
    let mut at = 0;
    for len in [4, 1, 1, 2] {
        let chunk: Vec<i64> = (0..b)
            .flat_map(|row| ids[row * t + at..row * t + at + len].to_vec())
            .collect();
        let mut resid = embed(&mut *forward, &chunk, b, at);
        blocks(&mut *forward, &mut resid, b, 0, 2);
        blocks(&mut *forward, &mut resid, b, 2, LAYERS);
        let ours = unembed(&mut *forward, &resid);
        for row in 0..b {
            for i in (0..len).filter(|i| mask[row * t + at + i] == 1) {
                let theirs = &whole[(row * t + at + i) * V..(row * t + at + i + 1) * V];
                let ours = &ours[(row * len + i) * V..(row * len + i + 1) * V];
                assert!(
                    largest_difference(ours, theirs) < 5e-5,
                    "row {row}, token {}",
                    at + i
                );
            }
        }
        at += len;
    }
}

/// bfloat16 keeps 8 bits: a few parts in a hundred of the spread of the logits after four blocks.
fn low_precision_is_close<A: ModelAdapter>(exact: &mut A, dir: &Path) {
    let (ids, mask) = (tokens(1, 8), [1_u8; 8]);
    let expected = logits(exact, &ids, &mask, 1);
    let spread = Tensor::from_slice(&expected).std(true).double_value(&[]) as f32;
    for dtype in [DType::BF16, DType::F16] {
        let (mut model, info) = adapter::<A>(dir, dtype);
        assert_eq!(info.stored_dtype, DType::BF16);
        let ours = logits(&mut model, &ids, &mask, 1);
        assert!(
            largest_difference(&ours, &expected) < 0.1 * spread,
            "{dtype:?}"
        );
        assert!(ours != expected, "{dtype:?} is float32 in disguise");
    }
    let mut model = A::new("model", &Value::Null).expect("no settings are needed");
    let device = Device { kind: 2, index: 99 };
    let request = LoadRequest {
        dir: dir.to_owned(),
        device,
        dtype: DType::F32,
        allow_nan: false,
    };
    let error = model.load(&request).expect_err("there is no such device");
    assert!(error.message().contains("cuda:99"), "{}", error.message());
}

fn refuses_other_families<A: ModelAdapter>(family: Family) {
    let other = if family == Family::Llama {
        Family::Qwen2
    } else {
        Family::Llama
    };
    let folder = folder(other);
    let mut adapter = A::new("model", &Value::Null).expect("no settings are needed");
    let request = LoadRequest {
        dir: folder.path().to_owned(),
        device: Device::CPU,
        dtype: DType::F32,
        allow_nan: false,
    };
    let error = adapter.load(&request).expect_err("another family");
    assert_eq!(error.code(), ErrorCode::INPUT);
    assert!(
        error
            .message()
            .contains(&format!("use the adapter \"{}\"", other.name())),
        "{}",
        error.message()
    );
    let view = View::of_u8(&[1, 1], &[1, 2]).expect("the shape fits");
    assert!(
        adapter.begin(view, CacheMode::OFF).is_err(),
        "nothing is loaded"
    );
    assert!(
        A::new("model", &serde_json::json!({"dtype": "f32"})).is_err(),
        "there are no settings"
    );
}
