//! A metric that ends its process.

use harness_sdk::{Inputs, Metric, MetricSpec, MetricValue, Result, Value};

struct Aborts;

impl Metric for Aborts {
    fn new(_name: &str, _config: &Value) -> Result<Self> {
        Ok(Self)
    }

    fn spec(&self) -> Vec<MetricSpec> {
        vec![MetricSpec::new("aborts").requires(&["ce"])]
    }

    fn update(&mut self, _inputs: &Inputs<'_>) -> Result<()> {
        std::process::abort()
    }

    fn save(&self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn merge(&mut self, _state: &Value) -> Result<()> {
        Ok(())
    }

    fn finish(&self) -> Result<Vec<MetricValue>> {
        Ok(vec![MetricValue::new("aborts", None, 0)])
    }
}

harness_sdk::export_plugin! {
    id: "aborts",
    components: [ metric "aborts" => Aborts: "ends its process" ]
}
