//! A remasker that looks at other rows, and a policy that steers when it is told not to.

use harness_sdk::{
    RemaskNeeds, Remasker, Result, SteerNeeds, SteerStep, SteeringPolicy, Step, Value,
};

struct Nosy(usize);

impl Remasker for Nosy {
    fn new(_name: &str, _config: &Value) -> Result<Self> {
        Ok(Self(0))
    }

    fn needs(&self) -> RemaskNeeds {
        RemaskNeeds::NONE
    }

    fn begin(&mut self, n_steps: usize, _batch: usize) -> Result<()> {
        self.0 = n_steps;
        Ok(())
    }

    fn select(&mut self, step: &Step<'_>, reveal: &mut [u8]) -> Result<()> {
        // The masks of all rows together decide how many each may have.
        let left = step.eligible.iter().filter(|&&e| e == 1).count();
        let due = left.div_ceil(self.0.saturating_sub(step.step).max(1));
        for row in 0..step.batch {
            let span = row * step.len..(row + 1) * step.len;
            let eligible = span.filter(|&i| step.eligible[i] == 1);
            for position in eligible.take(due) {
                reveal[position] = 1;
            }
        }
        Ok(())
    }
}

struct Stubborn;

impl SteeringPolicy for Stubborn {
    fn new(_name: &str, _config: &Value) -> Result<Self> {
        Ok(Self)
    }

    fn needs(&self) -> SteerNeeds {
        SteerNeeds::NONE
    }

    fn plan(&mut self, step: &SteerStep<'_>, coeff: &mut [f32]) -> Result<()> {
        for (out, &is_valid) in coeff.iter_mut().zip(step.is_valid) {
            *out = f32::from(is_valid);
        }
        Ok(())
    }
}

harness_sdk::export_plugin! {
    id: "unlawful",
    components: [
        remasker "unlawful" => Nosy: "looks at other rows",
        steering "unlawful" => Stubborn: "steers at amp_factor 0",
    ]
}
