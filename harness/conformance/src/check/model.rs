//! Tests of model adapters. The laws need a checkpoint (`--model-dir`); see [`super::model_laws`].

use std::fs;

use harness_engine::plugin::{LoadOptions, Model};
use serde_json::json;
use tch::{Device, Kind};

use super::{
    model_laws,
    subject::{Named, Subject},
    verdict::{Checked, Ended, ensure, ensure_refused, no_panic},
};

pub(super) const TESTS: &[Named] = &[
    (
        "no-checkpoint",
        "folders that hold no checkpoint are refused",
    ),
    ("inspect", "inspecting and loading say the same"),
    ("split", "any split of the blocks gives the same bits"),
    ("rows", "rows of a batch do not influence each other"),
    ("multiples", "a residual of n·b rows is run as n batches"),
    ("padding", "padding does not change valid positions"),
    (
        "attention",
        "a causal model does not look ahead, a bidirectional one does",
    ),
    (
        "fused-loss",
        "unembed_ce equals the cross-entropy of unembed",
    ),
    (
        "memory",
        "blocks write nothing but the residual, inputs stay as they were",
    ),
    (
        "shapes",
        "wrong shapes, element types, tokens and ranges are refused",
    ),
];

pub(super) fn run(test: &str, subject: &Subject<'_>) -> Checked {
    let mut model = subject.registry.model(subject.name, &json!({}))?;
    if test == "no-checkpoint" {
        return no_checkpoint(&mut model);
    }
    let Some(dir) = subject.model_dir else {
        return Err(Ended::skipped("no checkpoint is given (--model-dir)"));
    };
    let info = match model.inspect(dir) {
        Ok(info) => info,
        Err(failure) => {
            no_panic("inspect", Err::<(), _>(failure.clone()))?;
            return Err(Ended::skipped(format!("it does not read it: {failure}")));
        }
    };
    let loaded = model.load(dir, options())?;
    if test == "inspect" {
        return ensure(info == loaded, || {
            format!("inspect says {info:?}, load {loaded:?}")
        });
    }
    model_laws::run(test, &mut model, &loaded)
}

fn options() -> LoadOptions {
    LoadOptions {
        device: Device::Cpu,
        kind: Kind::Float,
        allow_nan: false,
    }
}

fn no_checkpoint(model: &mut Model) -> Checked {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    ensure_refused(
        "a folder that is not there",
        model.inspect(&dir.join("not-there")),
    )?;
    ensure_refused("an empty folder", model.inspect(dir))?;
    for config in [
        "",
        "{",
        "[]",
        r#"{"model_type": "no such family"}"#,
        r#"{"model_type": "x", "hidden_size": -1}"#,
    ] {
        fs::write(dir.join("config.json"), config)?;
        let what = format!("the config.json {config:?}");
        ensure_refused(&what, model.inspect(dir))?;
        ensure_refused(&what, model.load(dir, options()))?;
    }
    Ok(())
}
