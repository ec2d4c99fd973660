use harness_core::dynamics::{PromptSums, PromptTrace, Transition};
use tch::{Kind, Tensor};

use crate::{
    generate::{
        GenerateError, Observer, ResidualReport, StepFeatures, StepReport, TokenGrid, Wants,
    },
    plugin::{Checks, Sae},
};

/// Which columns of a batch are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// The last columns: what is generated.
    Generated(usize),
    /// All of them.
    All,
}

/// One layer, from pass to pass.
struct Layer<'a> {
    layer: usize,
    sae: &'a Sae,
    active: Option<Active>,
    /// The changes of the pass under way, where they were computed: `[n] f64` and `[n] bool`.
    unread: Option<(Tensor, Tensor)>,
    /// Since the pass before that: Jaccard indices `[n]`, and whether the most active latent is the
    /// same `[n]`.
    changes: Option<(Vec<f64>, Vec<bool>)>,
}

/// The most active latents of a pass, the most active first; unused slots hold latent -1 and act 0.
#[derive(Debug)]
pub struct Active {
    /// `[b · columns, k_set] i64`
    pub latents: Tensor,
    /// `[b · columns, k_set] f32`
    pub acts: Tensor,
}

/// Follows the features of a batch through its run.
pub struct FeatureTrace<'a> {
    layers: Vec<Layer<'a>>,
    /// Of the pass under way.
    checks: Checks,
    k_set: i64,
    tracked: Tracked,
    mask_id: i64,
    n_steps: usize,
    until_stop: Vec<i64>,
    prompts: Vec<Prompt>,
    /// Rows and columns of the batch.
    shape: (usize, usize),
    sae_rows: u64,
    on_step: Option<OnStep<'a>>,
}

/// Told of each step how many rows have made it. An error ends the run.
type OnStep<'a> = &'a mut dyn FnMut(u64) -> Result<(), GenerateError>;

/// The sums of one row.
struct Prompt {
    trace: PromptTrace,
    has_stopped: bool,
}

impl<'a> FeatureTrace<'a> {
    /// A trace of a run of `n_steps` steps.
    ///
    /// - `saes`: one for each layer that is followed, by layer
    /// - `k_set`: latents of a set (`TopIdx_K` of Eq. 20); an SAE that activates fewer has smaller
    ///   sets
    #[must_use]
    pub fn new(
        saes: Vec<(usize, &'a Sae)>,
        k_set: usize,
        tracked: Tracked,
        mask_id: i64,
        n_steps: usize,
    ) -> Self {
        let layers = saes
            .into_iter()
            .map(|(layer, sae)| Layer {
                layer,
                sae,
                active: None,
                unread: None,
                changes: None,
            })
            .collect();
        Self {
            layers,
            checks: Checks::default(),
            k_set: k_set as i64,
            tracked,
            mask_id,
            n_steps,
            until_stop: Vec::new(),
            prompts: Vec::new(),
            shape: (0, 0),
            sae_rows: 0,
            on_step: None,
        }
    }

    /// Tells of each step how many rows have made it.
    #[must_use]
    pub fn telling(mut self, on_step: OnStep<'a>) -> Self {
        self.on_step = Some(on_step);
        self
    }

    /// Counts no transition of a row from the pass on that reads one of these tokens among its
    /// generated ones.
    #[must_use]
    pub fn until(mut self, stop_ids: &[i64]) -> Self {
        self.until_stop = stop_ids.to_vec();
        self
    }

    /// What the last pass activated.
    #[must_use]
    pub fn active(&self, layer: usize) -> Option<&Active> {
        let found = self.layers.iter().find(|l| l.layer == layer)?;
        found.active.as_ref()
    }

    /// Jaccard indices of the last two passes (Eq. 20). `[b · columns]`
    #[must_use]
    pub fn jaccard(&self, layer: usize) -> Option<&[f64]> {
        let found = self.layers.iter().find(|l| l.layer == layer)?;
        Some(&found.changes.as_ref()?.0)
    }

    /// Rows that went through SAEs.
    #[must_use]
    pub fn sae_rows(&self) -> u64 {
        self.sae_rows
    }

    /// The sums of every row, in their order.
    #[must_use]
    pub fn finish(self) -> Vec<PromptSums> {
        self.prompts
            .into_iter()
            .map(|prompt| prompt.trace.finish())
            .collect()
    }

    /// First column that is followed, and their number.
    fn columns(&self, t: usize) -> (usize, usize) {
        match self.tracked {
            Tracked::Generated(n) => (t - n.min(t), n.min(t)),
            Tracked::All => (0, t),
        }
    }

    /// A number for every position, NaN outside the columns that are followed. `[l, b, t] f32`
    fn spread(
        &self,
        value: impl Fn(&(Vec<f64>, Vec<bool>), usize) -> f32,
    ) -> Result<Tensor, GenerateError> {
        let (b, t) = self.shape;
        let (first, width) = self.columns(t);
        let mut all = vec![f32::NAN; self.layers.len() * b * t];
        for (l, layer) in self.layers.iter().enumerate() {
            let Some(changes) = &layer.changes else {
                continue;
            };
            for r in 0..b {
                for c in 0..width {
                    all[(l * b + r) * t + first + c] = value(changes, r * width + c);
                }
            }
        }
        let shape = [self.layers.len() as i64, b as i64, t as i64];
        Ok(Tensor::f_from_slice(&all)?.f_view(shape)?)
    }

    fn is_masked(&self, grid: &TokenGrid, r: usize) -> Vec<bool> {
        let t = grid.t();
        let (first, width) = self.columns(t);
        let row = &grid.tokens()[r * t + first..r * t + first + width];
        row.iter().map(|token| *token == self.mask_id).collect()
    }

    fn reads_stop(&self, grid: &TokenGrid, r: usize) -> bool {
        let t = grid.t();
        let (first, width) = self.columns(t);
        let row = &grid.tokens()[r * t + first..r * t + first + width];
        row.iter().any(|token| self.until_stop.contains(token))
    }
}

impl Layer<'_> {
    /// Takes in what the last pass activates. `rows: [n, d_model] f32`
    fn follow(
        &mut self,
        rows: &Tensor,
        k_set: i64,
        checks: &mut Checks,
    ) -> Result<(), GenerateError> {
        let encoded = self.sae.encode_checked(rows, checks)?; // [n, w], most active first
        let width = k_set.min(encoded.latents.size()[1]);
        let active = Active {
            latents: encoded.latents.f_narrow(1, 0, width)?.f_contiguous()?, // [n, k_set]
            acts: encoded.acts.f_narrow(1, 0, width)?.f_contiguous()?,       // [n, k_set]
        };
        self.changes = None;
        self.unread = match &self.active {
            Some(before) => {
                let (now, before) = (&active.latents, &before.latents);
                let jaccard = harness_kernels::jaccard_rows(before, now)?; // [n]
                let same = before.f_select(1, 0)?.f_eq_tensor(&now.f_select(1, 0)?)?; // [n]
                Some((jaccard, same))
            }
            None => None,
        };
        self.active = Some(active);
        Ok(())
    }
}

impl Observer for FeatureTrace<'_> {
    fn wants(&self) -> Wants {
        Wants {
            layers: self.layers.iter().map(|layer| layer.layer).collect(),
            steering: false,
        }
    }

    fn residual(&mut self, report: &ResidualReport<'_>) -> Result<(), GenerateError> {
        let [b, t, d_model] = report.resid.size()[..] else {
            return Err(GenerateError::Request(format!(
                "a residual of shape {:?}",
                report.resid.size()
            )));
        };
        self.shape = (b as usize, t as usize);
        let (first, width) = self.columns(t as usize);
        // SAEs compute in f32 here whatever the model does, as the authors' code for orders.
        let rows = report
            .resid
            .f_narrow(1, first as i64, width as i64)?
            .f_reshape([-1, d_model])?
            .f_to_kind(Kind::Float)?; // [n, d_model]
        let k_set = self.k_set;
        let of_layer = self.layers.iter_mut().filter(|l| l.layer == report.layer);
        for followed in of_layer {
            followed.follow(&rows, k_set, &mut self.checks)?;
            self.sae_rows += rows.size()[0] as u64;
        }
        Ok(())
    }

    fn unread(&self) -> Vec<&Tensor> {
        let changes = self.layers.iter().filter_map(|layer| layer.unread.as_ref());
        let mut tensors = self.checks.unread();
        tensors.extend(changes.flat_map(|(jaccard, same)| [jaccard, same]));
        tensors
    }

    fn read(&mut self, numbers: &[Tensor]) -> Result<(), GenerateError> {
        let checks = std::mem::take(&mut self.checks);
        let (own, changes) = numbers.split_at(checks.unread().len().min(numbers.len()));
        checks.settle(own)?;
        let followed = self.layers.iter_mut().filter(|l| l.unread.is_some());
        for (layer, changes) in followed.zip(changes.chunks_exact(2)) {
            layer.unread = None;
            layer.changes = Some((Vec::try_from(&changes[0])?, Vec::try_from(&changes[1])?));
        }
        Ok(())
    }

    fn features(&mut self) -> Result<Option<StepFeatures>, GenerateError> {
        Ok(Some(StepFeatures {
            layers: self.layers.iter().map(|layer| layer.layer as i64).collect(),
            jaccard: self.spread(|(jaccard, _), i| jaccard[i] as f32)?,
            top1_same: self.spread(|(_, same), i| f32::from(u8::from(same[i])))?,
        }))
    }

    fn step(&mut self, report: &StepReport<'_>) -> Result<(), GenerateError> {
        let grid = report.before;
        let (_, width) = self.columns(grid.t());
        if self.prompts.is_empty() {
            let new = || Prompt {
                trace: PromptTrace::new(self.layers.len(), self.n_steps, width),
                has_stopped: false,
            };
            self.prompts = std::iter::repeat_with(new).take(grid.b()).collect();
        }
        // Asked for from the second pass on only; before that there are none.
        let changes: Vec<(&[f64], &[bool])> = (self.layers.iter())
            .filter_map(|layer| layer.changes.as_ref())
            .map(|(jaccard, same)| (&jaccard[..], &same[..]))
            .collect();
        if report.step > 0 && changes.len() != self.layers.len() {
            return Err(GenerateError::Request(format!(
                "step {} has seen {} of {} layers",
                report.step,
                changes.len(),
                self.layers.len()
            )));
        }
        for r in 0..grid.b() {
            let is_masked = self.is_masked(grid, r);
            let stops = !self.until_stop.is_empty() && self.reads_stop(grid, r);
            let prompt = &mut self.prompts[r];
            prompt.has_stopped |= stops;
            if prompt.has_stopped {
                continue;
            }
            prompt.trace.pass(&is_masked, |l, i| {
                let (jaccard, same) = changes[l];
                Transition {
                    jaccard: jaccard[r * width + i],
                    same_top1: same[r * width + i],
                }
            });
        }
        match &mut self.on_step {
            Some(on_step) => on_step(grid.b() as u64),
            None => Ok(()),
        }
    }
}
