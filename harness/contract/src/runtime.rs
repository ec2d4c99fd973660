use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use harness_weights::InputError;

/// Name of the file, beside the layers' folders of a set.
pub const RUNTIME_FILE: &str = "runtime.json";

/// Measured time of a set's training: `runtime.json`. It lies outside the SAEs' folders, whose
/// bytes do not depend on time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Runtime {
    /// Layout of the file, 1.
    pub schema: u32,
    /// Positions the set was trained on.
    pub policy: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Threads of the tensor library.
    pub threads: u32,
    /// Number format of model passes.
    pub model_dtype: String,
    /// Number format of the trainer's large products.
    pub product_dtype: String,
    /// How often the run was gone on with after an interruption.
    pub resumed: u32,
    /// Seconds of the model passes this set took rows from; a pass that fed two sets counts half in
    /// each.
    pub model_seconds: f64,
    /// Seconds spent on gathering, storing and shuffling rows.
    pub buffer_seconds: f64,
    /// Seconds of optimiser steps of each SAE.
    pub saes: Vec<SaeSeconds>,
}

/// Optimiser time of one SAE.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SaeSeconds {
    /// Block whose output it was trained on.
    pub layer: u32,
    /// Active budget.
    pub k: u32,
    /// Seconds of its optimiser steps.
    pub seconds: f64,
}

impl Runtime {
    /// The file in a set's folder; `None` where there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn read(set: &Path) -> Result<Option<Runtime>, InputError> {
        let path = set.join(RUNTIME_FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(InputError::Io { path, source }),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let message = format!("is not the record of a training's time: {error}");
            InputError::unusable(&path, message)
        })
    }

    /// Seconds of one SAE: its optimiser steps and an even share of what the set's SAEs have in
    /// common.
    pub fn seconds_of(&self, layer: u32, k: u32) -> Option<f64> {
        let own = self.saes.iter().find(|s| (s.layer, s.k) == (layer, k))?;
        Some(own.seconds + (self.model_seconds + self.buffer_seconds) / self.saes.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_part_is_shared_evenly() {
        let sae = |layer, seconds| SaeSeconds {
            layer,
            k: 8,
            seconds,
        };
        let runtime = Runtime {
            schema: 1,
            policy: "mask".into(),
            device: "cpu".into(),
            threads: 1,
            model_dtype: "f32".into(),
            product_dtype: "f32".into(),
            resumed: 0,
            model_seconds: 9.0,
            buffer_seconds: 1.0,
            saes: vec![sae(1, 2.0), sae(2, 4.0)],
        };
        assert_eq!(runtime.seconds_of(1, 8), Some(7.0));
        assert_eq!(runtime.seconds_of(2, 8), Some(9.0));
        assert_eq!(runtime.seconds_of(2, 9), None);

        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Runtime::read(dir.path()).unwrap(), None);
        let file = dir.path().join(RUNTIME_FILE);
        fs::write(&file, serde_json::to_string(&runtime).unwrap()).unwrap();
        assert_eq!(Runtime::read(dir.path()).unwrap(), Some(runtime));
        fs::write(&file, "{}").unwrap();
        let error = Runtime::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("runtime.json"), "{error}");
    }
}
