//! The laws of SAE architectures. Most need an SAE (`--sae-dir`).

use std::{collections::BTreeSet, fs};

use harness_engine::plugin::{ErrorCode, Sae, SaeArchitecture};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::{
    data::{Guarded, max_abs, normal, same_bits},
    subject::{Named, Subject},
    verdict::{Checked, Ended, ensure, ensure_refused, no_panic, unknown},
};

pub(super) const TESTS: &[Named] = &[
    ("empty-folder", "a folder without an SAE is refused"),
    ("garbage", "damaged files are refused"),
    (
        "trainer-config",
        "a wrong training configuration is refused",
    ),
    (
        "active",
        "at most k latents are active, unique, in range, in descending order",
    ),
    ("rows", "a row's latents do not depend on other rows"),
    ("decode-linear", "decoding is linear in the activations"),
    ("decoder-rows", "decoder_rows(i) = decode(e_i) - decode(0)"),
    (
        "latent-acts",
        "latent_acts agrees with the active latents of encode",
    ),
    ("inputs", "inputs come back as they were"),
    (
        "shapes",
        "other widths, element types and latents out of range are refused",
    ),
];

/// Rows encoded by a test.
const N: i64 = 24;
/// Relative tolerance of sums of f32 products formed in another order.
const RTOL: f64 = 1e-4;

pub(super) fn run(test: &str, subject: &Subject<'_>) -> Checked {
    let architecture = subject.registry.sae(subject.name, &json!({}))?;
    match test {
        "empty-folder" => return empty_folder(&architecture),
        "garbage" => return garbage(&architecture),
        "trainer-config" => return trainer_config(&architecture),
        _ => {}
    }
    let Some(dir) = subject.sae_dir else {
        return Err(Ended::skipped("no SAE is given (--sae-dir)"));
    };
    if architecture.detect(dir)?.is_none() {
        let dir = dir.display();
        return Err(Ended::skipped(format!("it does not read {dir}")));
    }
    let sae = architecture.load(dir, Device::Cpu, false)?;
    let x = normal("sae/x", &[N, sae.info().d_model as i64]) * 3.0;
    match test {
        "active" => active(&sae, &x),
        "rows" => rows(&sae, &x),
        "decode-linear" => decode_linear(&sae, &x),
        "decoder-rows" => decoder_rows(&sae),
        "latent-acts" => latent_acts(&sae, &x),
        "inputs" => inputs(&sae, &x),
        "shapes" => shapes(&sae, &x),
        other => unknown(other),
    }
}

fn empty_folder(architecture: &SaeArchitecture) -> Checked {
    let scratch = tempfile::tempdir()?;
    for dir in [scratch.path().to_owned(), scratch.path().join("not-there")] {
        let detected = architecture.detect(&dir);
        if let Ok(Some(format)) = &detected {
            let what = format!("an empty folder is taken for the layout `{format}`");
            return Err(Ended::failed(what));
        }
        no_panic("detect", detected)?;
        ensure_refused(
            "a folder without an SAE",
            architecture.load(&dir, Device::Cpu, false),
        )?;
    }
    Ok(())
}

fn garbage(architecture: &SaeArchitecture) -> Checked {
    let scratch = tempfile::tempdir()?;
    for name in [
        "cfg.json",
        "config.json",
        "sae_weights.safetensors",
        "sae.safetensors",
        "ae.pt",
    ] {
        fs::write(scratch.path().join(name), b"\xff\xff\xff\x7f{\"not\": ")?;
    }
    no_panic("detect", architecture.detect(scratch.path()))?;
    ensure_refused(
        "a folder of damaged files",
        architecture.load(scratch.path(), Device::Cpu, false),
    )
}

fn trainer_config(architecture: &SaeArchitecture) -> Checked {
    match architecture.trainer(&json!({"no_such_setting": 1}), Device::Cpu) {
        Ok(_) => Err(Ended::warning("an unknown setting of training is accepted")),
        Err(failure) if failure.code == ErrorCode::UNSUPPORTED => {
            Err(Ended::skipped("it does not train"))
        }
        Err(failure) => ensure(failure.code == ErrorCode::CONFIG, || {
            format!("an unknown setting is not a CONFIG error but: {failure}")
        }),
    }
}

/// The values of a tensor.
fn floats(tensor: &Tensor) -> Result<Vec<f32>, Ended> {
    Ok(Vec::<f32>::try_from(tensor.reshape([-1]))?)
}

fn ints(tensor: &Tensor) -> Result<Vec<i64>, Ended> {
    Ok(Vec::<i64>::try_from(tensor.reshape([-1]))?)
}

fn active(sae: &Sae, x: &Tensor) -> Checked {
    let info = sae.info();
    let encoded = sae.encode(x)?;
    let (acts, latents) = (floats(&encoded.acts)?, ints(&encoded.latents)?);
    for (row, &n_active) in ints(&encoded.n_active)?.iter().enumerate() {
        let span = row * info.max_active..(row + 1) * info.max_active;
        let (acts, latents) = (&acts[span.clone()], &latents[span]);
        let n = usize::try_from(n_active).unwrap_or(usize::MAX);
        ensure(n <= info.max_active, || {
            format!(
                "row {row}: {n_active} latents are active, of {} slots",
                info.max_active
            )
        })?;
        ensure(n <= info.k || info.k != info.max_active, || {
            format!("row {row}: {n} latents are active, k is {}", info.k)
        })?;
        let unique: BTreeSet<i64> = latents[..n].iter().copied().collect();
        let in_range = unique.iter().all(|&l| l >= 0 && l < info.d_sae as i64);
        ensure(unique.len() == n && in_range, || {
            format!(
                "row {row}: its latents {:?} are not unique and in range",
                &latents[..n]
            )
        })?;
        ensure(acts[..n].iter().all(|a| *a > 0.0 && a.is_finite()), || {
            format!("row {row}: an active latent has no activation above 0")
        })?;
        ensure(acts[..n].is_sorted_by(|a, b| a >= b), || {
            format!("row {row}: its activations are not in descending order")
        })?;
        let unused = acts[n..].iter().all(|a| *a == 0.0) && latents[n..].iter().all(|l| *l == -1);
        ensure(unused, || {
            format!("row {row}: an unused slot does not hold act 0 and latent -1")
        })?;
    }
    Ok(())
}

fn rows(sae: &Sae, x: &Tensor) -> Checked {
    let together = sae.encode(x)?;
    for row in [0, N / 2, N - 1] {
        let alone = sae.encode(&x.narrow(0, row, 1))?;
        let same = same_bits(&together.latents.narrow(0, row, 1), &alone.latents);
        let difference = max_abs(&together.acts.narrow(0, row, 1), &alone.acts);
        let scale = together.acts.abs().max().double_value(&[]);
        ensure(same && difference <= RTOL * scale, || {
            format!(
                "row {row} of {N} is encoded otherwise than alone (acts differ by {difference})"
            )
        })?;
    }
    Ok(())
}

fn decode_linear(sae: &Sae, x: &Tensor) -> Checked {
    let encoded = sae.encode(x)?;
    let at = |scale: f64| -> Result<Tensor, Ended> {
        Ok(sae.decode(&(&encoded.acts * scale), &encoded.latents)?)
    };
    let (zero, one, three) = (at(0.0)?, at(1.0)?, at(3.0)?);
    let expected = (&one - &zero) * 3.0 + &zero;
    let difference = max_abs(&three, &expected);
    let scale = three.abs().max().double_value(&[]).max(1e-6);
    ensure(difference <= RTOL * scale, || {
        format!("three times the activations differ from three times the change by {difference}")
    })
}

fn decoder_rows(sae: &Sae) -> Checked {
    let info = sae.info();
    let last = info.d_sae as i64 - 1;
    let latents = Tensor::from_slice(&[0, last / 2, last]);
    let rows = sae.decoder_rows(&latents)?; // [3, d]
    let one = Tensor::ones([3, 1], (Kind::Float, Device::Cpu));
    let column = latents.unsqueeze(1); // [3, 1]
    let expected = sae.decode(&one, &column)? - sae.decode(&(&one * 0.0), &column)?;
    let difference = max_abs(&rows, &expected);
    let scale = rows.abs().max().double_value(&[]).max(1e-6);
    ensure(difference <= RTOL * scale.max(1.0), || {
        format!("decoder_rows differs from decode(e_i) - decode(0) by {difference}")
    })
}

fn latent_acts(sae: &Sae, x: &Tensor) -> Checked {
    let encoded = sae.encode(x)?;
    let width = sae.info().max_active;
    let (acts, latents) = (floats(&encoded.acts)?, ints(&encoded.latents)?);
    for row in [0, 5] {
        let slots: Vec<usize> = (row * width..(row + 1) * width)
            .filter(|&i| latents[i] >= 0)
            .collect();
        let wanted: Vec<i64> = slots.iter().map(|&i| latents[i]).collect();
        let wanted = Tensor::from_slice(&wanted);
        let got = floats(&sae.latent_acts(&x.narrow(0, row as i64, 1), &wanted)?)?;
        for (got, &slot) in got.iter().zip(&slots) {
            let want = acts[slot];
            ensure(
                f64::from((got - want).abs()) <= RTOL * f64::from(want.max(1.0)),
                || {
                    format!(
                        "row {row}, latent {}: latent_acts says {got}, encode {want}",
                        latents[slot]
                    )
                },
            )?;
        }
    }
    Ok(())
}

fn inputs(sae: &Sae, x: &Tensor) -> Checked {
    let guarded = Guarded::new(x);
    let encoded = sae.encode(&guarded.view())?;
    guarded.unchanged("x")?;
    let (acts, latents) = (Guarded::new(&encoded.acts), Guarded::new(&encoded.latents));
    drop(sae.decode(&acts.view(), &latents.view())?);
    acts.unchanged("acts")?;
    latents.unchanged("latents")
}

fn shapes(sae: &Sae, x: &Tensor) -> Checked {
    let info = sae.info();
    let integers = x.to_kind(Kind::Int64);
    ensure_refused("an input of integers", sae.encode(&integers))?;
    let one = Tensor::ones([1, 1], (Kind::Float, Device::Cpu));
    for latent in [info.d_sae as i64, -2] {
        let what = format!("the latent {latent}");
        let latents = Tensor::from_slice(&[latent]);
        ensure_refused(&what, sae.decoder_rows(&latents))?;
        ensure_refused(&what, sae.latent_acts(&x.narrow(0, 0, 1), &latents))?;
    }
    let beyond = Tensor::from_slice(&[info.d_sae as i64]).unsqueeze(0);
    ensure_refused("decoding a latent out of range", sae.decode(&one, &beyond))?;
    ensure_refused(
        "acts and latents of different shapes",
        sae.decode(&one, &Tensor::zeros([1, 2], (Kind::Int64, Device::Cpu))),
    )?;
    no_panic("no rows", sae.encode(&x.narrow(0, 0, 0)))
}
