//! The cases, at the sizes of an SAE of width 16384 and a vocabulary of 32000.

use anyhow::Result;
use harness_kernels::{
    CleanRows, Encoder, Targets, ce_kl_rows, centred_moments, encode_topk, jaccard_rows, linear,
    residual_moments,
    sparse::{Form, decode_sparse_as},
    steer_add, topk_active,
};
use tch::{Device, Kind, Tensor};

use super::Case;

/// Rows, latents and tokens.
const N: i64 = 2048;
const WIDTH: i64 = 16384;
const VOCAB: i64 = 32000;

/// A group and its cases, so that only one group's tensors are alive at a time.
pub type Group = (&'static str, fn() -> Result<Vec<Case>>);

pub const ALL: &[Group] = &[
    ("selection", selection),
    ("encoding", encoding),
    ("decoding", decoding),
    ("moments", moments),
    ("logits", logits),
    ("steering", steering),
    ("overlap", overlap),
    ("layers", layers),
];

fn randn(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
}

fn size(kind: Kind) -> f64 {
    if kind == Kind::BFloat16 { 2.0 } else { 4.0 }
}

fn short(kind: Kind) -> &'static str {
    if kind == Kind::BFloat16 {
        "bf16"
    } else {
        "f32"
    }
}

fn selection() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for kind in [Kind::Float, Kind::BFloat16] {
        for k in [50, 160, 820] {
            let p = randn(&[N, WIDTH], kind);
            let libtorch = p.shallow_clone();
            let bytes = (N * WIDTH) as f64 * size(kind) + (N * k * 12) as f64;
            let shape = format!("{N} x {WIDTH} {}, k {k}", short(kind));
            let case = |name, run| Case {
                name,
                shape: shape.clone(),
                flops: 0.0,
                kind,
                bytes,
                run,
            };
            cases.push(case(
                "topk_active",
                Box::new(move || {
                    drop(topk_active(&p, k)?);
                    Ok(())
                }),
            ));
            cases.push(case(
                "libtorch topk",
                Box::new(move || {
                    drop(libtorch.f_topk(k, -1, true, true)?);
                    Ok(())
                }),
            ));
        }
    }
    Ok(cases)
}

fn encoding() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (kind, d, k) in [
        (Kind::BFloat16, 1024, 50),
        (Kind::BFloat16, 1024, 820),
        (Kind::BFloat16, 3584, 160),
        (Kind::Float, 1024, 50),
    ] {
        let (x, w) = (randn(&[N, d], kind), randn(&[WIDTH, d], kind));
        let b = randn(&[WIDTH], kind);
        cases.push(Case {
            name: "encode_topk",
            shape: format!("{N} x {d} x {WIDTH} {}, k {k}", short(kind)),
            flops: 2.0 * (N * d * WIDTH) as f64,
            kind,
            bytes: (WIDTH * d) as f64 * size(kind),
            run: Box::new(move || {
                let encoder = Encoder {
                    w_enc: &w.f_tr()?,
                    b_enc: &b,
                    b_dec: None,
                    scale: None,
                };
                {
                    drop(encode_topk(&x, &encoder, k)?);
                    Ok(())
                }
            }),
        });
    }
    Ok(cases)
}

fn decoding() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for d in [1024, 3584] {
        for kind in [Kind::Float, Kind::BFloat16] {
            for k in [50, 160, 820] {
                let rows = randn(&[WIDTH, d], kind);
                let acts = randn(&[N, k], Kind::Float).abs();
                let latents = randn(&[N, WIDTH], Kind::Float).f_topk(k, -1, true, true)?.1;
                let taken = Form::choose(
                    (N * k) as usize,
                    WIDTH as usize,
                    d as usize,
                    size(kind) as usize,
                );
                let mut case = |name, run| {
                    cases.push(Case {
                        name,
                        shape: format!("{N} x {k} of {WIDTH} x {d} {}", short(kind)),
                        flops: 2.0 * (N * k * d) as f64,
                        kind: Kind::Float,
                        bytes: (WIDTH * d) as f64 * size(kind) + (N * d * 4) as f64,
                        run,
                    });
                };
                for form in [Form::Direct, Form::Libtorch, Form::Packed] {
                    if form == Form::Libtorch && kind == Kind::BFloat16 {
                        continue; // it would round the sums to bf16
                    }
                    let (acts, latents, rows) = (
                        acts.shallow_clone(),
                        latents.shallow_clone(),
                        rows.shallow_clone(),
                    );
                    case(
                        match (form, form == taken) {
                            (Form::Direct, true) => "decode_sparse direct (taken)",
                            (Form::Direct, false) => "decode_sparse direct",
                            (Form::Libtorch, true) => "decode_sparse libtorch (taken)",
                            (Form::Libtorch, false) => "decode_sparse libtorch",
                            (Form::Packed, true) => "decode_sparse packed (taken)",
                            (Form::Packed, false) => "decode_sparse packed",
                        },
                        Box::new(move || {
                            drop(decode_sparse_as(form, &acts, &latents, &rows, None)?);
                            Ok(())
                        }),
                    );
                }
                let weights = acts.f_to_kind(kind)?;
                case(
                    "decode libtorch dense",
                    Box::new(move || {
                        let mut dense = Tensor::f_zeros([N, WIDTH], (kind, Device::Cpu))?;
                        let dense = dense.f_scatter_(1, &latents, &weights)?;
                        {
                            drop(dense.f_matmul(&rows)?);
                            Ok(())
                        }
                    }),
                );
            }
        }
    }
    Ok(cases)
}

fn moments() -> Result<Vec<Case>> {
    let d = 1024;
    let keep = Tensor::arange(N, (Kind::Int64, Device::Cpu))
        .remainder(3)
        .gt(0);
    let mut cases = Vec::new();
    for kind in [Kind::Float, Kind::BFloat16] {
        let (x, hat) = (randn(&[N, d], kind), randn(&[N, d], Kind::Float));
        let x2 = x.shallow_clone();
        let (keep1, keep2) = (keep.shallow_clone(), keep.shallow_clone());
        let origin = Tensor::full([d], 0.5, (Kind::Double, Device::Cpu));
        let shape = format!("{N} x {d} {}", short(kind));
        let bytes = (N * d) as f64 * size(kind);
        cases.push(Case {
            name: "residual_moments",
            shape: shape.clone(),
            flops: 0.0,
            kind,
            bytes: bytes + (N * d * 4) as f64,
            run: Box::new(move || {
                drop(residual_moments(&x, &hat, &keep1)?);
                Ok(())
            }),
        });
        cases.push(Case {
            name: "centred_moments",
            shape,
            flops: 0.0,
            kind,
            bytes,
            run: Box::new(move || {
                drop(centred_moments(&x2, &origin, &keep2)?);
                Ok(())
            }),
        });
    }
    Ok(cases)
}

fn logits() -> Result<Vec<Case>> {
    let n = 512;
    let (clean, spliced) = (
        randn(&[n, VOCAB], Kind::Float),
        randn(&[n, VOCAB], Kind::Float),
    );
    let ids: Vec<i64> = (0..n).collect();
    let targets = Targets::new(&ids, VOCAB, Device::Cpu)?;
    let kept = CleanRows::new(&clean)?;
    let bytes = (n * VOCAB * 4) as f64;
    let shape = format!("{n} x {VOCAB} f32");
    let case = |name, bytes, run| Case {
        name,
        shape: shape.clone(),
        flops: 0.0,
        kind: Kind::Float,
        bytes,
        run,
    };
    Ok(vec![
        case(
            "CleanRows::new",
            bytes,
            Box::new(move || {
                drop(CleanRows::new(&clean)?);
                Ok(())
            }),
        ),
        case(
            "ce_kl_rows",
            2.0 * bytes,
            Box::new(move || {
                drop(ce_kl_rows(&spliced, &targets, &kept)?);
                Ok(())
            }),
        ),
    ])
}

fn overlap() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for k in [50, 820] {
        let sets = || Tensor::randint(WIDTH, [N, k], (Kind::Int64, Device::Cpu));
        let (a, b) = (sets(), sets());
        cases.push(Case {
            name: "jaccard_rows",
            shape: format!("{N} x {k} and {k} of {WIDTH}"),
            flops: 0.0,
            kind: Kind::Float,
            bytes: (2 * N * k * 8) as f64,
            run: Box::new(move || {
                drop(jaccard_rows(&a, &b)?);
                Ok(())
            }),
        });
    }
    Ok(cases)
}

fn steering() -> Result<Vec<Case>> {
    let (b, t, d) = (16, 512, 1024);
    let mut cases = Vec::new();
    for kind in [Kind::Float, Kind::BFloat16] {
        let mut resid = randn(&[b, t, d], kind);
        let (coeff, scale) = (randn(&[b, t], Kind::Float), randn(&[b, t], Kind::Float));
        let direction = randn(&[b, d], Kind::Float);
        cases.push(Case {
            name: "steer_add",
            shape: format!("{b} x {t} x {d} {}", short(kind)),
            flops: 0.0,
            kind,
            bytes: 2.0 * (b * t * d) as f64 * size(kind),
            run: Box::new(move || Ok(steer_add(&mut resid, &coeff, &scale, &direction)?)),
        });
    }
    Ok(cases)
}

/// Dense layers of one or two rows, as in the generation of a text: weights come from memory.
fn layers() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for kind in [Kind::Float, Kind::BFloat16] {
        for (rows, n, k) in [
            (1, 16384, 576),
            (2, 16384, 576),
            (1, 4096, 8192),
            (2, 4096, 8192),
        ] {
            let (x, weight) = (randn(&[rows, k], kind), randn(&[n, k], kind));
            let case = |name, run| Case {
                name,
                shape: format!("{rows} x {k} x {n} {}", short(kind)),
                flops: 2.0 * (rows * n * k) as f64,
                kind,
                bytes: (n * k) as f64 * size(kind),
                run,
            };
            let (theirs, weights) = (x.shallow_clone(), weight.shallow_clone());
            cases.push(case(
                "linear",
                Box::new(move || {
                    drop(linear(&x, &weight, None)?);
                    Ok(())
                }),
            ));
            cases.push(case(
                "libtorch",
                Box::new(move || {
                    drop(theirs.f_linear(&weights, None::<&Tensor>)?);
                    Ok(())
                }),
            ));
        }
    }
    Ok(cases)
}
