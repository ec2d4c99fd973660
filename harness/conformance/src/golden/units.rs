//! `units/`: schedule arithmetic on its own.

use std::path::Path;

use harness_core::schedule;
use serde_json::Value;

use super::compare::{self, Tolerance};
use super::error::GoldenError;
use super::fixture::{self, Array};
use super::report::Recorder;

/// Runs `dir/schedules.json` against the schedules every sampler of this project uses.
pub(super) fn schedules(record: &mut Recorder<'_>, dir: &Path) -> Result<(), GoldenError> {
    let path = dir.join("schedules.json");
    let Some(all) = fixture::json(&path)? else {
        record.skipped("units/schedules", "the folder has no schedules.json");
        return Ok(());
    };
    let cases = |key: &str| all[key].as_array().map_or(&[][..], Vec::as_slice);
    let bad = |detail: &str| GoldenError::Malformed {
        path: path.clone(),
        detail: detail.to_owned(),
    };
    for (key, diffusion) in [("dream_schedule", true), ("llada_schedule", false)] {
        let (mut got, mut want) = (Vec::new(), Vec::new());
        for case in cases(key) {
            let number = |name: &str| case[name].as_u64().map(|n| n as usize);
            let (Some(masks), Some(steps)) = (number("masks"), number("steps")) else {
                return Err(bad("a schedule without masks and steps"));
            };
            let counts = match diffusion {
                true => schedule::dream_transfer_counts(masks, steps, eps(case)),
                false => schedule::llada_transfer_counts(masks, steps),
            };
            got.extend(counts.into_iter().map(|n| n as i64));
            want.extend(
                integers(case.get("transfer")).ok_or_else(|| bad("a schedule without counts"))?,
            );
        }
        record.compared(
            &format!("units/{key}"),
            compare::integers(&Array::column(got), &Array::column(want), None),
        );
    }
    for key in ["dream_timesteps", "dream_p_transfer"] {
        for (steps, want) in all[key].as_object().into_iter().flatten() {
            let n: usize = steps
                .parse()
                .map_err(|_| bad("a number of steps that is no number"))?;
            let times = schedule::dream_timesteps(n, eps(&all));
            let got = if key == "dream_timesteps" {
                times
            } else {
                schedule::dream_p_transfer(&times)
            };
            let want: Vec<f64> = want
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_f64)
                .collect();
            let got = Array::column(got.into_iter().map(f64::from).collect());
            record.compared(
                &format!("units/{key}.{steps}"),
                compare::floats(&got, &Array::column(want), None, Tolerance::EXACT),
            );
        }
    }
    Ok(())
}

/// The final time point; the reference's default where a case does not say.
fn eps(case: &Value) -> f32 {
    case["eps"].as_f64().unwrap_or(1e-3) as f32
}

fn integers(list: Option<&Value>) -> Option<Vec<i64>> {
    list?.as_array()?.iter().map(Value::as_i64).collect()
}
