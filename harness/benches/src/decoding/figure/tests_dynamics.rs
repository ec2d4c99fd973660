//! Heat maps and curves of decoding orders.

use harness_core::{dynamics::Metric, record::Status, stats::Estimate};

use super::*;
use harness_present::figure::{
    FigureError, HeatMap, Marks, render_svg,
    test_support::{drawn, points},
};
use harness_present::figure::{
    LEVELS,
    test_support::{Layout, SMALL, text_width},
};

fn row(order: &str, layer: Option<u32>, at: u32, value: Option<f64>) -> DynamicsRow {
    DynamicsRow {
        model: "m".into(),
        order: order.into(),
        sae_id: layer.map(|layer| format!("layer_{layer}")),
        layer,
        at: Some(at),
        progress: Some(f64::from(at) / 59.0),
        metric: Metric::JaccardPre,
        estimate: Estimate {
            value,
            std_err: Some(0.01),
            n: Some(10),
        },
        status: Status::Ok,
    }
}

/// Rows of every metric, layer and step by a formula; the first step has no value.
fn rows(orders: &[&str], layers: u32, steps: u32) -> Vec<DynamicsRow> {
    let mut rows = Vec::new();
    for (i, order) in orders.iter().enumerate() {
        for metric in Metric::ALL {
            for (layer, at) in (0..layers).flat_map(|l| (0..steps).map(move |at| (l, at))) {
                let value = 0.5 + 0.4 * f64::from(7 * at + 3 * layer + i as u32).sin();
                rows.push(DynamicsRow {
                    metric,
                    ..row(order, Some(layer), at, (at > 0).then_some(value))
                });
            }
        }
    }
    rows
}

fn heat(rows: &[DynamicsRow]) -> Figure {
    let mut figures = dynamics_heatmaps(rows, &DynamicsOptions::default());
    assert_eq!(figures.len(), 1);
    figures.remove(0).1
}

/// Colour, column, row from the top, and columns of a rectangle of cells.
type Cell<'a> = (&'a str, usize, usize, usize);

/// The rectangles of every heat map; the first is the colour bar.
fn cells(svg: &str) -> Vec<Vec<Cell<'_>>> {
    let groups = svg.split("<g transform=").skip(1);
    groups
        .map(|group| {
            let end = group.find("</g>").unwrap();
            let paths = group[..end]
                .lines()
                .filter(|line| line.starts_with("<path "));
            paths
                .flat_map(|path| {
                    let colour = &path[12..19];
                    let shapes = path[path.find(" d=\"M").unwrap() + 5..].split('M');
                    shapes.map(move |shape| {
                        let mut numbers = shape
                            .split(|c: char| !c.is_ascii_digit())
                            .filter_map(|number| number.parse().ok());
                        let mut next = || numbers.next().unwrap();
                        (colour, next(), next(), next())
                    })
                })
                .collect()
        })
        .collect()
}

fn colour_of<'a>(cells: &[Cell<'a>], column: usize, row: usize) -> Option<&'a str> {
    let mut here = cells
        .iter()
        .filter(|(_, from, r, n)| *r == row && (*from..from + n).contains(&column));
    let found = here.next().map(|(colour, ..)| *colour);
    assert!(here.next().is_none(), "two rectangles at {column}, {row}");
    found
}

fn has_text(svg: &str, text: &str) -> bool {
    svg.lines().any(|line| line == text)
}

#[test]
fn all_panels_have_one_scale_of_colours_and_missing_cells_none() {
    let values = |order: &str, layer: u32, values: [Option<f64>; 3]| {
        let of = |(at, value): (usize, &Option<f64>)| row(order, Some(layer), at as u32, *value);
        values.iter().enumerate().map(of).collect::<Vec<_>>()
    };
    let mut rows = values("a", 3, [None, Some(0.25), Some(0.5)]);
    rows.extend(values("a", 7, [None, Some(1.0), Some(0.75)]));
    rows.extend(values("b", 3, [None, Some(0.5), Some(f64::NAN)]));
    // Layer 7 of `b` has one row only.
    rows.push(row("b", Some(7), 1, Some(0.0)));
    let figure = heat(&rows);
    let svg = render_svg(&figure).unwrap();
    let drawn = cells(&svg);
    let [bar, a, b] = &drawn[..] else {
        panic!("a bar and two panels, not {}", drawn.len())
    };
    assert_eq!(bar.len(), LEVELS);
    assert_eq!((a.len(), b.len()), (4, 2), "a rectangle for each value");
    let (first, last) = (bar[0].0, bar[LEVELS - 1].0);
    // Layer 7 is on top.
    assert_eq!(colour_of(a, 1, 0), Some(last));
    assert_eq!(colour_of(b, 1, 0), Some(first));
    assert_eq!(colour_of(a, 2, 1), colour_of(b, 1, 1), "0.5 in both");
    assert_eq!(colour_of(a, 2, 1), Some(bar[LEVELS / 2].0));
    for (panel, column, row) in [(a, 0, 0), (a, 0, 1), (b, 2, 1), (b, 2, 0)] {
        assert_eq!(colour_of(panel, column, row), None);
    }
    // Two panels and the example beside the bar.
    assert_eq!(svg.matches("fill=\"url(#no-value)\"").count(), 3);
    assert!(has_text(&svg, "no value") && figure.caption.contains("Hatched: no value"));
    let ticks: Vec<&str> = figure.panels[0].y.ticks.iter().map(|t| &*t.1).collect();
    assert_eq!(ticks, ["3", "7"]);
    assert!(svg.contains("shape-rendering=\"crispEdges\""));
}

#[test]
fn equal_values_have_one_colour_and_neighbours_are_one_rectangle() {
    let rows: Vec<DynamicsRow> = (0..2)
        .flat_map(|layer| (0..9).map(move |at| row("a", Some(layer), at, Some(0.5))))
        .collect();
    let svg = render_svg(&heat(&rows)).unwrap();
    let drawn = cells(&svg);
    let colour = drawn[0][0].0;
    assert_eq!(drawn[0], [(colour, 0, 0, 1)], "the bar has one colour");
    assert_eq!(drawn[1], [(colour, 0, 0, 9), (colour, 0, 1, 9)]);
    assert!(has_text(&svg, "0.500") && !has_text(&svg, "no value"));
}

#[test]
fn a_bench_that_has_not_run_has_no_colours() {
    let rows = [
        row("a", Some(0), 1, None),
        DynamicsRow {
            at: None,
            ..row("b", Some(0), 0, None)
        },
    ];
    let svg = render_svg(&heat(&rows)).unwrap();
    assert!(cells(&svg).is_empty());
    assert_eq!(svg.lines().filter(|l| *l == "no values").count(), 2);
    assert!(!svg.contains("url(#no-value)"));
    assert!(
        dynamics_heatmaps(&[row("a", None, 0, Some(1.0))], &DynamicsOptions::default()).is_empty()
    );
    let none = dynamics_curves(&[], &DynamicsOptions::default());
    assert!(matches!(render_svg(&none), Err(FigureError::Empty { .. })));
}

#[test]
fn each_metric_is_a_figure_of_panels_for_each_order_and_model() {
    let orders = ["origin", "topk_margin", "entropy", "sae-stability", "x"];
    let mut all = rows(&orders, 2, 4);
    let other = all.clone().into_iter().map(|row| DynamicsRow {
        model: "other".into(),
        ..row
    });
    all.extend(other.collect::<Vec<_>>());
    let options = DynamicsOptions {
        title: "Orders".into(),
        caption: "The models are tiny.".into(),
        across: Across::Steps,
    };
    let figures = dynamics_heatmaps(&all, &options);
    let suffixes: Vec<&str> = figures.iter().map(|(suffix, _)| &**suffix).collect();
    assert_eq!(suffixes, Metric::ALL.map(Metric::name));
    for (_, figure) in &figures {
        assert!(figure.title.starts_with("Orders: ") && !figure.colour_label.is_empty());
        assert!(figure.caption.ends_with("The models are tiny."));
        assert_eq!(figure.columns, 3, "three and two, for each model");
        assert_eq!(figure.row_titles, ["m", "", "other", ""]);
        let titles: Vec<&str> = figure.panels.iter().map(|p| &*p.title).collect();
        let model = [orders[0], orders[1], orders[2], orders[3], orders[4], ""];
        assert_eq!(titles, [model, model].concat());
        assert_eq!(figure.panels[11].marks, Marks::Nothing);
        let svg = render_svg(figure).unwrap();
        assert_eq!(cells(&svg).len(), 11);
    }
    let places = DynamicsOptions {
        across: Across::Positions,
        ..options
    };
    let (_, figure) = &dynamics_heatmaps(&all, &places)[0];
    assert_eq!(figure.panels[0].x.label, "generated position");
    assert!(
        figure
            .caption
            .contains("place in the generated text (over all steps)")
    );
    let mut fewer = all.clone();
    fewer[0].status = Status::Partial;
    let (_, figure) = &dynamics_heatmaps(&fewer, &places)[0];
    assert!(figure.caption.contains("Some values are of fewer prompts"));
    assert_eq!(heat(&rows(&orders[..4], 2, 2)[..4]).columns, 1);
}

#[test]
fn many_steps_stay_legible_and_the_file_small() {
    let rows = rows(&["a", "b", "c", "d", "e"], 6, 256);
    let (_, figure) = dynamics_heatmaps(&rows, &DynamicsOptions::default()).remove(0);
    let svg = render_svg(&figure).unwrap();
    let covered = |cells: &Vec<Cell<'_>>| cells.iter().map(|(.., n)| n).sum::<usize>();
    for panel in &cells(&svg)[1..] {
        assert_eq!(covered(panel), 255 * 6);
    }
    // 7650 values that hardly ever have the colour of their neighbour.
    assert!(svg.len() < 160_000, "{} bytes", svg.len());
    assert_eq!(svg, render_svg(&figure).unwrap());
    let layout = Layout::of(&figure);
    for placed in &layout.panels {
        let width = placed.plot.right - placed.plot.left;
        assert!(
            (width - 256.0).abs() < 1e-9,
            "a pixel for each step: {width}"
        );
        assert!(placed.plot.right < layout.width && placed.plot.bottom < layout.height);
    }
    assert!(layout.width < 1000.0, "{}", layout.width);
}

#[test]
fn names_of_orders_are_escaped_wrapped_and_cut() {
    let long = "very-long-".repeat(40);
    let mut rows = rows(&["</svg><script>", &long, "a\u{ffff}b\nc"], 2, 3);
    rows.extend([
        row("</svg><script>", None, 1, Some(0.5)),
        row(&long, None, 1, Some(0.5)),
    ]);
    let curves = dynamics_curves(&rows, &DynamicsOptions::default());
    let figures = dynamics_heatmaps(&rows, &DynamicsOptions::default());
    for figure in figures.into_iter().map(|(_, f)| f).chain([curves]) {
        let svg = render_svg(&figure).unwrap();
        assert!(!svg.contains("<script>") && !svg.contains('\u{ffff}'));
        assert!(svg.contains("&lt;/svg&gt;&lt;script&gt;"));
        assert!(
            svg.lines().any(|line| line.ends_with('…')),
            "the end is cut"
        );
        let width = Layout::of(&figure).width;
        let widest = svg
            .lines()
            .filter(|line| line.contains("very-long-"))
            .map(|line| text_width(line, SMALL))
            .fold(0.0, f64::max);
        assert!(widest > 0.0 && widest < width, "{widest} of {width}");
    }
}

#[test]
fn values_without_a_place_are_refused() {
    let mut figure = heat(&[row("a", Some(0), 1, Some(1.0))]);
    figure.panels[0].marks = Marks::Cells(HeatMap {
        rows: vec![vec![Some(1.0)], vec![None, Some(f64::INFINITY)]],
    });
    let message = render_svg(&figure).unwrap_err().to_string();
    assert_eq!(
        message,
        "panel \"a\", row 1, column 1: inf has no place on a colour axis"
    );
}

#[test]
fn curves_have_a_panel_for_each_metric_and_a_colour_for_each_order() {
    let mut all = Vec::new();
    for metric in Metric::ALL {
        for (order, level) in [("entropy", 0.6), ("origin", 0.9)] {
            for at in (0..60).rev() {
                let value = (at != 30).then_some(level + 0.001 * f64::from(at));
                all.push(DynamicsRow {
                    metric,
                    ..row(order, None, at, value)
                });
            }
        }
    }
    // Neither layers nor summaries are curves, but the first order there is keeps its colour.
    all.insert(0, row("sae", Some(1), 3, Some(100.0)));
    all.push(DynamicsRow {
        at: None,
        progress: None,
        ..row("origin", None, 0, Some(100.0))
    });
    let figure = dynamics_curves(&all, &DynamicsOptions::default());
    assert_eq!((figure.panels.len(), figure.columns), (4, 2));
    assert!(figure.row_titles.iter().all(String::is_empty));
    for panel in &figure.panels {
        let series = panel.series();
        let found: Vec<_> = series.iter().map(|s| (&*s.label, s.colour)).collect();
        assert_eq!(found, [("entropy", 1), ("origin", 2)]);
        assert_eq!(series[0].points.len(), 60);
        assert!(series[0].points.is_sorted_by(|a, b| a.x < b.x));
        assert!(
            series
                .iter()
                .flat_map(|s| &s.points)
                .all(|p| p.y < Some(2.0))
        );
        let names = [&panel.title, &panel.x.label, &panel.y.label];
        assert!(names.iter().all(|name| !name.is_empty()));
    }
    assert!(
        figure
            .caption
            .contains("Bands: one standard error over prompts.")
    );
    let svg = render_svg(&figure).unwrap();
    let lines = drawn(&svg, "polyline", "#D55E00");
    let long: Vec<usize> = lines.iter().map(|l| points(l)).filter(|n| *n > 2).collect();
    assert_eq!(long, [30, 29].repeat(4), "the missing bin is a gap");
    // Squares: bands have more corners.
    let markers = drawn(&svg, "polygon", "#D55E00");
    let markers = markers.iter().filter(|p| points(p) == 4).count();
    assert!(
        (4 * 5..=1 + 4 * 9).contains(&markers),
        "{markers} markers of 236 points"
    );
}
