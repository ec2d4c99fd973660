//! Whether what an SAE returned can be what it computed. In host memory it is looked at once. On a
//! device a look would wait for all work before it, so the look is put off: [`Checks`] keeps the
//! smallest and largest numbers there until they are read with others.

use harness_kernels::readback;
use tch::{Device, Kind, Tensor};

use super::{PluginFailure, failure::Origin};
use crate::steps;

/// Checks of what SAEs returned on a device that are still to be made.
///
/// Whoever asked for them reads [`Checks::unread`] with other numbers and gives what came to
/// [`Checks::settle`], before anything that was computed meanwhile is believed.
#[derive(Default)]
#[must_use = "what a plugin returned is not checked before `settle`"]
pub struct Checks(Vec<Open>);

/// One of them.
struct Open {
    origin: Origin,
    method: &'static str,
    rule: Rule,
    /// The smallest and the largest of what was returned and, for [`Rule::Finite`], of what was
    /// given: `[2] or [4] f64`.
    ends: Tensor,
}

/// What numbers must be, with a name for them.
#[derive(Clone)]
enum Rule {
    Within(&'static str, f64, f64),
    /// They are the plugin's fault where those that it was given are finite, its weights among
    /// them.
    Finite(&'static str),
}

impl Checks {
    /// Tensors that the checks need on the host.
    #[must_use]
    pub fn unread(&self) -> Vec<&Tensor> {
        self.0.iter().map(|open| &open.ends).collect()
    }

    /// Makes the checks with [`Checks::unread`] on the host, in its order.
    ///
    /// # Errors
    /// The first that a plugin does not pass.
    pub fn settle(self, read: &[Tensor]) -> Result<(), PluginFailure> {
        for (open, ends) in self.0.into_iter().zip(read) {
            let host = |error: tch::TchError| open.origin.host(open.method, error);
            let ends = Vec::<f64>::try_from(ends).map_err(host)?;
            open.rule.judge(&open.origin, open.method, &ends)?;
        }
        Ok(())
    }

    /// Waits for a device, where there is anything to check, and makes the checks.
    ///
    /// # Errors
    /// The first that a plugin does not pass; a device's failure.
    pub fn settle_now(self) -> Result<(), PluginFailure> {
        let Some(first) = self.0.first() else {
            return Ok(());
        };
        let (origin, method) = (first.origin.clone(), first.method);
        let read = readback::together(&self.unread());
        self.settle(&read.map_err(|error| origin.host(method, error))?)
    }

    fn put_off(
        &mut self,
        origin: &Origin,
        method: &'static str,
        rule: Rule,
        tensors: &[&Tensor],
    ) -> Result<(), PluginFailure> {
        let ends = ends(tensors).map_err(|error| origin.host(method, error))?;
        self.0.push(Open {
            origin: origin.clone(),
            method,
            rule,
            ends,
        });
        Ok(())
    }
}

impl Rule {
    /// Whether the smallest and largest numbers, laid out as in [`Open`], are as they must be.
    fn judge(
        &self,
        origin: &Origin,
        method: &'static str,
        ends: &[f64],
    ) -> Result<(), PluginFailure> {
        let is_finite = |ends: &[f64]| ends.iter().all(|end| end.is_finite());
        let message = match (self, ends) {
            (Self::Within(what, lowest, highest), &[low, high]) => {
                if low >= *lowest && high <= *highest {
                    return Ok(());
                }
                let found = if low < *lowest { low } else { high };
                format!("{what} is {found}, it must be in {lowest} to {highest}")
            }
            (Self::Finite(what), ends) => {
                let (returned, given) = ends.split_at(ends.len().min(2));
                if is_finite(returned) || !is_finite(given) {
                    return Ok(());
                }
                format!("{what} is NaN or infinite, of input that is neither")
            }
            (Self::Within(what, ..), _) => format!("{what} was not read from the device"),
        };
        Err(origin.broken(method, message))
    }
}

/// Checks that latents are of an SAE of `d_sae` latents, or -1.
pub(super) fn latents(
    origin: &Origin,
    method: &'static str,
    d_sae: usize,
    latents: &Tensor,
    checks: Option<&mut Checks>,
) -> Result<(), PluginFailure> {
    let rule = Rule::Within("a latent", -1.0, d_sae as f64 - 1.0);
    within(origin, method, rule, latents, checks)
}

/// Checks that numbers of active latents are at most `most`.
pub(super) fn counts(
    origin: &Origin,
    method: &'static str,
    most: usize,
    counts: &Tensor,
    checks: Option<&mut Checks>,
) -> Result<(), PluginFailure> {
    let rule = Rule::Within("a number of active latents", 0.0, most as f64);
    within(origin, method, rule, counts, checks)
}

fn within(
    origin: &Origin,
    method: &'static str,
    rule: Rule,
    tensor: &Tensor,
    checks: Option<&mut Checks>,
) -> Result<(), PluginFailure> {
    if tensor.numel() == 0 {
        return Ok(());
    }
    match (tensor.device(), checks) {
        (Device::Cpu, _) => rule.judge(origin, method, &host_ends(origin, method, tensor)?),
        (_, Some(checks)) => checks.put_off(origin, method, rule, &[tensor]),
        (_, None) => Ok(()),
    }
}

/// Check that numbers are finite, where those that the plugin was given are.
pub(super) fn finite(
    origin: &Origin,
    method: &'static str,
    what: &'static str,
    (returned, given): (&Tensor, &Tensor),
    checks: Option<&mut Checks>,
) -> Result<(), PluginFailure> {
    if returned.numel() == 0 || given.numel() == 0 {
        return Ok(());
    }
    let rule = Rule::Finite(what);
    match (returned.device(), checks) {
        (Device::Cpu, _) => {
            let mut ends = host_ends(origin, method, returned)?;
            // What was given is looked at only where it matters.
            if ends.iter().all(|end| end.is_finite()) {
                return Ok(());
            }
            ends.extend(host_ends(origin, method, given)?);
            rule.judge(origin, method, &ends)
        }
        (_, Some(checks)) => checks.put_off(origin, method, rule, &[returned, given]),
        (_, None) => Ok(()),
    }
}

/// The smallest and the largest number, both NaN where one is.
fn host_ends(
    origin: &Origin,
    method: &'static str,
    tensor: &Tensor,
) -> Result<Vec<f64>, PluginFailure> {
    let host = |error: tch::TchError| origin.host(method, error);
    steps::on_host(|| Vec::try_from(&ends(&[tensor]).map_err(host)?).map_err(host))
}

/// The smallest and the largest number of each tensor, where they are: `[2 n] f64`.
fn ends(tensors: &[&Tensor]) -> Result<Tensor, tch::TchError> {
    let mut ends = Vec::with_capacity(2 * tensors.len());
    for tensor in tensors {
        let (low, high) = tensor.f_aminmax(None::<i64>, false)?;
        ends.push(low.f_to_kind(Kind::Double)?);
        ends.push(high.f_to_kind(Kind::Double)?);
    }
    Tensor::f_stack(&ends, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::new("plugin-test", "sae `test`")
    }

    /// Checks as they are put off on a device, whose numbers are read afterwards.
    fn settled(rule: &Rule, tensors: &[&Tensor]) -> Result<(), String> {
        let mut checks = Checks::default();
        checks
            .put_off(&origin(), "encode", rule.clone(), tensors)
            .unwrap();
        assert_eq!(checks.unread().len(), 1);
        checks.settle_now().map_err(|failure| failure.message)
    }

    #[test]
    fn what_was_put_off_is_refused_with_the_words_of_the_host() {
        let rule = Rule::Within("a latent", -1.0, 8.0);
        let fits = Tensor::from_slice(&[-1i64, 0, 8]);
        assert_eq!(settled(&rule, &[&fits]), Ok(()));
        for found in [[9i64, 0, -1], [3, -2, 9]] {
            let found = Tensor::from_slice(&found);
            let late = settled(&rule, &[&found]).unwrap_err();
            let now = latents(&origin(), "encode", 9, &found, None).unwrap_err();
            assert_eq!(late, now.message);
            assert!(late.contains("it must be in -1 to 8"), "{late}");
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_the_plugins_fault_only_of_finite_input() {
        let rule = Rule::Finite("an activation");
        let good = Tensor::from_slice(&[1.0f32, -2.0]);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let bad = Tensor::from_slice(&[bad, 1.0]);
            assert_eq!(settled(&rule, &[&good, &bad]), Ok(()));
            assert_eq!(settled(&rule, &[&bad, &bad]), Ok(()));
            let late = settled(&rule, &[&bad, &good]).unwrap_err();
            let now = finite(&origin(), "encode", "an activation", (&bad, &good), None);
            assert_eq!(late, now.unwrap_err().message);
        }
    }

    #[test]
    fn the_first_fault_of_several_is_told_and_none_is_no_fault() {
        let (good, bad) = (Tensor::from_slice(&[0i64]), Tensor::from_slice(&[7i64]));
        let mut checks = Checks::default();
        for (what, tensor) in [("one", &good), ("two", &bad), ("three", &bad)] {
            let rule = Rule::Within(what, 0.0, 3.0);
            checks
                .put_off(&origin(), "encode", rule, &[tensor])
                .unwrap();
        }
        let failure = checks.settle_now().unwrap_err();
        assert!(failure.message.starts_with("two is 7"), "{failure}");
        assert!(Checks::default().settle_now().is_ok());
    }
}
