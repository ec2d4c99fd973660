//! Tests that every component has.

use std::fs;

use harness_engine::plugin::{ComponentError, ErrorCode};
use serde_json::{Value, json};

use super::{
    subject::{Named, Subject},
    verdict::{Checked, Ended, ensure, unknown},
};

pub(super) const TESTS: &[Named] = &[
    ("construct", "it is made from an empty configuration"),
    ("config", "a wrong configuration is an error that names it"),
    (
        "lifecycle",
        "making and dropping it a thousand times is safe",
    ),
];

/// Growth of memory over the life cycles that is taken for a leak.
const LEAK_BYTES: usize = 32 << 20;

pub(super) fn run(test: &str, kind: &str, subject: &Subject<'_>) -> Checked {
    match test {
        "construct" => Ok(construct(kind, subject, &json!({}))?),
        "config" => config(kind, subject),
        "lifecycle" => lifecycle(kind, subject),
        other => unknown(other),
    }
}

/// Makes a component and drops it.
fn construct(kind: &str, subject: &Subject<'_>, config: &Value) -> Result<(), Box<ComponentError>> {
    let (registry, name) = (&subject.registry, subject.name);
    let made = match kind {
        "model" => registry.model(name, config).map(drop),
        "sae" => registry.sae(name, config).map(drop),
        "remasker" => registry.remasker(name, config).map(drop),
        "steering" => registry.steering(name, config).map(drop),
        "metric" => registry.metric(name, config).map(drop),
        _ => registry.judge(name, config).map(drop),
    };
    made.map_err(Box::new)
}

fn config(kind: &str, subject: &Subject<'_>) -> Checked {
    const KEY: &str = "no_such_setting";
    let mut accepted = Vec::new();
    for (what, wrong) in [("a list", json!([1])), ("an unknown key", json!({KEY: 1}))] {
        match construct(kind, subject, &wrong).map_err(|error| *error) {
            Ok(()) => accepted.push(what),
            Err(ComponentError::Failed(failure)) => {
                ensure(failure.code == ErrorCode::CONFIG, || {
                    format!("{what} as configuration is not a CONFIG error but: {failure}")
                })?;
                if wrong.is_object() {
                    ensure(failure.message.contains(KEY), || {
                        format!("the error does not name the key `{KEY}`: {failure}")
                    })?;
                }
            }
            Err(error) => return Err(Ended::failed(error.to_string())),
        }
    }
    if accepted.is_empty() {
        Ok(())
    } else {
        Err(Ended::warning(format!(
            "{} as configuration is accepted: a misspelt setting would pass in silence",
            accepted.join(" and ")
        )))
    }
}

fn lifecycle(kind: &str, subject: &Subject<'_>) -> Checked {
    let config = json!({});
    // The first ones may fill caches.
    for _ in 0..10 {
        construct(kind, subject, &config)?;
    }
    let before = resident_bytes();
    for _ in 0..1000 {
        construct(kind, subject, &config)?;
    }
    let grown = resident_bytes().saturating_sub(before);
    if grown > LEAK_BYTES {
        return Err(Ended::warning(format!(
            "memory grows by {} KiB over 1000 life cycles",
            grown >> 10
        )));
    }
    Ok(())
}

/// Memory of this process; 0 where it cannot be read.
fn resident_bytes() -> usize {
    const PAGE: usize = 4096;
    fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<usize>().ok())
        .map_or(0, |pages| pages * PAGE)
}
