//! A steering policy whose constructor panics.

use harness_sdk::{Result, SteerNeeds, SteerStep, SteeringPolicy, Value};

struct Never;

impl SteeringPolicy for Never {
    fn new(_name: &str, _config: &Value) -> Result<Self> {
        panic!("no instance for you")
    }

    fn needs(&self) -> SteerNeeds {
        SteerNeeds::NONE
    }

    fn plan(&mut self, _step: &SteerStep<'_>, _coeff: &mut [f32]) -> Result<()> {
        Ok(())
    }
}

harness_sdk::export_plugin! {
    id: "panics-in-constructor",
    components: [ steering "panics-in-constructor" => Never: "panics when it is made" ]
}
