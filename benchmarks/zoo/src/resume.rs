//! The state of an unfinished training on disk, so that a stopped one goes on where it was.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tch::{Kind, Tensor, no_grad};

use crate::optimizer::Optimizer;

/// Names of the two entries that are no tensors of the optimiser.
const SETTINGS: &str = "settings";
const PROGRESS: &str = "progress";

/// How far a training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Optimiser steps made.
    pub steps: usize,
    /// Wall-clock seconds they took.
    pub seconds: f64,
}

/// Where a model's unfinished training is kept, and under which settings.
pub struct Resume {
    path: PathBuf,
    settings: String,
}

impl Resume {
    /// The place of `name`'s state below the zoo's folder. A state kept under other settings is
    /// never gone on with.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(out: &Path, name: &str, settings: &Value) -> Result<Self> {
        let folder = out.join(".training");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            path: folder.join(format!("{name}.safetensors")),
            settings: settings.to_string(),
        })
    }

    /// Writes the state beside an earlier one and then puts it in its place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, optimizer: &Optimizer, point: &Point) -> Result<()> {
        let mut entries = optimizer.state();
        entries.push((
            SETTINGS.into(),
            Tensor::from_slice(self.settings.as_bytes()),
        ));
        let progress = Tensor::from_slice(&[point.steps as f64, point.seconds]);
        entries.push((PROGRESS.into(), progress));
        let temporary = self.path.with_extension("tmp");
        Tensor::write_safetensors(&entries, &temporary)
            .with_context(|| format!("cannot write {}", temporary.display()))?;
        fs::rename(&temporary, &self.path)
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Takes the kept state into the optimiser; `None` when there is none.
    ///
    /// # Errors
    /// A state that cannot be read, or of other settings: it is named, and removing it starts anew.
    pub fn restore(&self, optimizer: &mut Optimizer) -> Result<Option<Point>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let path = self.path.display();
        let mut kept: std::collections::HashMap<String, Tensor> =
            Tensor::read_safetensors(&self.path)
                .with_context(|| format!("cannot read {path}; remove it to start anew"))?
                .into_iter()
                .collect();
        let mut take = |name: &str| {
            kept.remove(name)
                .with_context(|| format!("{path} has no {name}; remove it to start anew"))
        };
        let settings = Vec::<u8>::try_from(take(SETTINGS)?)?;
        if settings != self.settings.as_bytes() {
            bail!(
                "{path} is of a training with other settings ({}); remove it to start anew",
                String::from_utf8_lossy(&settings)
            );
        }
        let progress = Vec::<f64>::try_from(take(PROGRESS)?.to_kind(Kind::Double))?;
        let &[steps, seconds] = progress.as_slice() else {
            bail!("{path} does not say how far it is; remove it to start anew");
        };
        for (name, mut tensor) in optimizer.state() {
            let value = take(&name)?;
            no_grad(|| tensor.f_copy_(&value))
                .with_context(|| format!("{path}: {name} has another shape"))?;
        }
        let steps = steps as usize;
        optimizer.set_steps(steps);
        Ok(Some(Point { steps, seconds }))
    }

    /// Forgets the state of a training that is finished.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::Rates;
    use serde_json::json;
    use tch::{Device, nn::VarStore};

    const RATES: Rates = Rates {
        muon: 0.02,
        adam: 0.05,
        decay: 0.1,
        clip: 1.0,
    };

    struct Training {
        store: VarStore,
        optimizer: Optimizer,
    }

    impl Training {
        fn new() -> Self {
            let store = VarStore::new(Device::Cpu);
            let root = store.root();
            let matrix = root.sub("layers").sub("0");
            let _ = matrix
                .f_var("w", &[3, 4], tch::nn::Init::Const(2.0))
                .unwrap();
            let _ = root.f_var("b", &[4], tch::nn::Init::Const(-1.0)).unwrap();
            let optimizer = Optimizer::new(&store, RATES, |_| 1.0);
            Self { store, optimizer }
        }

        /// Steps on a loss whose target depends on the step, as batches do.
        fn run(&mut self, steps: std::ops::Range<usize>) {
            let variables = self.store.variables();
            for step in steps {
                let target = step as f64 / 7.0;
                let part = |name: &str| (&variables[name] - target).square().sum(Kind::Float);
                self.optimizer.step(&(part("layers.0.w") + part("b")), 0.5);
            }
        }

        fn weights(&self) -> Vec<f32> {
            let variables = self.store.variables();
            let values = |name: &str| Vec::<f32>::try_from(variables[name].view([-1])).unwrap();
            [values("layers.0.w"), values("b")].concat()
        }
    }

    #[test]
    fn a_stopped_training_ends_in_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let resume = Resume::new(folder.path(), "m", &json!({"seed": 0})).unwrap();
        let mut whole = Training::new();
        assert_eq!(resume.restore(&mut whole.optimizer).unwrap(), None);
        whole.run(0..30);

        let mut first = Training::new();
        first.run(0..11);
        let point = Point {
            steps: 11,
            seconds: 1.5,
        };
        resume.keep(&first.optimizer, &point).unwrap();
        first.run(11..13); // lost
        let mut second = Training::new();
        assert_eq!(resume.restore(&mut second.optimizer).unwrap(), Some(point));
        second.run(11..30);
        assert_eq!(whole.weights(), second.weights());
        assert_ne!(whole.weights(), first.weights());

        resume.remove().unwrap();
        assert_eq!(resume.restore(&mut second.optimizer).unwrap(), None);
    }

    #[test]
    fn a_state_of_other_settings_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let training = Training::new();
        let point = Point {
            steps: 0,
            seconds: 0.0,
        };
        let kept = Resume::new(folder.path(), "m", &json!({"seed": 0})).unwrap();
        kept.keep(&training.optimizer, &point).unwrap();
        let other = Resume::new(folder.path(), "m", &json!({"seed": 1})).unwrap();
        let message = other
            .restore(&mut Training::new().optimizer)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("other settings") && message.contains("\"seed\":0"),
            "{message}"
        );
    }
}
