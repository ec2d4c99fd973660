//! The laws of metrics. The host's handle itself refuses values that are not finite and names other
//! than specified.

use harness_engine::plugin::{ErrorCode, Metric, MetricValue};
use serde_json::json;

use super::{
    data::stream,
    subject::{Named, Subject},
    verdict::{Checked, Ended, ensure, ensure_refused, no_panic, unknown},
};

pub(super) const TESTS: &[Named] = &[
    ("spec", "it says what it computes"),
    ("empty", "without data a value is missing, not a number"),
    ("pieces", "an update in pieces equals one update"),
    (
        "merge",
        "merging is commutative, associative and equal to one update",
    ),
    (
        "save",
        "a state put into a new instance gives the same values",
    ),
    ("inputs", "inputs come back as they were"),
    ("missing", "a missing input is refused"),
    ("odd", "odd inputs give an error or a result, no panic"),
];

/// Relative difference that summing in another order may make.
const RTOL: f64 = 1e-9;
/// Samples of the inputs.
const N: usize = 24;

pub(super) fn run(test: &str, subject: &Subject<'_>) -> Checked {
    match test {
        "spec" => spec(subject),
        "empty" => empty(subject),
        "pieces" => pieces(subject),
        "merge" => merge(subject),
        "save" => save(subject),
        "inputs" => inputs(subject),
        "missing" => missing(subject),
        "odd" => odd(subject),
        other => unknown(other),
    }
}

/// Named columns of equal length.
type Columns = Vec<(String, Vec<f64>)>;

fn made(subject: &Subject<'_>) -> Result<Metric, Ended> {
    Ok(subject.registry.metric(subject.name, &json!({}))?)
}

/// Inputs for everything the metric requires, in the ranges of their names.
fn columns(subject: &Subject<'_>) -> Result<Columns, Ended> {
    let specs = made(subject)?.spec();
    let mut names: Vec<String> = specs.into_iter().flat_map(|spec| spec.requires).collect();
    names.sort();
    names.dedup();
    Ok(names
        .into_iter()
        .map(|name| {
            let draws = stream(&format!("metric/{name}"));
            let values = (0..N as u64).map(|i| ranged(&name, draws.uniform_at(i)));
            (name.clone(), values.collect())
        })
        .collect())
}

/// A draw in [0, 1) as a value that the name allows.
fn ranged(name: &str, draw: f64) -> f64 {
    if name.starts_with("score") {
        100.0 * draw
    } else if name.starts_with("ppl") || name.starts_with("perplexity") {
        1.0 + 99.0 * draw
    } else {
        0.05 + draw
    }
}

fn feed(metric: &mut Metric, columns: &Columns, range: std::ops::Range<usize>) -> Checked {
    let inputs: Vec<(&str, &[f64])> = columns
        .iter()
        .map(|(name, values)| (name.as_str(), &values[range.clone()]))
        .collect();
    match metric.update(&inputs) {
        // It may want values that nobody could guess from a name.
        Err(failure) if failure.code == ErrorCode::INVALID_ARGUMENT => Err(Ended::skipped(
            format!("it refuses the inputs of this test: {failure}"),
        )),
        other => Ok(other?),
    }
}

fn near(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= RTOL * a.abs().max(b.abs()).max(1e-9),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn ensure_near(what: &str, got: &[MetricValue], want: &[MetricValue]) -> Checked {
    for (got, want) in got.iter().zip(want) {
        let same = near(got.value, want.value) && near(got.std_err, want.std_err);
        ensure(same && got.n == want.n, || {
            format!("{what}: {got:?}, in one update {want:?}")
        })?;
    }
    Ok(())
}

fn spec(subject: &Subject<'_>) -> Checked {
    let specs = made(subject)?.spec();
    ensure(!specs.is_empty(), || {
        "its specification is empty (or made by a panic)".to_owned()
    })?;
    for (i, spec) in specs.iter().enumerate() {
        ensure(!spec.name.is_empty(), || "a value has no name".to_owned())?;
        let twice = specs[..i].iter().any(|other| other.name == spec.name);
        ensure(!twice, || format!("two values are named `{}`", spec.name))?;
        ensure((-1..=1).contains(&spec.direction), || {
            format!("`{}` has the direction {}", spec.name, spec.direction)
        })?;
        if spec.requires.is_empty() {
            return Err(Ended::warning(format!("`{}` needs no input", spec.name)));
        }
    }
    Ok(())
}

fn empty(subject: &Subject<'_>) -> Checked {
    for value in made(subject)?.finish()? {
        ensure(value.n == 0, || {
            format!("`{}` rests on {} samples of none", value.name, value.n)
        })?;
        if let Some(number) = value.value {
            return Err(Ended::warning(format!(
                "`{}` of nothing is {number}, not missing",
                value.name
            )));
        }
    }
    Ok(())
}

fn pieces(subject: &Subject<'_>) -> Checked {
    let columns = columns(subject)?;
    let mut whole = made(subject)?;
    feed(&mut whole, &columns, 0..N)?;
    let whole = whole.finish()?;
    for cuts in [vec![0, 1, N], vec![0, 7, 7, 19, N], (0..=N).collect()] {
        let mut parts = made(subject)?;
        for pair in cuts.windows(2) {
            feed(&mut parts, &columns, pair[0]..pair[1])?;
        }
        ensure_near(
            &format!("in {} pieces", cuts.len() - 1),
            &parts.finish()?,
            &whole,
        )?;
    }
    Ok(())
}

fn merge(subject: &Subject<'_>) -> Checked {
    let columns = columns(subject)?;
    let mut whole = made(subject)?;
    feed(&mut whole, &columns, 0..N)?;
    let whole = whole.finish()?;
    let part = |range| -> Result<Metric, Ended> {
        let mut metric = made(subject)?;
        feed(&mut metric, &columns, range)?;
        Ok(metric)
    };
    let ranges = [0..5, 5..16, 16..N];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut merged = part(ranges[order[0]].clone())?;
        for &next in &order[1..] {
            merged.merge(&part(ranges[next].clone())?.save()?)?;
        }
        ensure_near(&format!("merged as {order:?}"), &merged.finish()?, &whole)?;
    }
    // a + (b + c) beside the (a + b) + c of above.
    let mut inner = part(ranges[1].clone())?;
    inner.merge(&part(ranges[2].clone())?.save()?)?;
    let mut outer = part(ranges[0].clone())?;
    outer.merge(&inner.save()?)?;
    ensure_near("merged from the right", &outer.finish()?, &whole)?;
    outer.merge(&made(subject)?.save()?)?;
    ensure_near("merged with nothing", &outer.finish()?, &whole)
}

fn save(subject: &Subject<'_>) -> Checked {
    let columns = columns(subject)?;
    let mut metric = made(subject)?;
    feed(&mut metric, &columns, 0..N)?;
    let state = metric.save()?;
    let mut other = made(subject)?;
    other.merge(&state)?;
    ensure_near("from its state", &other.finish()?, &metric.finish()?)?;
    ensure_refused("a state that is no state", other.merge(b"{"))
}

fn inputs(subject: &Subject<'_>) -> Checked {
    let columns = columns(subject)?;
    let before = columns.clone();
    feed(&mut made(subject)?, &columns, 0..N)?;
    ensure(columns == before, || "an input is changed".to_owned())
}

fn missing(subject: &Subject<'_>) -> Checked {
    let columns = columns(subject)?;
    if columns.is_empty() {
        return Err(Ended::skipped("it needs no input"));
    }
    for out in 0..columns.len() {
        let kept: Vec<(&str, &[f64])> = columns
            .iter()
            .enumerate()
            .filter(|&(i, _)| i != out)
            .map(|(_, (name, values))| (name.as_str(), values.as_slice()))
            .collect();
        let what = format!("an update without `{}`", columns[out].0);
        ensure_refused(&what, made(subject)?.update(&kept))?;
    }
    Ok(())
}

fn odd(subject: &Subject<'_>) -> Checked {
    let columns = columns(subject)?;
    let all = |values: &[f64]| -> Result<(), Ended> {
        let mut metric = made(subject)?;
        let inputs: Vec<(&str, &[f64])> = columns
            .iter()
            .map(|(name, _)| (name.as_str(), values))
            .collect();
        let what = format!("inputs {values:?}");
        no_panic(&what, metric.update(&inputs))?;
        // NaN and infinities are missing values: they must not come out as a value.
        no_panic(&what, metric.finish())
    };
    for values in [
        &[][..],
        &[f64::NAN],
        &[f64::INFINITY, 1.0],
        &[-1.0],
        &[1.0, f64::NAN, 2.0],
    ] {
        all(values)?;
    }
    if columns.len() > 1 {
        let uneven: Vec<(&str, &[f64])> = columns
            .iter()
            .enumerate()
            .map(|(i, (name, values))| (name.as_str(), &values[..N - i]))
            .collect();
        let result = made(subject)?.update(&uneven);
        if result.is_ok() {
            return Err(Ended::warning("inputs of different lengths are accepted"));
        }
        no_panic("inputs of different lengths", result)?;
    }
    Ok(())
}
