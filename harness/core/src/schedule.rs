//! How many positions a denoising run reveals at each step.
//!
//! Counts follow the float32 arithmetic of the reference samplers: with as many steps as masks
//! Dream reveals nothing at step 0, one at each further step and two at the last, and a count
//! formed in f64 would not.

/// Dream's time points: `n_steps + 1` float32 values from 1 down to `eps`.
///
/// As the reference's linspace, each half counts from its own end with one rounding (a fused
/// multiply-add).
pub fn dream_timesteps(n_steps: usize, eps: f32) -> Vec<f32> {
    let last = n_steps;
    if last == 0 {
        return vec![1.0];
    }
    let step = (eps - 1.0) / last as f32;
    (0..=last)
        .map(|i| {
            if i < last.div_ceil(2) {
                step.mul_add(i as f32, 1.0)
            } else {
                (-step).mul_add((last - i) as f32, eps)
            }
        })
        .collect()
}

/// Dream's probability that a masked position is revealed at step `i`: `1 - t[i+1] / t[i]`, and 1
/// at the last step.
///
/// - `timesteps`: `[n_steps + 1]`, from [`dream_timesteps`]
/// - returns `[n_steps]`
pub fn dream_p_transfer(timesteps: &[f32]) -> Vec<f32> {
    let n_steps = timesteps.len().saturating_sub(1);
    timesteps
        .windows(2)
        .enumerate()
        .map(|(i, t)| {
            if i + 1 == n_steps {
                1.0
            } else {
                1.0 - t[1] / t[0]
            }
        })
        .collect()
}

/// Number of positions Dream's confidence orders reveal at step `step`, from the mean number of
/// masks of a row.
///
/// - `n_masked`: masked positions of the batch divided by its rows, before the step
/// - `p_transfer`: `[n_steps]`, from [`dream_p_transfer`]; beyond its end everything left is
///   revealed
pub fn dream_transfer_count(n_masked: f32, step: usize, p_transfer: &[f32]) -> usize {
    match p_transfer.get(step) {
        Some(p) if step + 1 < p_transfer.len() => (n_masked * p) as usize,
        _ => n_masked as usize,
    }
}

/// Counts of a whole single-row run of Dream in which every transfer succeeds. `[n_steps]`, summing
/// to `n_masks`.
pub fn dream_transfer_counts(n_masks: usize, n_steps: usize, eps: f32) -> Vec<usize> {
    let p_transfer = dream_p_transfer(&dream_timesteps(n_steps, eps));
    let mut left = n_masks;
    (0..n_steps)
        .map(|step| {
            let n = dream_transfer_count(left as f32, step, &p_transfer);
            left -= n;
            n
        })
        .collect()
}

/// LLaDA's counts for one block: `n_masks / n_steps` each, and one more for the first `n_masks %
/// n_steps` steps. `[n_steps]`
pub fn llada_transfer_counts(n_masks: usize, n_steps: usize) -> Vec<usize> {
    (0..n_steps)
        .map(|step| n_masks / n_steps + usize::from(step < n_masks % n_steps))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn usizes(v: &Value) -> Vec<usize> {
        v.as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_u64().unwrap() as usize)
            .collect()
    }

    fn f32s(v: &Value) -> Vec<f32> {
        v.as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap() as f32)
            .collect()
    }

    #[test]
    fn equal_to_the_reference_schedules() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/parity/units/schedules.json"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        for case in all["dream_schedule"].as_array().unwrap() {
            let n = |name: &str| case[name].as_u64().unwrap() as usize;
            let eps = case["eps"].as_f64().unwrap() as f32;
            assert_eq!(
                dream_transfer_counts(n("masks"), n("steps"), eps),
                usizes(&case["transfer"]),
                "{case}"
            );
        }
        for case in all["llada_schedule"].as_array().unwrap() {
            let n = |name: &str| case[name].as_u64().unwrap() as usize;
            assert_eq!(
                llada_transfer_counts(n("masks"), n("steps")),
                usizes(&case["transfer"]),
                "{case}"
            );
        }
        for (steps, want) in all["dream_timesteps"].as_object().unwrap() {
            let timesteps = dream_timesteps(steps.parse().unwrap(), 1e-3);
            assert_eq!(timesteps, f32s(want), "{steps} steps");
            assert_eq!(
                dream_p_transfer(&timesteps),
                f32s(&all["dream_p_transfer"][steps]),
                "{steps} steps"
            );
        }
    }

    #[test]
    fn as_many_steps_as_masks() {
        for n in [30, 128, 256] {
            let counts = dream_transfer_counts(n, n, 1e-3);
            assert_eq!((counts[0], counts[n - 1]), (0, 2));
            assert!(counts[1..n - 1].iter().all(|&c| c == 1));
        }
    }

    proptest! {
        #[test]
        fn nothing_stays_masked(masks in 0usize..600, steps in 1usize..300) {
            prop_assert_eq!(dream_transfer_counts(masks, steps, 1e-3).iter().sum::<usize>(), masks);
            prop_assert_eq!(llada_transfer_counts(masks, steps).iter().sum::<usize>(), masks);
        }

        #[test]
        fn time_runs_from_one_to_eps(steps in 1usize..400) {
            let t = dream_timesteps(steps, 1e-3);
            prop_assert_eq!((t.len(), t[0], t[steps]), (steps + 1, 1.0, 1e-3));
            prop_assert!(t.windows(2).all(|w| w[1] < w[0]));
        }
    }
}
