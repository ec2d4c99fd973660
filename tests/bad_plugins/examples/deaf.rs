//! A remasker that asks for SAE features and does not notice when none come.

use harness_sdk::{RemaskNeeds, Remasker, Result, Step, Value};

struct Deaf;

impl Remasker for Deaf {
    fn new(_name: &str, _config: &Value) -> Result<Self> {
        Ok(Self)
    }

    fn needs(&self) -> RemaskNeeds {
        RemaskNeeds::FEATURES
    }

    fn begin(&mut self, _n_steps: usize, _batch: usize) -> Result<()> {
        Ok(())
    }

    fn select(&mut self, step: &Step<'_>, reveal: &mut [u8]) -> Result<()> {
        reveal.copy_from_slice(step.eligible);
        Ok(())
    }
}

harness_sdk::export_plugin! {
    id: "deaf",
    components: [ remasker "deaf" => Deaf: "does not miss its features" ]
}
