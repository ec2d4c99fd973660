//! A trainer's state in one file, so that an interrupted run ends with the same bits.

use std::path::Path;

use serde_json::{Value, json};
use tch::Tensor;

use super::{Trainer, parameters::Parameters};
use crate::{
    error::{Result, SaeError},
    tensors::{Expected, SafetensorsFile, TensorFile, check, write_safetensors},
};

/// Layout of the file; another one is not read.
const VERSION: u64 = 1;

impl Trainer {
    /// Writes everything needed to go on.
    ///
    /// # Errors
    /// The file system, or libtorch.
    pub fn save_state(&self, path: &Path) -> Result<()> {
        let mut tensors = Vec::new();
        let names: Vec<[String; 3]> = Parameters::NAMES
            .iter()
            .map(|n| [n.to_string(), format!("{n}.first"), format!("{n}.second")])
            .collect();
        let each = self.parameters.each().into_iter().zip(&self.moments);
        for ((parameter, moments), names) in each.zip(&names) {
            for (name, t) in names
                .iter()
                .zip([parameter, &moments.first, &moments.second])
            {
                tensors.push((name.as_str(), t.shallow_clone()));
            }
        }
        tensors.push(("idle", self.idle.shallow_clone()));
        let state = json!({
            "version": VERSION,
            "step": self.step,
            // Bits, because a decimal would be read back by someone else's rounding.
            "threshold_bits": self.threshold.to_bits(),
            "config": self.config_json()?,
        });
        write_safetensors(path, &tensors, &[("trainer", state.to_string())])
    }

    /// Goes on from a file of [`Self::save_state`].
    ///
    /// # Errors
    /// A damaged file, or one of another run: the settings must be equal.
    pub fn load_state(&mut self, path: &Path) -> Result<()> {
        let mut file = SafetensorsFile::open(path)?;
        let other = |what: String| SaeError::file(path, what, "start a new run in another folder");
        let state: Value = file
            .words()?
            .get("trainer")
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or_else(|| other("not the state of a trainer".into()))?;
        if state["version"] != json!(VERSION) {
            return Err(other(format!(
                "state of version {}, read is {VERSION}",
                state["version"]
            )));
        }
        let ours = self.config_json()?;
        if state["config"] != ours {
            let keys = ours.as_object().into_iter().flat_map(serde_json::Map::keys);
            let differing: Vec<&str> = keys
                .filter(|k| state["config"][k.as_str()] != ours[k.as_str()])
                .map(String::as_str)
                .collect();
            return Err(other(format!(
                "a run with other settings: {}",
                differing.join(", ")
            )));
        }
        let (Some(step), Some(bits)) = (state["step"].as_u64(), state["threshold_bits"].as_u64())
        else {
            return Err(other("the state lacks its step".into()));
        };

        let names: Vec<String> = Parameters::NAMES
            .iter()
            .flat_map(|n| [n.to_string(), format!("{n}.first"), format!("{n}.second")])
            .chain(["idle".to_string()])
            .collect();
        let (f, d) = (self.config.d_sae as u64, self.config.d_model as u64);
        let shapes: [Vec<u64>; 4] = [vec![f, d], vec![f], vec![f, d], vec![d]];
        let mut expected = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let shape = shapes.get(i / 3).cloned().unwrap_or_else(|| vec![f]);
            let mut one = Expected::extra(name, &shape);
            one.optional = false;
            expected.push(one);
        }
        check(&file, &expected)?;
        let mut read =
            |name: &str| -> Result<Tensor> { Ok(file.read(name)?.f_to_device(self.device)?) };
        let mut loaded = Vec::new();
        for name in &names {
            loaded.push(read(name)?);
        }
        let mut loaded = loaded.into_iter();
        let each = self
            .parameters
            .each_mut()
            .into_iter()
            .zip(&mut self.moments);
        for (parameter, moments) in each {
            let slots = [parameter, &mut moments.first, &mut moments.second];
            for (slot, tensor) in slots.into_iter().zip(&mut loaded) {
                *slot = tensor;
            }
        }
        if let Some(idle) = loaded.next() {
            self.idle = idle;
        }
        self.step = step;
        self.threshold = f64::from_bits(bits);
        Ok(())
    }

    fn config_json(&self) -> Result<Value> {
        serde_json::to_value(&self.config).map_err(|e| SaeError::Config {
            what: e.to_string(),
        })
    }
}
