//! A remasker that panics when it is asked for positions.

use harness_sdk::{RemaskNeeds, Remasker, Result, Step, Value};

struct Panics;

impl Remasker for Panics {
    fn new(_name: &str, _config: &Value) -> Result<Self> {
        Ok(Self)
    }

    fn needs(&self) -> RemaskNeeds {
        RemaskNeeds::NONE
    }

    fn begin(&mut self, _n_steps: usize, _batch: usize) -> Result<()> {
        Ok(())
    }

    fn select(&mut self, step: &Step<'_>, reveal: &mut [u8]) -> Result<()> {
        reveal[step.batch * step.len] = 1;
        Ok(())
    }
}

harness_sdk::export_plugin! {
    id: "panics-in-method",
    components: [ remasker "panics-in-method" => Panics: "writes past the end" ]
}
