use serde::{Deserialize, Serialize};

/// Sums of the prompts of a run, prompt by prompt: the units that are resampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynamicsSums {
    /// The layers, ascending.
    pub layers: Vec<u32>,
    /// Passes of the run, K.
    pub n_steps: usize,
    /// Generated positions.
    pub n_positions: usize,
    /// One for each unit.
    pub units: Vec<PromptSums>,
}

/// Sums of one prompt, or of several that form one unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptSums {
    pub n_prompts: u64,
    /// By transition: width K, its first column empty.
    pub by_step: Sums,
    /// By generated position.
    pub by_position: Sums,
}

/// Sums along steps or positions. `w` is their number, `l` that of the layers; numbers of a layer
/// stand together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Transitions before decoding, the same for every layer. `[w]`
    pub n_pre: Vec<u64>,
    /// By step: transitions after decoding. By position: prompts in which the position has a
    /// `D_post`. `[w]`
    pub n_post: Vec<u64>,
    /// Jaccard indices before decoding. `[l, w]`
    pub jaccard_pre: Vec<f64>,
    /// By step: one minus the Jaccard index, after decoding. By position: `D_post` (Eq. 21). `[l,
    /// w]`
    pub drift_post: Vec<f64>,
    /// Transitions before decoding that keep the most active latent. `[l, w]`
    pub locked: Vec<u64>,
    /// Transitions after decoding that change it. `[l, w]`
    pub flipped: Vec<u64>,
}

/// Sums that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DynamicsError {
    /// Other layers, steps or positions.
    #[error(
        "sums over layers {layers:?}, {n_steps} steps, {n_positions} positions cannot be added to others: {others}"
    )]
    Shape {
        /// Layers on one side.
        layers: Vec<u32>,
        n_steps: usize,
        n_positions: usize,
        /// The other side, in words.
        others: String,
    },
    /// A unit whose lists are not as long as they must be.
    #[error(
        "unit {unit} has lists that do not fit {layers} layers, {n_steps} steps and {n_positions} positions"
    )]
    Ragged {
        unit: usize,
        layers: usize,
        n_steps: usize,
        n_positions: usize,
    },
}

impl Sums {
    /// Zeros for `layers` layers and `width` steps or positions.
    pub fn zeros(layers: usize, width: usize) -> Sums {
        Sums {
            n_pre: vec![0; width],
            n_post: vec![0; width],
            jaccard_pre: vec![0.0; layers * width],
            drift_post: vec![0.0; layers * width],
            locked: vec![0; layers * width],
            flipped: vec![0; layers * width],
        }
    }

    fn fits(&self, layers: usize, width: usize) -> bool {
        let all = [
            self.jaccard_pre.len(),
            self.drift_post.len(),
            self.locked.len(),
            self.flipped.len(),
        ];
        self.n_pre.len() == width
            && self.n_post.len() == width
            && all.iter().all(|len| *len == layers * width)
    }

    fn add(&mut self, other: &Sums) {
        for (sums, others) in [
            (&mut self.n_pre, &other.n_pre),
            (&mut self.n_post, &other.n_post),
            (&mut self.locked, &other.locked),
            (&mut self.flipped, &other.flipped),
        ] {
            sums.iter_mut().zip(others).for_each(|(a, b)| *a += b);
        }
        for (sums, others) in [
            (&mut self.jaccard_pre, &other.jaccard_pre),
            (&mut self.drift_post, &other.drift_post),
        ] {
            sums.iter_mut().zip(others).for_each(|(a, b)| *a += b);
        }
    }
}

impl DynamicsSums {
    /// Sums of no prompt.
    pub fn new(layers: Vec<u32>, n_steps: usize, n_positions: usize) -> DynamicsSums {
        DynamicsSums {
            layers,
            n_steps,
            n_positions,
            units: Vec::new(),
        }
    }

    /// Prompts behind the sums.
    pub fn n_prompts(&self) -> u64 {
        self.units.iter().map(|unit| unit.n_prompts).sum()
    }

    /// Whether every unit has the lists it must have.
    ///
    /// # Errors
    /// The first that has not.
    pub fn check(&self) -> Result<(), DynamicsError> {
        let layers = self.layers.len();
        let is_ragged = |unit: &PromptSums| {
            !unit.by_step.fits(layers, self.n_steps)
                || !unit.by_position.fits(layers, self.n_positions)
        };
        match self.units.iter().position(is_ragged) {
            None => Ok(()),
            Some(unit) => Err(DynamicsError::Ragged {
                unit,
                layers,
                n_steps: self.n_steps,
                n_positions: self.n_positions,
            }),
        }
    }

    /// Adds the units of another shard. Beyond `most` units a prompt joins unit `i mod most`, i
    /// counted over the run, so that memory does not grow with the number of prompts.
    ///
    /// # Errors
    /// Other layers, steps or positions; units that are ragged.
    pub fn merge(&mut self, other: DynamicsSums, most: usize) -> Result<(), DynamicsError> {
        other.check()?;
        if (&self.layers, self.n_steps, self.n_positions)
            != (&other.layers, other.n_steps, other.n_positions)
        {
            return Err(DynamicsError::Shape {
                layers: self.layers.clone(),
                n_steps: self.n_steps,
                n_positions: self.n_positions,
                others: format!(
                    "layers {:?}, {} steps, {} positions",
                    other.layers, other.n_steps, other.n_positions
                ),
            });
        }
        for unit in other.units {
            if self.units.len() < most.max(1) {
                self.units.push(unit);
                continue;
            }
            let at = self.n_prompts() as usize % self.units.len();
            let into = &mut self.units[at];
            into.n_prompts += unit.n_prompts;
            into.by_step.add(&unit.by_step);
            into.by_position.add(&unit.by_position);
        }
        Ok(())
    }
}
