use harness_sdk::View;

use super::*;

const BEFORE: [f64; 5] = [10.0, 0.0, 35.5, 20.0, 5.0];
const AFTER: [f64; 5] = [60.0, 10.0, 30.0, 80.0, 45.0];
const PPL_BEFORE: [f64; 5] = [31.0, 55.5, 12.25, 80.0, 40.0];
const PPL_AFTER: [f64; 5] = [25.0, 70.5, 12.25, 60.0, 44.0];

fn new(name: &str) -> Steering {
    Steering::new(name, &json!({})).unwrap()
}

fn feed(metric: &mut Steering, columns: [&[f64]; 4]) -> Result<()> {
    let names = ["score_before", "score_after", "ppl_before", "ppl_after"];
    let shapes: Vec<[i64; 1]> = columns.iter().map(|c| [c.len() as i64]).collect();
    let named = names
        .iter()
        .zip(columns)
        .zip(&shapes)
        .map(|((&name, column), shape)| (name, View::of_f64(column, shape).unwrap()))
        .collect();
    metric.update(&Inputs::new(named))
}

fn value(name: &str, columns: [&[f64]; 4]) -> MetricValue {
    let mut metric = new(name);
    feed(&mut metric, columns).unwrap();
    metric.finish().unwrap().remove(0)
}

const ALL: [&[f64]; 4] = [&BEFORE, &AFTER, &PPL_BEFORE, &PPL_AFTER];

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

#[test]
fn values_are_those_of_the_equations() {
    let c = value("concept_improvement", ALL);
    let p = value("perplexity_reduction", ALL);
    let s = value("steering_score", ALL);
    let (want_c, before) = ((mean(&AFTER) - mean(&BEFORE)) / 100.0, mean(&PPL_BEFORE));
    let want_p = (before - mean(&PPL_AFTER)) / before;
    assert!((c.value.unwrap() - want_c).abs() < 1e-15);
    assert!((p.value.unwrap() - want_p).abs() < 1e-15);
    assert_eq!(
        s.value.unwrap(),
        c.value.unwrap() + 0.3 * p.value.unwrap(),
        "S is exactly C + 0.3 P"
    );
    assert_eq!((c.n, p.n, s.n), (5, 5, 5));
}

#[test]
fn standard_errors_agree_with_the_jackknife() {
    // n = 5 from data with large spread: the two estimates agree to their second order only, so the
    // data are pulled towards their mean by 1/100 first.
    let near = |x: &[f64; 5]| x.map(|v| mean(x) + (v - mean(x)) / 100.0);
    let data = [&BEFORE, &AFTER, &PPL_BEFORE, &PPL_AFTER].map(near);
    for name in [
        "concept_improvement",
        "perplexity_reduction",
        "steering_score",
    ] {
        let got = value(name, [&data[0], &data[1], &data[2], &data[3]]);
        let left_out: Vec<f64> = (0..5)
            .map(|out| {
                let keep = |x: &[f64; 5]| -> Vec<f64> {
                    (0..5).filter(|&i| i != out).map(|i| x[i]).collect()
                };
                let kept: Vec<Vec<f64>> = data.iter().map(keep).collect();
                let value = value(name, [&kept[0], &kept[1], &kept[2], &kept[3]]);
                value.value.unwrap()
            })
            .collect();
        let centre = mean(&left_out);
        let jackknife = left_out
            .iter()
            .map(|v| (v - centre) * (v - centre))
            .sum::<f64>()
            * 4.0
            / 5.0;
        let (got, want) = (got.std_err.unwrap(), jackknife.sqrt());
        assert!((got / want - 1.0).abs() < 0.01, "{name}: {got} {want}");
    }
}

#[test]
fn pieces_and_merges_equal_one_update() {
    for name in [
        "concept_improvement",
        "perplexity_reduction",
        "steering_score",
    ] {
        let whole = value(name, ALL);
        for cut in 0..=5 {
            let part = |range: std::ops::Range<usize>| ALL.map(|column| &column[range.clone()]);
            let mut pieces = new(name);
            feed(&mut pieces, part(0..cut)).unwrap();
            feed(&mut pieces, part(cut..5)).unwrap();
            assert_eq!(pieces.finish().unwrap()[0], whole, "bit-identical");

            let (mut a, mut b) = (new(name), new(name));
            feed(&mut a, part(0..cut)).unwrap();
            feed(&mut b, part(cut..5)).unwrap();
            let (state_a, state_b) = (a.save().unwrap(), b.save().unwrap());
            a.merge(&state_b).unwrap();
            b.merge(&state_a).unwrap();
            for merged in [a, b] {
                let merged = merged.finish().unwrap().remove(0);
                let near = |x: Option<f64>, y: Option<f64>| {
                    let (x, y) = (x.unwrap(), y.unwrap());
                    (x - y).abs() <= 1e-12 * y.abs()
                };
                assert!(near(merged.value, whole.value));
                assert!(near(merged.std_err, whole.std_err));
                assert_eq!(merged.n, whole.n);
            }
        }
    }
}

#[test]
fn no_steering_is_exactly_zero() {
    let columns: [&[f64]; 4] = [&BEFORE, &BEFORE, &PPL_BEFORE, &PPL_BEFORE];
    for name in [
        "concept_improvement",
        "perplexity_reduction",
        "steering_score",
    ] {
        let got = value(name, columns);
        assert_eq!((got.value, got.std_err), (Some(0.0), Some(0.0)), "{name}");
    }
}

#[test]
fn missing_scores_are_left_out_and_counted() {
    let mut after = AFTER;
    after[1] = f64::NAN;
    let mut ppl = PPL_AFTER;
    ppl[3] = f64::INFINITY;
    let columns: [&[f64]; 4] = [&BEFORE, &after, &PPL_BEFORE, &ppl];
    let c = value("concept_improvement", columns);
    let gains: Vec<f64> = [0, 2, 3, 4].map(|i| AFTER[i] - BEFORE[i]).to_vec();
    assert!((c.value.unwrap() - mean(&gains) / 100.0).abs() < 1e-15);
    assert_eq!(c.n, 4);
    let p = value("perplexity_reduction", columns);
    assert_eq!(p.n, 4);
    let s = value("steering_score", columns);
    assert_eq!(s.value.unwrap(), c.value.unwrap() + 0.3 * p.value.unwrap());
    assert_eq!(s.n, 4);
}

#[test]
fn nothing_is_missing_and_one_prefix_has_no_standard_error() {
    let nan = [f64::NAN; 2];
    for name in [
        "concept_improvement",
        "perplexity_reduction",
        "steering_score",
    ] {
        let empty = new(name).finish().unwrap().remove(0);
        assert_eq!((empty.value, empty.std_err, empty.n), (None, None, 0));
        let missing = value(name, [&nan, &nan, &nan, &nan]);
        assert_eq!((missing.value, missing.n), (None, 0));
        let one = value(name, ALL.map(|column| &column[..1]));
        assert!(one.value.is_some() && one.std_err.is_none());
    }
}

#[test]
fn a_refused_chunk_changes_nothing() {
    for (at, wrong) in [(0, 100.5), (1, -1.0), (2, 0.0), (3, -3.0)] {
        let mut metric = new("steering_score");
        feed(&mut metric, ALL).unwrap();
        let before = metric.finish().unwrap();
        let mut columns: Vec<Vec<f64>> = ALL.iter().map(|column| column.to_vec()).collect();
        columns[at][4] = wrong;
        let refused = feed(
            &mut metric,
            [&columns[0], &columns[1], &columns[2], &columns[3]],
        );
        assert!(refused.unwrap_err().message().contains("at 4"));
        assert_eq!(metric.finish().unwrap(), before);
    }
    let mut metric = new("concept_improvement");
    let uneven = feed(&mut metric, [&BEFORE, &AFTER[..2], &PPL_BEFORE, &PPL_AFTER]);
    assert!(uneven.is_err());
    assert!(metric.update(&Inputs::default()).is_err());
}

#[test]
fn lambda_is_a_setting_of_the_score_alone() {
    let mut metric = Steering::new("steering_score", &json!({"lambda": 0.0})).unwrap();
    feed(&mut metric, ALL).unwrap();
    let got = metric.finish().unwrap().remove(0);
    assert_eq!(got.value, value("concept_improvement", ALL).value);
    assert!(Steering::new("concept_improvement", &json!({"lambda": 0.3})).is_err());
    assert!(Steering::new("steering_score", &json!({"lamda": 0.3})).is_err());
    assert!(Steering::new("steering_score", &json!([0.3])).is_err());
    let other = new("concept_improvement").save().unwrap();
    assert!(metric.merge(&other).is_err());
}
