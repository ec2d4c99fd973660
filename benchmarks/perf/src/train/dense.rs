//! The baseline: a Top-K SAE as most tools train it, with dense activations, libtorch's gradients
//! and its Adam.

use std::path::Path;

use harness_engine::{error::CellError, plugin::MetricValue};
use harness_training::Learner;
use plugin_topk::train::{TrainConfig, Trainer};
use serde_json::Value;
use tch::{Device, Kind, Tensor, nn, nn::OptimizerConfig};

/// An SAE in training.
pub struct Dense {
    config: TrainConfig,
    model: Option<Model>,
    step: u64,
}

/// Its parameters, made from the first batch.
struct Model {
    w_enc: Tensor,
    b_enc: Tensor,
    w_dec: Tensor,
    b_dec: Tensor,
    /// Tokens since each latent fired: `[d_sae]`.
    idle: Tensor,
    optimizer: nn::Optimizer,
    _store: nn::VarStore,
}

fn wrong(error: impl std::fmt::Display) -> CellError {
    CellError::Invalid(error.to_string())
}

impl Dense {
    /// A trainer before its first step.
    ///
    /// # Errors
    /// A configuration that is not one.
    pub fn new(config: &Value) -> Result<Self, CellError> {
        Ok(Self {
            config: TrainConfig::from_json(config).map_err(wrong)?,
            model: None,
            step: 0,
        })
    }

    /// The weights that a trainer of ours starts with: its first step has a rate of 0.
    fn start(config: &TrainConfig, x: &Tensor) -> Result<Model, CellError> {
        let mut first = Trainer::new(config.clone(), Device::Cpu).map_err(wrong)?;
        first.step(x).map_err(wrong)?;
        let weights = first.weights().map_err(wrong)?;
        let store = nn::VarStore::new(Device::Cpu);
        let root = store.root();
        let b_dec = weights.b_dec / config.activation_scale;
        let model = Model {
            w_enc: root.var_copy("w_enc", &weights.w_enc.tr()),
            b_enc: root.var_copy("b_enc", &weights.b_enc),
            w_dec: root.var_copy("w_dec", &weights.w_dec),
            b_dec: root.var_copy("b_dec", &b_dec),
            idle: Tensor::zeros([config.d_sae], (Kind::Int64, Device::Cpu)),
            optimizer: nn::Adam::default().build(&store, config.lr)?,
            _store: store,
        };
        Ok(model)
    }
}

impl Model {
    /// Loss with its graph, `x - x_hat`, and the selected values and latents.
    fn forward(
        &self,
        x: &Tensor,
        config: &TrainConfig,
    ) -> Result<(Tensor, Tensor, Tensor, Tensor), CellError> {
        let kind = config.product_dtype.kind();
        let cast = |t: &Tensor| t.f_to_kind(kind);
        let input = cast(&x.f_sub(&self.b_dec)?)?;
        let w_enc = cast(&self.w_enc)?.f_tr()?;
        let relu = cast(&self.b_enc)?.f_addmm(&input, &w_enc)?.f_relu()?; // [n, d_sae]
        let (values, latents) = relu.f_topk(config.k, -1, true, false)?;
        let z = relu.f_zeros_like()?.f_scatter(1, &latents, &values)?; // [n, d_sae]
        let x_hat = z
            .f_matmul(&cast(&self.w_dec)?)?
            .f_to_kind(Kind::Float)?
            .f_add(&self.b_dec)?;
        let error = x.f_sub(&x_hat)?;
        let loss = error
            .f_square()?
            .f_sum(Kind::Float)?
            .f_div_scalar(x.size()[0])?;
        Ok((loss, error.detach(), values.detach(), latents))
    }

    fn update(&mut self, config: &TrainConfig, step: u64) -> Result<(), CellError> {
        let mut gradient = self.w_dec.f_grad()?;
        let along = (&gradient * &self.w_dec).sum_dim_intlist(1i64, true, Kind::Float);
        let _ = gradient.f_sub_(&along.f_mul(&self.w_dec)?)?;
        self.optimizer.clip_grad_norm(config.grad_clip);
        self.optimizer.set_lr(config.lr_at(step));
        self.optimizer.step();
        let norms = self.w_dec.f_norm_scalaropt_dim(2, 1i64, true)?;
        let _ = self.w_dec.f_div_(&norms)?;
        Ok(())
    }
}

impl Learner for Dense {
    fn step(&mut self, x: &Tensor) -> Result<Vec<MetricValue>, CellError> {
        if self.model.is_none() {
            self.model = Some(Self::start(&self.config, x)?);
        }
        let Some(model) = &mut self.model else {
            return Err(wrong("the baseline has no weights"));
        };
        let x = x.f_div_scalar(self.config.activation_scale)?;
        model.optimizer.zero_grad();
        let (loss, error, values, latents) = tch::with_grad(|| model.forward(&x, &self.config))?;
        let loss_value = loss.f_double_value(&[])?;
        loss.f_backward()?;
        model.update(&self.config, self.step)?;
        self.step += 1;

        let n = x.size()[0];
        let fired = latents.f_masked_select(&values.f_gt(0)?)?;
        let _ = model.idle.f_add_scalar_(n)?;
        let _ = model.idle.f_index_fill_(0, &fired, 0)?;
        let dead = model
            .idle
            .f_ge(self.config.dead_after_tokens)?
            .f_sum(Kind::Int64)?
            .f_int64_value(&[])?;
        if dead > 0 {
            return Err(wrong("the baseline has no auxiliary loss: fewer steps"));
        }
        let spread = |t: &Tensor| t.var_dim(0i64, true, false).sum(Kind::Double);
        let ev = 1.0 - (spread(&error) / spread(&x)).f_double_value(&[])?;
        let l0 = fired.numel() as f64 / n as f64;
        let value = |name: &str, value: f64| MetricValue {
            name: name.into(),
            value: Some(value),
            std_err: None,
            n: n as u64,
        };
        Ok(vec![
            value("loss", loss_value),
            value("ev", ev),
            value("l0", l0),
            value("n_dead", 0.0),
        ])
    }

    fn save(&mut self, dir: &Path, _: &str, _: Kind, _: &Value) -> Result<(), CellError> {
        // Its weights are not looked at; the folder has the record of time beside it.
        std::fs::create_dir_all(dir).map_err(wrong)
    }

    fn save_state(&mut self, _: &Path) -> Result<(), CellError> {
        Err(wrong("the baseline is not interrupted"))
    }

    fn load_state(&mut self, _: &Path) -> Result<(), CellError> {
        Err(wrong("the baseline is not interrupted"))
    }
}
