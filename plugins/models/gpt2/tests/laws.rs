//! The laws of the segmented forward, through this plugin's component.

#[path = "../../../shared/decoder/tests/adapter_laws/mod.rs"]
mod adapter_laws;

use decoder::Family;
use decoder::adapter::Adapter;
use plugin_gpt2::Gpt2;

#[test]
fn the_adapter_holds_every_law() {
    adapter_laws::check::<Adapter<Gpt2>>(Family::Gpt2);
}
