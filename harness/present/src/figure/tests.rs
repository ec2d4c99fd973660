//! What every figure keeps to, whatever it shows.

use harness_core::stats::Estimate;

use super::{
    test_support::{BLUE, drawn, points},
    *,
};

fn estimate(value: Option<f64>, std_err: f64) -> Estimate {
    Estimate {
        value,
        std_err: Some(std_err),
        n: None,
    }
}

fn line(label: &str, colour: usize, values: &[Option<f64>]) -> Series {
    Series {
        label: label.into(),
        group: String::new(),
        points: values
            .iter()
            .enumerate()
            .map(|(i, y)| Point::with_error(i as f64, estimate(*y, 0.25)))
            .collect(),
        dash: Dash::Solid,
        colour,
    }
}

fn figure(series: Vec<Series>) -> Figure {
    Figure {
        panels: vec![Panel {
            marks: Marks::Lines(series),
            ..Panel::default()
        }],
        columns: 1,
        ..Figure::default()
    }
}

#[test]
fn each_line_is_drawn_with_its_markers_band_and_legend_entry() {
    let values = [Some(1.0), Some(2.0), Some(1.5)];
    let svg = render_svg(&figure(vec![line("a", 0, &values), line("b", 1, &values)])).unwrap();
    for colour in [BLUE, "#D55E00"] {
        let lines = drawn(&svg, "polyline", colour);
        assert_eq!(lines.iter().map(|l| points(l)).collect::<Vec<_>>(), [2, 3]); // the legend's sample, the line
        let bands: Vec<_> = drawn(&svg, "polygon", colour)
            .into_iter()
            .filter(|p| p.contains("opacity=\"0.18\""))
            .collect();
        assert_eq!(bands.iter().map(|b| points(b)).collect::<Vec<_>>(), [6]);
    }
    assert_eq!(drawn(&svg, "circle", BLUE).len(), 4); // one of them in the legend
    assert_eq!(svg.lines().filter(|l| *l == "a" || *l == "b").count(), 2);
}

#[test]
fn a_missing_value_leaves_a_gap_and_is_never_zero() {
    let values = [
        Some(5.0),
        Some(6.0),
        None,
        Some(7.0),
        Some(8.0),
        None,
        Some(9.0),
    ];
    let mut gaps = figure(vec![line("", 0, &values)]);
    gaps.panels[0].x.ticks = vec![(3.0, "three".into())];
    let with_gaps = render_svg(&gaps).unwrap();
    let lines = drawn(&with_gaps, "polyline", BLUE);
    // Two runs, and the whisker of the point that stands alone.
    assert_eq!(
        lines.iter().map(|l| points(l)).collect::<Vec<_>>(),
        [2, 2, 2]
    );
    assert_eq!(drawn(&with_gaps, "circle", BLUE).len(), 5);
    assert!(
        !with_gaps.lines().any(|l| l == "0"),
        "0 is not in the range"
    );
    let nothing = render_svg(&figure(vec![line("", 0, &[None, None])])).unwrap();
    assert!(drawn(&nothing, "circle", BLUE).is_empty());
    assert!(nothing.lines().any(|l| l == "no values"));
    let infinite = Point::with_error(1.0, estimate(Some(f64::INFINITY), 1.0));
    assert_eq!((infinite.y, infinite.lo, infinite.hi), (None, None, None));
    let bare = Point::with_error(1.0, estimate(Some(2.0), f64::NAN));
    assert_eq!((bare.y, bare.lo), (Some(2.0), None));
}

#[test]
fn every_text_is_escaped() {
    let mut figure = figure(vec![line("<b> & \"c\"\u{0}", 0, &[Some(1.0), Some(2.0)])]);
    figure.title = "a < b & c".into();
    figure.caption = "</svg><script>".into();
    figure.row_titles = vec!["r & s".into()];
    figure.panels[0].title = "p<q".into();
    figure.panels[0].x.label = "x & y".into();
    figure.panels[0].y.label = "<y>".into();
    figure.panels[0].note = Some("n < 1".into());
    let svg = render_svg(&figure).unwrap();
    assert!(!svg.contains("<script>") && !svg.contains('\u{0}'));
    for text in [
        "<title>a &lt; b &amp; c</title>",
        "<desc>&lt;/svg&gt;&lt;script&gt;</desc>",
        "&lt;b&gt; &amp; &quot;c&quot; ",
        "r &amp; s",
        "p&lt;q",
        "x &amp; y",
        "&lt;y&gt;",
        "n &lt; 1",
    ] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn what_has_no_place_is_refused() {
    let mut figure = figure(vec![line("a", 0, &[Some(1.0)])]);
    figure.panels[0].x.scale = Scale::Log;
    let message = render_svg(&figure).unwrap_err().to_string();
    assert!(
        message.contains("line \"a\": 0 has no place on a logarithmic axis"),
        "{message}"
    );
    figure.panels[0].x.scale = Scale::Linear;
    let Marks::Lines(series) = &mut figure.panels[0].marks else {
        panic!()
    };
    series[0].points[0].hi = Some(f64::NAN);
    assert!(render_svg(&figure).is_err());
    let empty = render_svg(&Figure::default()).unwrap_err().to_string();
    assert!(empty.contains("no panels"), "{empty}");
}

#[test]
fn ticks_are_round_and_labels_keep_their_distance() {
    let ruler = |values: &[f64], axis: &Axis| scale::Ruler::new(axis, values.iter().copied(), 4);
    let labels = |ruler: &scale::Ruler| -> Vec<String> {
        ruler.ticks.iter().map(|(_, label)| label.clone()).collect()
    };
    let linear = Axis::default();
    assert_eq!(labels(&ruler(&[-0.4, 0.1], &linear)), ["−0.4", "−0.2", "0"]);
    assert_eq!(labels(&ruler(&[0.0, 1.0], &linear)), ["0", "0.5", "1.0"]);
    assert_eq!(
        labels(&ruler(&[99_990.0, 400_000.0], &linear))
            .last()
            .unwrap(),
        "4e5"
    );
    let one = ruler(&[3.0], &linear);
    assert!(
        (one.place(3.0) - 0.5).abs() < 1e-12,
        "a single value is in the middle"
    );
    let log = Axis {
        scale: Scale::Log,
        ..Axis::default()
    };
    let decades = ruler(&[1.0, 100.0], &log);
    assert!((decades.place(10.0) - 0.5).abs() < 1e-12);
    assert_eq!(labels(&decades), ["1", "2", "5", "10", "20", "50", "100"]);
}

#[test]
fn axes_of_cells_and_bars_are_exact() {
    let labels = |ruler: &scale::Ruler| -> Vec<String> {
        ruler.ticks.iter().map(|(_, label)| label.clone()).collect()
    };
    let steps = |n: usize| scale::Ruler::places(&Axis::default(), n, 5);
    assert_eq!(labels(&steps(40)), ["0", "10", "20", "30", "39"]);
    assert_eq!(labels(&steps(42)), ["0", "10", "20", "30", "41"]);
    assert_eq!(labels(&steps(3)), ["0", "1", "2"]);
    assert_eq!(labels(&steps(1)), ["0"]);
    assert!(
        (steps(4).place(0.0) - 0.125).abs() < 1e-12,
        "the middle of the first of four"
    );
    let bars = |values: &[f64]| scale::Ruler::from_zero(values.iter().copied(), 4);
    for (value, top) in [
        (62.0, "80"),
        (100.0, "100"),
        (8.0, "8"),
        (3.7, "4"),
        (0.4, "0.4"),
    ] {
        let ruler = bars(&[1.0 / 32.0, value]);
        assert_eq!(ruler.ticks.last().unwrap().1, top, "{value}");
        assert_eq!((ruler.place(0.0), &*ruler.ticks[0].1), (0.0, "0"));
        assert!(
            ruler.place(value) < 0.9,
            "there is room for a number above {value}"
        );
    }
    assert_eq!(labels(&bars(&[0.0])).last().unwrap(), "1.00");
    let one = scale::Ruler::exact(0.5, 0.5, 4);
    assert_eq!(labels(&one), ["0.500"]);
    assert!((one.place(0.5) - 0.5).abs() < 1e-9);
}
