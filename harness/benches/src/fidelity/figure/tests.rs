use harness_core::{
    fidelity::{DELTA_LM_LOSS, EV_VAR, KL},
    layer::Depth,
    measure::Measure,
    record::Status,
    sae_id::SaeId,
    stats::Estimate,
};
use harness_present::figure::{Dash, FigureError, Marks, Series, render_svg};

use super::*;
use crate::fidelity::rows::GridRow;
use crate::over_k::{Style, styles};

#[test]
fn lines_of_one_depth_share_a_dash_and_no_two_a_colour() {
    let styles = styles((0..6).rev().map(|layer| {
        (
            layer,
            [Depth::Shallow, Depth::Middle, Depth::Deep][layer as usize / 2],
            None,
        )
    }));
    let series: Vec<Series> = styles.iter().map(Style::series).collect();
    let dashes: Vec<Dash> = series.iter().map(|s| s.dash).collect();
    use Dash::{Dashed, Dotted, Solid};
    assert_eq!(dashes, [Solid, Solid, Dashed, Dashed, Dotted, Dotted]);
    let mut colours: Vec<usize> = series.iter().map(|s| s.colour).collect();
    colours.dedup();
    assert_eq!(colours.len(), 6);
    assert_eq!(series[3].label, "L3");
    assert_eq!(series[3].group, "middle");
}

fn grid_row(model: &str, sae: &str, layer: u32, k: u32, measure: Measure) -> GridRow {
    GridRow {
        family: "f".into(),
        model: model.into(),
        sae: SaeId {
            set: sae.into(),
            id: format!("layer_{layer}/k_{k}"),
            layer,
            k: Some(k),
        },
        depth: if layer < 4 {
            Depth::Shallow
        } else {
            Depth::Deep
        },
        measure,
        variant: "v".into(),
        estimate: Estimate {
            value: Some(f64::from(k)),
            ..Estimate::default()
        },
        status: Status::Ok,
    }
}

#[test]
fn saes_of_one_layer_and_k_are_lines_of_their_own() {
    let row = || grid_row("m", "s", 1, 8, KL);
    let twin = |name: &str| GridRow {
        sae: SaeId {
            id: format!("layer_1/{name}"),
            ..row().sae
        },
        ..row()
    };
    let without_k = GridRow {
        sae: SaeId {
            k: None,
            ..row().sae
        },
        ..row()
    };
    let rows = [
        twin("trainer_0"),
        twin("trainer_1"),
        grid_row("m", "s", 1, 24, KL),
        without_k,
    ];
    let rows: Vec<&GridRow> = rows.iter().collect();
    let figure = grid_figure(&rows, &GridOptions::default());
    let Marks::Lines(lines) = &figure.panels[0].marks else {
        panic!("{:?}", figure.panels[0].marks);
    };
    let drawn: Vec<(&str, usize)> = lines
        .iter()
        .map(|line| (line.label.as_str(), line.points.len()))
        .collect();
    assert_eq!(drawn, [("L1", 1), ("L1 trainer_0", 1), ("L1 trainer_1", 1)]);
    assert!(
        figure.caption.contains("One SAE has no k"),
        "{}",
        figure.caption
    );
}

#[test]
fn the_grid_figure_takes_one_metric_and_splits_it_by_depth_and_source() {
    let mut rows = Vec::new();
    for model in ["base", "tuned"] {
        for (layer, k) in [(1, 50), (1, 820), (5, 50), (5, 820)] {
            rows.push(grid_row(model, "mask", layer, k, DELTA_LM_LOSS));
            rows.push(grid_row(model, "mask", layer, k, EV_VAR));
        }
    }
    let options = GridOptions {
        split: Split::SourceAndTarget,
        zero_line: true,
        ..GridOptions::default()
    };
    let rows: Vec<&GridRow> = rows.iter().collect();
    let figure = grid_figure(&measured(&rows, DELTA_LM_LOSS, &["v"]), &options);
    assert_eq!((figure.panels.len(), figure.columns), (4, 2));
    assert_eq!(figure.row_titles, ["mask → base", "mask → tuned"]);
    assert_eq!(figure.panels[1].title, "deep");
    for panel in &figure.panels {
        assert_eq!(panel.series().len(), 1);
        let series = &panel.series()[0];
        assert_eq!(
            series.points.iter().map(|p| p.x).collect::<Vec<_>>(),
            [50.0, 820.0]
        );
        assert_eq!(
            panel.x.ticks,
            [(50.0, "50".to_owned()), (820.0, "820".to_owned())]
        );
    }
    assert!(render_svg(&figure).unwrap().contains("mask → tuned"));
    let none = grid_figure(&measured(&rows, KL, &["v"]), &options);
    assert!(matches!(render_svg(&none), Err(FigureError::Empty { .. })));
}

/// Layer 5 is in the last third of six layers from 1, and in the second of others: it is drawn
/// where its model has it.

#[test]
fn a_layer_stands_in_the_third_of_its_own_model() {
    let mut rows = [
        grid_row("dream", "a", 5, 8, KL),
        grid_row("llada", "b", 5, 8, KL),
    ];
    rows[0].depth = Depth::Middle;
    let rows: Vec<&GridRow> = rows.iter().collect();
    let figure = grid_figure(&measured(&rows, KL, &["v"]), &GridOptions::default());
    let drawn: Vec<usize> = figure.panels.iter().map(|p| p.series().len()).collect();
    // Rows of panels: a, b; columns: middle, deep.
    assert_eq!((figure.columns, drawn), (2, vec![1, 0, 0, 1]));
}

#[test]
fn of_several_variants_the_first_is_taken_that_a_set_has() {
    let mut rows = vec![
        grid_row("dream", "mask", 1, 8, KL),
        grid_row("qwen", "qwen", 1, 8, KL),
    ];
    rows.push(GridRow {
        variant: "weighted".into(),
        // It is not replaced by the plain value.
        estimate: Estimate::default(),
        ..rows[0].clone()
    });
    let rows: Vec<&GridRow> = rows.iter().collect();
    let found = measured(&rows, KL, &["weighted", "v"]);
    let found: Vec<(&str, &str)> = found.iter().map(|r| (&*r.sae.set, &*r.variant)).collect();
    assert_eq!(found, [("qwen", "v"), ("mask", "weighted")]);
    assert!(measured(&rows, EV_VAR, &["v"]).is_empty());
}

#[test]
fn the_transfer_figure_lays_both_sources_over_each_other() {
    let rows: Vec<GridRow> = ["base-mask", "tuned-mask"]
        .iter()
        .flat_map(|sae| [(1, 8), (1, 24), (5, 8)].map(|(l, k)| grid_row("base", sae, l, k, EV_VAR)))
        .collect();
    let part = |title: &str| TransferPart {
        title: title.into(),
        y_label: "EV".into(),
        zero_line: false,
        rows: rows.iter().collect(),
    };
    let figure = transfer_figure(&[part("on text"), part("on rollouts")], "t", "c.");
    assert_eq!((figure.panels.len(), figure.columns), (4, 2));
    assert_eq!(figure.row_titles, ["on text", "on rollouts"]);
    let shallow = figure.panels[0].series();
    assert_eq!(shallow.len(), 2);
    assert_eq!((shallow[0].colour, shallow[0].dash), (0, Dash::Solid));
    assert_eq!((shallow[1].colour, shallow[1].dash), (0, Dash::Dashed));
    assert_eq!(shallow[1].group, "tuned-mask");
    let svg = render_svg(&figure).unwrap();
    assert_eq!(
        svg.lines().filter(|l| *l == "L1").count(),
        2,
        "one for each source"
    );
}
