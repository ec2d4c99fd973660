//! The laws of the segmented forward, through this plugin's component.

#[path = "../../../shared/decoder/tests/adapter_laws/mod.rs"]
mod adapter_laws;

use decoder::Family;
use decoder::adapter::Adapter;
use harness_sdk::ModelAdapter;
use plugin_llada::Llada;

#[test]
fn the_adapter_holds_every_law() {
    adapter_laws::check::<Adapter<Llada>>(Family::Llada);
}

#[test]
fn a_checkpoint_without_a_mask_token_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = decoder::DecoderConfig::new(Family::Llada, 50, 32, 2, 4).to_json(tch::Kind::Float);
    std::fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
    let adapter =
        Adapter::<Llada>::new("model", &serde_json::Value::Null).expect("no settings are needed");
    let error = adapter.inspect(folder.path()).expect_err("no mask token");
    assert!(
        error.message().contains("mask_token_id is missing"),
        "{}",
        error.message()
    );
}
