//! Bars of accuracy.

use harness_core::record::{AccuracyRow, Status};

use super::*;
use harness_present::figure::test_support::Layout;

fn row(order: &str, extraction: &str, correct: u64) -> AccuracyRow {
    let share = correct as f64 / 100.0;
    AccuracyRow {
        model: "m".into(),
        order: order.into(),
        preset: "chat@1".into(),
        extraction: extraction.into(),
        n: Some(100),
        correct: Some(correct),
        accuracy: Some(share),
        lo: Some((share - 0.05).max(-1e-17)),
        hi: Some(share + 0.05),
        n_no_answer: Some(0),
        n_gold_unread: Some(0),
        mean_steps: Some(40.0),
        status: Status::Ok,
    }
}

fn both() -> Vec<AccuracyRow> {
    let orders = [("origin", 0), ("entropy", 59), ("sae-stability", 61)];
    let of = |(order, n)| [row(order, "strict", n), row(order, "flexible", n + 3)];
    orders.into_iter().flat_map(of).collect()
}

fn groups(figure: &Figure, panel: usize) -> &[BarGroup] {
    match &figure.panels[panel].marks {
        Marks::Bars(groups) => groups,
        other => panic!("{other:?}"),
    }
}

/// Corners of a polygon, drawing units.
fn corners(element: &str) -> Vec<(f64, f64)> {
    let at = element.find(" points=\"").unwrap() + 9;
    let pairs = element[at..].split('"').next().unwrap().split_whitespace();
    pairs
        .map(|pair| {
            let (x, y) = pair.split_once(',').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        })
        .collect()
}

#[test]
fn an_order_is_a_group_and_a_way_of_reading_a_bar() {
    let figure = accuracy_bars(&both(), "Accuracy", "The models are tiny.");
    assert_eq!(figure.panels.len(), 1);
    let groups = groups(&figure, 0);
    let names: Vec<_> = groups.iter().map(|g| (&*g.name, g.colour)).collect();
    assert_eq!(names, [("origin", 0), ("entropy", 1), ("sae-stability", 2)]);
    for group in groups {
        let fills: Vec<Fill> = group.bars.iter().map(|bar| bar.fill).collect();
        assert_eq!(fills, [Fill::Full, Fill::Pale]);
    }
    assert_eq!(
        (groups[0].bars[0].value, groups[0].bars[0].lo),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(
        figure.caption,
        "Right answers for each decoding order. m, questions put as chat@1. Whiskers: 95% Wilson intervals. \
         n = 100 questions for each bar. The models are tiny."
    );
    let svg = render_svg(&figure).unwrap();
    for text in ["0.0", "3.0", "59.0", "62.0", "61.0", "64.0", "0", "80"] {
        assert_eq!(svg.lines().filter(|l| *l == text).count(), 1, "{text}");
    }
    for text in [
        "answers read strictly",
        "answers read flexibly",
        "sae-stability",
    ] {
        assert_eq!(svg.lines().filter(|l| *l == text).count(), 1, "{text}");
    }
    assert_eq!(svg, render_svg(&figure).unwrap());
}

#[test]
fn bars_stand_on_zero_and_are_as_high_as_their_values() {
    let figure = accuracy_bars(&both(), "", "");
    let svg = render_svg(&figure).unwrap();
    let height = |colour: &str, opacity: &str| {
        let bars = drawn(&svg, "polygon", colour);
        let mut bars = bars.iter().filter(|bar| bar.contains(opacity));
        let corners = corners(bars.next().unwrap());
        assert!(bars.next().is_none() && corners.len() == 4);
        let bottom = 4.0 * Layout::of(&figure).panels[0].plot.bottom;
        assert!(
            (corners[0].1 - bottom).abs() <= 0.5,
            "the foot is on the axis"
        );
        corners[0].1 - corners[1].1
    };
    let (strict, flexible) = ("opacity=\"1\"", "opacity=\"0.3\"");
    // Rounded to quarters of a pixel.
    let unit = height("#009E73", strict) / 61.0;
    for (colour, opacity, value) in [
        (BLUE, strict, 0.0),
        (BLUE, flexible, 3.0),
        ("#D55E00", strict, 59.0),
        ("#D55E00", flexible, 62.0),
        ("#009E73", flexible, 64.0),
    ] {
        assert!(
            (height(colour, opacity) - value * unit).abs() < 1.5,
            "{value}"
        );
    }
}

#[test]
fn a_missing_bar_is_named_and_a_partial_one_marked() {
    let mut rows = both();
    rows[1].accuracy = None;
    rows[1].status = Status::Failed;
    rows[3].status = Status::Partial;
    rows[3].n = Some(90);
    let figure = accuracy_bars(&rows, "", "");
    assert!(figure.caption.contains("n = 90 to 100 questions"));
    assert!(figure.caption.contains("*: of fewer questions"));
    let svg = render_svg(&figure).unwrap();
    let is_there = |text: &str| svg.lines().any(|line| line == text);
    assert!(is_there("no value") && is_there("62.0*") && !is_there("3.0"));
    assert!(
        !drawn(&svg, "polygon", BLUE)
            .iter()
            .any(|bar| bar.contains("0.3"))
    );
    let negative = |panel: &mut Panel| {
        let Marks::Bars(groups) = &mut panel.marks else {
            panic!()
        };
        groups[0].bars[0].value = Some(-1.0);
    };
    let mut figure = figure;
    negative(&mut figure.panels[0]);
    let message = render_svg(&figure).unwrap_err().to_string();
    assert_eq!(
        message,
        "panel \"\", bar \"answers read strictly\" of \"origin\": -1 has no place on a zero-based axis"
    );
}

#[test]
fn one_way_of_reading_needs_no_legend_and_several_models_have_panels() {
    let mut rows: Vec<AccuracyRow> = both()
        .into_iter()
        .filter(|row| row.extraction == "strict")
        .collect();
    let one = accuracy_bars(&rows, "", "");
    assert!(one.caption.contains("Answers read strictly."));
    assert!(!render_svg(&one).unwrap().contains("\nanswers read"));
    let mut other: Vec<AccuracyRow> = rows.iter().rev().cloned().collect();
    for row in &mut other {
        row.model = "other".into();
    }
    other[0].hi = Some(0.99);
    rows.extend(other);
    rows.push(AccuracyRow {
        preset: "few-shot@1".into(),
        ..row("entropy", "strict", 5)
    });
    let figure = accuracy_bars(&rows, "", "");
    let titles: Vec<&str> = figure.panels.iter().map(|p| &*p.title).collect();
    assert_eq!(titles, ["m, chat@1", "m, few-shot@1", "other, chat@1"]);
    let found = |panel| -> Vec<(&str, usize)> {
        let groups = groups(&figure, panel).iter();
        groups.map(|g| (&*g.name, g.colour)).collect()
    };
    assert_eq!(found(1), [("entropy", 1)]);
    assert_eq!(found(2), found(0), "orders stand where they stood first");
    let layout = Layout::of(&figure);
    let places: Vec<f64> = layout.panels.iter().map(|p| p.y.place(50.0)).collect();
    assert!(
        places.iter().all(|place| *place == places[0]),
        "one y range"
    );
}
