//! Fixture access and comparisons shared by the test binaries.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Once;

use decoder::{Decoder, DecoderConfig, Family, LoadOptions};
use tch::{Device, Kind, Tensor, nn};

/// The parity fixtures beside the repository; says so when they are absent.
pub fn golden() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/golden");
    if folder.join("index.json").exists() {
        return Some(folder);
    }
    eprintln!("skipped: ../shared not present");
    None
}

/// The parity fixtures in the repository: fewer cases, and no shards.
pub fn parity() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/parity")
}

/// Directory and family of each fixture.
pub const FIXTURES: [(&str, Family); 5] = [
    ("dream", Family::Dream),
    ("llada", Family::Llada),
    ("qwen2", Family::Qwen2),
    ("llama", Family::Llama),
    ("gpt2", Family::Gpt2),
];

/// One thread: the machine is shared, and results must not depend on it.
pub fn one_thread() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tch::set_num_threads(1));
}

pub fn load(folder: &Path) -> Box<dyn Decoder> {
    one_thread();
    decoder::load(folder, None, &LoadOptions::default()).expect("the fixture loads")
}

/// A small random model of a family; biases and norms are random too, so that none of them can be
/// forgotten.
pub fn random_model(family: Family, seed: i64) -> (Box<dyn Decoder>, nn::VarStore) {
    one_thread();
    let mut config = DecoderConfig::new(family, 50, 32, 4, 4);
    config.d_ff = 48;
    config.max_positions = 64;
    if !matches!(family, Family::Gpt2 | Family::Llada) {
        config.n_kv_heads = 2;
    }
    let store = nn::VarStore::new(Device::Cpu);
    let model = decoder::init(&config, &store.root()).expect("a valid configuration");
    let _guard = tch::no_grad_guard();
    let variables = store.variables();
    for (i, spec) in decoder::parameters(&config).iter().enumerate() {
        let base = f64::from(spec.initial == decoder::Initial::Ones);
        let count: i64 = spec.shape.iter().product();
        let phase = (seed * 1000 + i as i64) as f64;
        let noise = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 12.9898 + phase).sin()
            * 43758.5453;
        let values = (&noise - noise.floor() - 0.5) * 0.4 + base; // uniform within 0.2 of the base
        let mut variable = variables[&spec.name].shallow_clone();
        variable.copy_(&values.view(&spec.shape[..]));
    }
    (model, store)
}

pub fn tensors(path: &Path) -> HashMap<String, Tensor> {
    Tensor::read_safetensors(path)
        .expect("a fixture file")
        .into_iter()
        .collect()
}

/// Token ids below 50, different in every row and position.
pub fn tokens(b: i64, t: i64, seed: i64) -> Tensor {
    (Tensor::arange(b * t, (Kind::Int64, Device::Cpu)) * 17 + seed * 7)
        .remainder(50)
        .view([b, t])
}

/// Residuals after the embedding and after every block, and the logits.
pub fn run(model: &dyn Decoder, tokens: &Tensor, mask: Option<&Tensor>) -> (Vec<Tensor>, Tensor) {
    let _guard = tch::no_grad_guard();
    let size = tokens.size();
    let mut context = model
        .begin((size[0], size[1]), mask, decoder::Cache::Off)
        .expect("begin");
    let mut resids = vec![model.embed(tokens, 0, &mut context).expect("embed")];
    for layer in 0..model.config().n_layers {
        let next = model
            .blocks(layer, layer + 1, &resids[layer as usize], &mut context)
            .expect("block");
        resids.push(next);
    }
    let logits = model.unembed(&resids[resids.len() - 1]).expect("unembed");
    (resids, logits)
}

/// Largest excess of |a - b| over atol + rtol |b| where `valid` [b, t] is 1; negative or 0 when
/// within tolerance.
pub fn excess(a: &Tensor, b: &Tensor, valid: &Tensor, atol: f64, rtol: f64) -> f64 {
    assert_eq!(a.size(), b.size());
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let over: Tensor = (&a - &b).abs() - (b.abs() * rtol + atol); // [b, t, d]
    let over = over.amax([-1i64], false); // [b, t]
    assert_eq!(over.isfinite().all().int64_value(&[]), 1, "not finite");
    over.masked_select(&valid.ne(0)).max().double_value(&[])
}

/// Largest difference where `valid` is 1.
pub fn distance(a: &Tensor, b: &Tensor, valid: &Tensor) -> f64 {
    excess(a, b, valid, 0.0, 0.0)
}
