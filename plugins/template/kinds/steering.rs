//! A steering policy: full strength at masked positions, half at the others, nothing at padding.

use harness_sdk::{Error, Result, SteerNeeds, SteerStep, SteeringPolicy, Value};

struct Halved;

impl SteeringPolicy for Halved {
    fn new(_name: &str, config: &Value) -> Result<Self> {
        if config.as_object().is_none_or(|keys| !keys.is_empty()) {
            return Err(Error::config(format!(
                "this policy takes no settings, not {config}"
            )));
        }
        Ok(Self)
    }

    fn needs(&self) -> SteerNeeds {
        // LATENT_ACT gives the steered latent's activation at each position.
        SteerNeeds::NONE
    }

    fn plan(&mut self, step: &SteerStep<'_>, coeff: &mut [f32]) -> Result<()> {
        for (i, out) in coeff.iter_mut().enumerate() {
            if step.is_valid[i] == 1 {
                let share = if step.is_masked[i] == 1 { 1.0 } else { 0.5 };
                *out = share * step.amp_factor as f32;
            }
        }
        Ok(())
    }
}

harness_sdk::export_plugin! {
    id: "template",
    components: [ steering "template" => Halved: "full at masked positions, half elsewhere" ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_gets_nothing() {
        let mut policy = Halved::new("template", &serde_json::json!({})).unwrap();
        let step = SteerStep {
            step: 0,
            n_steps: 1,
            batch: 1,
            len: 3,
            amp_factor: 2.0,
            is_valid: &[0, 1, 1],
            is_masked: &[1, 1, 0],
            latent_act: &[0.0; 3],
        };
        let mut coeff = [0.0; 3];
        policy.plan(&step, &mut coeff).unwrap();
        assert_eq!(coeff, [0.0, 2.0, 1.0]);
    }
}
