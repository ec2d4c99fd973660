//! Muon for the matrices of the blocks, AdamW for everything else.
//!
//! Muon replaces the momentum of a matrix by the nearest matrix with orthonormal rows or columns;
//! on models this small and runs this short it needs about half the tokens that AdamW needs alone.

use tch::{Kind, Tensor, nn::VarStore, no_grad};

/// Learning rates at their peak and what goes with them.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Of Muon: size of a step in units of an orthonormal matrix.
    pub muon: f64,
    /// Of AdamW.
    pub adam: f64,
    /// Decoupled weight decay of matrices, times the learning rate.
    pub decay: f64,
    /// Largest norm of all gradients together.
    pub clip: f64,
}

const MUON_MOMENTUM: f64 = 0.95;
const ADAM_BETAS: (f64, f64) = (0.9, 0.98);
const ADAM_EPS: f64 = 1e-9;

enum Rule {
    Muon {
        momentum: Tensor,
        gain: f64,
    },
    Adam {
        mean: Tensor,
        square: Tensor,
        decays: bool,
    },
}

/// One variable and how it is moved.
struct Parameter {
    name: String,
    tensor: Tensor,
    rule: Rule,
    /// Of the learning rate.
    share: f64,
}

/// An optimiser over all variables of a store.
pub struct Optimizer {
    parameters: Vec<Parameter>,
    rates: Rates,
    steps: i32,
}

impl Optimizer {
    /// Matrices inside blocks go to Muon; embeddings, head, norms and biases to AdamW. `share` is
    /// the part of the learning rate that the parameter of a name has.
    pub fn new(store: &VarStore, rates: Rates, share: impl Fn(&str) -> f64) -> Self {
        let mut variables: Vec<(String, Tensor)> = store.variables().into_iter().collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        let parameters = variables
            .into_iter()
            .map(|(name, tensor)| {
                let matrix = tensor.dim() == 2;
                let in_block =
                    name.contains("layers.") || name.contains("blocks.") || name.starts_with("h.");
                let zeros = || tensor.zeros_like().set_requires_grad(false);
                let rule = if matrix && in_block {
                    // A matrix that widens moves further, so that its outputs move alike. GPT-2's
                    // are [in, out].
                    let size = tensor.size();
                    let (outputs, inputs) = if name.starts_with("h.") {
                        (size[1], size[0])
                    } else {
                        (size[0], size[1])
                    };
                    let gain = (outputs as f64 / inputs as f64).max(1.0).sqrt();
                    Rule::Muon {
                        momentum: zeros(),
                        gain,
                    }
                } else {
                    Rule::Adam {
                        mean: zeros(),
                        square: zeros(),
                        decays: matrix,
                    }
                };
                let share = share(&name);
                Parameter {
                    name,
                    tensor,
                    rule,
                    share,
                }
            })
            .collect();
        Self {
            parameters,
            rates,
            steps: 0,
        }
    }

    /// One step on the gradients of `loss`, with the learning rates multiplied by `schedule`.
    /// Returns the gradients' norm.
    pub fn step(&mut self, loss: &Tensor, schedule: f64) -> f64 {
        for parameter in &mut self.parameters {
            parameter.tensor.zero_grad();
        }
        loss.backward();
        no_grad(|| self.update(schedule))
    }

    /// Every tensor that the next step depends on, by name: the variables, then what the rules
    /// remember of earlier gradients. They share memory with the optimiser.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = Vec::new();
        for Parameter {
            name, tensor, rule, ..
        } in &self.parameters
        {
            let mut add = |what: &str, tensor: &Tensor| {
                state.push((format!("{what}/{name}"), tensor.shallow_clone()));
            };
            add("weight", tensor);
            match rule {
                Rule::Muon { momentum, .. } => add("momentum", momentum),
                Rule::Adam { mean, square, .. } => {
                    add("mean", mean);
                    add("square", square);
                }
            }
        }
        state
    }

    /// Says how many steps made the present state; AdamW's bias corrections depend on it.
    pub fn set_steps(&mut self, steps: usize) {
        self.steps = steps as i32;
    }

    fn update(&mut self, schedule: f64) -> f64 {
        self.steps += 1;
        let squares: Vec<Tensor> = self
            .parameters
            .iter()
            .map(|p| p.tensor.grad().square().sum(Kind::Float))
            .collect();
        let norm = Tensor::stack(&squares, 0)
            .sum(Kind::Double)
            .double_value(&[])
            .sqrt();
        let clip = (self.rates.clip / (norm + 1e-6)).min(1.0);
        let Rates {
            muon, adam, decay, ..
        } = self.rates;
        let corrections = (
            1.0 - ADAM_BETAS.0.powi(self.steps),
            1.0 - ADAM_BETAS.1.powi(self.steps),
        );
        for Parameter {
            tensor,
            rule,
            share,
            ..
        } in &mut self.parameters
        {
            let (muon, adam) = (muon * schedule * *share, adam * schedule * *share);
            let gradient = tensor.grad() * clip;
            match rule {
                Rule::Muon { momentum, gain } => {
                    let _ = momentum.g_mul_scalar_(MUON_MOMENTUM);
                    let _ = momentum.g_add_(&gradient);
                    let direction = orthogonalised(&(gradient + &*momentum * MUON_MOMENTUM));
                    let _ = tensor.g_mul_scalar_(1.0 - muon * decay);
                    let _ = tensor.g_sub_(&(direction * (muon * *gain)));
                }
                Rule::Adam {
                    mean,
                    square,
                    decays,
                } => {
                    let _ = mean.g_mul_scalar_(ADAM_BETAS.0);
                    let _ = mean.g_add_(&(&gradient * (1.0 - ADAM_BETAS.0)));
                    let _ = square.g_mul_scalar_(ADAM_BETAS.1);
                    let _ = square.g_add_(&(gradient.square() * (1.0 - ADAM_BETAS.1)));
                    let divisor = (&*square / corrections.1).sqrt() + ADAM_EPS;
                    if *decays {
                        let _ = tensor.g_mul_scalar_(1.0 - adam * decay);
                    }
                    let _ = tensor.g_sub_(&(&*mean / divisor * (adam / corrections.0)));
                }
            }
        }
        norm
    }
}

/// Five steps of a quintic Newton-Schulz iteration: every singular value comes out between about
/// 0.7 and 1.2.
fn orthogonalised(x: &Tensor) -> Tensor {
    const A: f64 = 3.4445;
    const B: f64 = -4.7750;
    const C: f64 = 2.0315;
    let tall = x.size()[0] > x.size()[1];
    let mut x = if tall { x.tr() } else { x.shallow_clone() };
    x = &x / (x.norm() + 1e-7);
    for _ in 0..5 {
        let square = x.matmul(&x.tr());
        let mixed = &square * B + square.matmul(&square) * C;
        x = &x * A + mixed.matmul(&x);
    }
    if tall { x.tr() } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn orthogonalisation_evens_out_singular_values() {
        tch::manual_seed(1);
        for shape in [[16, 40], [40, 16]] {
            let x = orthogonalised(&Tensor::randn(shape, (Kind::Float, Device::Cpu)));
            let (_, values, _) = x.svd(true, false);
            let (low, high) = (
                values.min().double_value(&[]),
                values.max().double_value(&[]),
            );
            assert!(low > 0.3 && high < 1.3, "{low} {high}");
        }
    }

    #[test]
    fn a_quadratic_is_minimised() {
        let store = VarStore::new(Device::Cpu);
        let root = store.root();
        let matrix = root
            .sub("layers")
            .sub("0")
            .f_var("w", &[3, 4], tch::nn::Init::Const(2.0))
            .unwrap();
        let bias = root.f_var("b", &[4], tch::nn::Init::Const(-1.0)).unwrap();
        let mut optimizer = Optimizer::new(
            &store,
            Rates {
                muon: 0.02,
                adam: 0.05,
                decay: 0.0,
                clip: 100.0,
            },
            |_| 1.0,
        );
        let loss =
            || (&matrix + 1.0).square().sum(Kind::Float) + (&bias - 3.0).square().sum(Kind::Float);
        let before = loss().double_value(&[]);
        for _ in 0..800 {
            optimizer.step(&loss(), 1.0);
        }
        assert!(loss().double_value(&[]) < 0.05 * before);
    }
}
