//! `sae/`: every folder of an SAE against the recorded latents and reconstructions.

use std::path::{Path, PathBuf};

use harness_engine::plugin::{Checks, Sae, SaeArchitecture};
use serde_json::Value;
use tch::Tensor;

use super::compare::{self, Compared, Tolerance};
use super::fixture::{Array, Tensors};
use super::forward::Failed;
use super::index::Tolerances;
use super::report::Recorder;

/// One SAE of the family, loaded.
pub(super) struct NamedSae {
    /// Its folder relative to `sae/`.
    pub name: String,
    pub sae: Sae,
    /// Whether it is the SAE whose decoder rows are rescaled (its recorded reconstruction is
    /// `recon_rescaled`).
    pub rescaled: bool,
}

/// Loads every SAE below `dir` with the first architecture that reads it with certainty; refusals
/// are failed checks.
pub(super) fn load_all(
    record: &mut Recorder<'_>,
    dir: &Path,
    architectures: &[SaeArchitecture],
) -> Vec<NamedSae> {
    let mut found = Vec::new();
    collect(dir, 0, &mut found);
    found.sort();
    let mut loaded = Vec::new();
    for path in found {
        let name = path
            .strip_prefix(dir)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        let check = format!("sae/{name}.load");
        match load(&path, architectures) {
            Ok(sae) => loaded.push(NamedSae {
                rescaled: name
                    .split('/')
                    .next()
                    .is_some_and(|top| top.ends_with("_rescaled")),
                name,
                sae,
            }),
            Err(error) => record.failed(&check, error),
        }
    }
    loaded
}

fn load(path: &Path, architectures: &[SaeArchitecture]) -> Result<Sae, Failed> {
    for architecture in architectures {
        if architecture.detect(path)?.is_some() {
            return Ok(architecture.load(path, tch::Device::Cpu, false)?);
        }
    }
    Err("no loaded SAE architecture reads this folder".into())
}

/// Folders that hold a configuration file, at most three levels down.
fn collect(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if ["cfg.json", "config.json"]
        .iter()
        .any(|name| dir.join(name).is_file())
    {
        found.push(dir.to_owned());
        return;
    }
    if depth < 3 {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                collect(&entry.path(), depth + 1, found);
            }
        }
    }
}

/// Compares `named` with the recorded cases of `tensors`.
pub(super) fn check(
    record: &mut Recorder<'_>,
    named: &NamedSae,
    tensors: &Tensors,
    manifest: &Value,
    tolerances: &Tolerances,
) {
    let info = named.sae.info();
    let about = [
        ("layer", info.layer),
        ("d_in", Some(info.d_model)),
        ("d_sae", Some(info.d_sae)),
        ("k", Some(info.k)),
    ];
    for (key, got) in about {
        // A file that does not name its layer is no error: the folder names it.
        if let (Some(want), Some(got)) = (
            manifest
                .pointer(&format!("/sae/{key}"))
                .and_then(Value::as_f64),
            got,
        ) {
            record.compared(
                &format!("sae/{}.{key}", named.name),
                compare::number(Some(got as f64), Some(want)),
            );
        }
    }
    for case in manifest["loss"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(case, _)| case)
    {
        let label = format!("sae/{}.{case}", named.name);
        record.attempt(&label, |record| {
            check_case(record, &label, case, named, tensors, tolerances)
        });
    }
}

fn check_case(
    record: &mut Recorder<'_>,
    label: &str,
    case: &str,
    named: &NamedSae,
    tensors: &Tensors,
    tolerances: &Tolerances,
) -> Result<(), Failed> {
    let valid = tensors.integers(&format!("{case}.attention_mask"))?.flags();
    let resid = tensors.floats(&format!("{case}.resid"))?.tensor()?; // [b, t, d_model]
    let at: Vec<i64> = (0_i64..)
        .zip(&valid)
        .filter(|(_, valid)| **valid)
        .map(|(i, _)| i)
        .collect();
    let index = Tensor::f_from_slice(&at)?;
    let d_model = resid.size().last().copied().unwrap_or(0);
    let x = resid.f_reshape([-1, d_model])?.f_index_select(0, &index)?; // [n, d_model]
    let pick = |array: Array<f64>| -> Result<Array<f64>, Failed> {
        let width = *array
            .shape
            .last()
            .ok_or("a recorded tensor without dimensions")? as i64;
        Ok(Array::of(
            &array
                .tensor()?
                .f_reshape([-1, width])?
                .f_index_select(0, &index)?,
        )?)
    };
    let recon = if named.rescaled {
        "recon_rescaled"
    } else {
        "recon"
    };
    let want = pick(tensors.floats(&format!("{case}.{recon}"))?)?;
    let mut checks = Checks::default();
    let got = named.sae.reconstruct(&x, &mut checks)?;
    checks.settle_now()?;
    let got = Array::of(&got)?;
    let tolerance = tolerances.sae;
    record.compared(
        &format!("{label}.{recon}"),
        compare::floats(&got, &want, None, tolerance),
    );
    if named.rescaled {
        return Ok(()); // its latents are not recorded
    }
    let encoded = named.sae.encode(&x)?;
    let values = tensors.floats(&format!("{case}.sae_values"))?;
    let want = pick(values)?;
    let got = Array::of(&encoded.acts)?;
    record.compared(
        &format!("{label}.sae_values"),
        compare::floats(&got, &want, None, tolerance),
    );
    let indices = tensors.integers(&format!("{case}.sae_indices"))?;
    let width = *indices
        .shape
        .last()
        .ok_or("sae_indices without dimensions")? as i64;
    let want = indices
        .tensor()?
        .f_reshape([-1, width])?
        .f_index_select(0, &index)?;
    record.compared(
        &format!("{label}.sae_indices"),
        same_latents(&encoded.latents, &want)?,
    );
    Ok(())
}

/// Compares the active latents of each row as sets: equal activations may come in either order.
/// `[n, w] i64` each, -1 where inactive.
pub(super) fn same_latents(got: &Tensor, want: &Tensor) -> Result<Compared, tch::TchError> {
    let (got, want) = (Array::of_ids(got)?, Array::of_ids(want)?);
    let matrices = got.shape.len() == 2 && want.shape.len() == 2;
    if !matrices || got.shape[0] != want.shape[0] || got.shape[1] == 0 || want.shape[1] == 0 {
        let reason = compare::other_shape(&got, &want);
        return Ok(Compared::fail(Tolerance::EXACT, reason));
    }
    let set = |row: &[i64]| -> Vec<i64> {
        let mut row: Vec<i64> = row.iter().copied().filter(|latent| *latent >= 0).collect();
        row.sort_unstable();
        row
    };
    let rows = got
        .data
        .chunks_exact(got.shape[1])
        .zip(want.data.chunks_exact(want.shape[1]));
    let mut differing = rows
        .enumerate()
        .map(|(i, (got, want))| (i, set(got), set(want)))
        .filter(|(_, got, want)| got != want);
    let first = differing.next();
    let more = differing.count();
    let reason = match &first {
        Some((i, got, want)) => format!(
            "{} rows differ; the first, row {i}: {got:?} computed, {want:?} in the fixture",
            more + 1
        ),
        None => String::new(),
    };
    Ok(Compared::exact(want.data.len(), reason))
}
