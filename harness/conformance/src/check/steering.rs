//! The laws of steering policies. The host's handle itself refuses coefficients at padding and such
//! that are not finite.

use harness_engine::plugin::{SteerTensors, SteeringPolicy};
use serde_json::json;
use tch::{Kind, Tensor};

use super::{
    data::{Guarded, same_bits, uniform},
    subject::{Named, Subject},
    verdict::{Checked, Ended, ensure, ensure_refused, no_panic, unknown},
};

pub(super) const TESTS: &[Named] = &[
    ("padding", "coefficients are finite, and 0 at padding"),
    ("amp-zero", "amp_factor 0 gives 0 everywhere, exactly"),
    ("rows", "a row's coefficients do not depend on other rows"),
    ("deterministic", "the same pass gives the same coefficients"),
    ("inputs", "inputs come back as they were"),
    ("shapes", "tensors of another rank or shape are refused"),
    ("odd", "odd inputs give an error or a result, no panic"),
];

pub(super) fn run(test: &str, subject: &Subject<'_>) -> Checked {
    let mut policy = subject.registry.steering(subject.name, &json!({}))?;
    let pass = Pass::new(4, 17);
    match test {
        "padding" => padding(&mut policy, &pass),
        "amp-zero" => amp_zero(&mut policy, &pass),
        "rows" => rows(&mut policy, &pass),
        "deterministic" => deterministic(&mut policy, &pass),
        "inputs" => inputs(&mut policy, &pass),
        "shapes" => shapes(&mut policy, &pass),
        "odd" => odd(&mut policy),
        other => unknown(other),
    }
}

/// Tensors of one pass, `[b, t]`; row `r` has `r` positions of padding on the left.
struct Pass {
    is_valid: Tensor,
    is_masked: Tensor,
    latent_act: Tensor,
}

impl Pass {
    fn new(b: i64, t: i64) -> Self {
        let columns = Tensor::arange(t, (Kind::Int64, tch::Device::Cpu)).unsqueeze(0);
        let rows = Tensor::arange(b, (Kind::Int64, tch::Device::Cpu)).unsqueeze(1);
        let act = uniform("steering/act", &[b, t]) - 0.4;
        Self {
            is_valid: columns.ge_tensor(&rows).to_kind(Kind::Uint8),
            is_masked: uniform("steering/masked", &[b, t])
                .lt(0.5)
                .to_kind(Kind::Uint8),
            latent_act: act.clamp_min(0.0),
        }
    }

    fn row(&self, row: i64) -> Self {
        Self {
            is_valid: self.is_valid.narrow(0, row, 1),
            is_masked: self.is_masked.narrow(0, row, 1),
            latent_act: self.latent_act.narrow(0, row, 1),
        }
    }

    fn view(&self, step: usize, amp_factor: f64) -> SteerTensors<'_> {
        SteerTensors {
            step,
            n_steps: 5,
            amp_factor,
            is_valid: &self.is_valid,
            is_masked: &self.is_masked,
            latent_act: Some(&self.latent_act),
        }
    }
}

fn padding(policy: &mut SteeringPolicy, pass: &Pass) -> Checked {
    for step in 0..5 {
        for amp_factor in [2.0, -1.5, 0.01] {
            drop(policy.plan(&pass.view(step, amp_factor))?);
        }
    }
    Ok(())
}

fn amp_zero(policy: &mut SteeringPolicy, pass: &Pass) -> Checked {
    let coeff = policy.plan(&pass.view(0, 0.0))?;
    let largest = coeff.abs().max().double_value(&[]);
    ensure(largest == 0.0, || {
        format!("a coefficient is {largest} at amp_factor 0")
    })
}

fn rows(policy: &mut SteeringPolicy, pass: &Pass) -> Checked {
    let together = policy.plan(&pass.view(1, 2.0))?;
    for row in 0..4 {
        let alone = policy.plan(&pass.row(row).view(1, 2.0))?;
        ensure(same_bits(&together.narrow(0, row, 1), &alone), || {
            format!("row {row} of 4 gets other coefficients than alone")
        })?;
    }
    Ok(())
}

fn deterministic(policy: &mut SteeringPolicy, pass: &Pass) -> Checked {
    let first = policy.plan(&pass.view(2, 2.0))?;
    let second = policy.plan(&pass.view(2, 2.0))?;
    ensure(same_bits(&first, &second), || {
        "the same pass gets other coefficients the second time".to_owned()
    })?;
    let nowhere = first.abs().max().double_value(&[]) == 0.0;
    if nowhere {
        return Err(Ended::warning("it steers nowhere at amp_factor 2"));
    }
    Ok(())
}

fn inputs(policy: &mut SteeringPolicy, pass: &Pass) -> Checked {
    let act = Guarded::new(&pass.latent_act);
    let view = act.view();
    let given = SteerTensors {
        latent_act: Some(&view),
        ..pass.view(0, 2.0)
    };
    drop(policy.plan(&given)?);
    act.unchanged("latent_act")
}

fn shapes(policy: &mut SteeringPolicy, pass: &Pass) -> Checked {
    let raise = |tensor: &Tensor| tensor.unsqueeze(0);
    let (valid, masked, act) = (
        raise(&pass.is_valid),
        raise(&pass.is_masked),
        raise(&pass.latent_act),
    );
    let bad = SteerTensors {
        is_valid: &valid,
        is_masked: &masked,
        latent_act: Some(&act),
        ..pass.view(0, 2.0)
    };
    ensure_refused("a pass of rank 3", policy.plan(&bad))?;
    let wide = uniform("steering/wide", &[4, 18]);
    let bad = SteerTensors {
        latent_act: Some(&wide),
        ..pass.view(0, 2.0)
    };
    ensure_refused("a `latent_act` wider than `is_valid`", policy.plan(&bad))
}

fn odd(policy: &mut SteeringPolicy) -> Checked {
    let cpu = (Kind::Uint8, tch::Device::Cpu);
    for (b, t) in [(1, 1), (1, 0), (0, 3)] {
        let pass = Pass {
            is_valid: Tensor::ones([b, t], cpu),
            is_masked: Tensor::ones([b, t], cpu),
            latent_act: Tensor::zeros([b, t], (Kind::Float, tch::Device::Cpu)),
        };
        let what = format!("a pass of shape [{b}, {t}]");
        no_panic(&what, policy.plan(&pass.view(0, 2.0)))?;
    }
    let mut pass = Pass::new(2, 5);
    no_panic("amp_factor NaN", policy.plan(&pass.view(0, f64::NAN)))?;
    pass.latent_act = Tensor::full([2, 5], f64::NAN, (Kind::Float, tch::Device::Cpu));
    no_panic("activations of NaN", policy.plan(&pass.view(0, 2.0)))?;
    pass.is_valid = Tensor::zeros([2, 5], cpu);
    no_panic("a pass of padding", policy.plan(&pass.view(0, 2.0)))
}
