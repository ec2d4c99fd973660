//! A metric that counts.

use harness_sdk::{Error, Inputs, Metric, MetricSpec, MetricValue, Result, Value};

struct Count(u64);

impl Metric for Count {
    fn new(name: &str, config: &Value) -> Result<Self> {
        match config.as_object() {
            Some(keys) if keys.is_empty() => Ok(Self(0)),
            _ => Err(Error::config(format!("`{name}` takes no settings, not {config}"))),
        }
    }

    fn spec(&self) -> Vec<MetricSpec> {
        vec![MetricSpec::new("count").requires(&["ce"])]
    }

    fn update(&mut self, inputs: &Inputs<'_>) -> Result<()> {
        self.0 += inputs.f64("ce")?.len() as u64;
        Ok(())
    }

    fn save(&self) -> Result<Value> {
        Ok(self.0.into())
    }

    fn merge(&mut self, state: &Value) -> Result<()> {
        let other = state.as_u64();
        self.0 += other.ok_or_else(|| Error::invalid("a state of another metric"))?;
        Ok(())
    }

    fn finish(&self) -> Result<Vec<MetricValue>> {
        let value = (self.0 > 0).then_some(self.0 as f64);
        Ok(vec![MetricValue::new("count", value, self.0)])
    }
}

harness_sdk::export_plugin! {
    id: "good",
    components: [ metric "good" => Count: "counts" ]
}
