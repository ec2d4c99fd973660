use harness_core::{layer::Depth, record::Status, sae_id::SaeId, stats::Estimate};
use harness_present::figure::render_svg;

use super::{
    figure::steering_figure,
    rows::{SteeringNumbers, SteeringRow},
};

fn steering_row(sae: &str, layer: u32, k: u32, value: Option<f64>) -> SteeringRow {
    let score = Estimate {
        value,
        std_err: value.map(|_| 0.1),
        n: None,
    };
    SteeringRow {
        family: "f".into(),
        model: "m".into(),
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
        numbers: SteeringNumbers {
            concept_improvement: score,
            perplexity_reduction: score,
            steering_score: score,
            n_features: None,
            n_valid: None,
            n_judged: None,
            missing: None,
            judge: String::new(),
            comparable_with_paper: None,
            status: Status::Ok,
        },
    }
}

#[test]
fn the_steering_figure_has_a_column_for_each_set_and_a_row_for_each_score() {
    let rows: Vec<SteeringRow> = ["one", "two"]
        .iter()
        .flat_map(|sae| {
            [(1, 8), (1, 24), (5, 8), (5, 24)].map(|(layer, k)| {
                let value = (*sae == "one" || k == 8).then_some(f64::from(layer * k));
                steering_row(sae, layer, k, value)
            })
        })
        .collect();
    let figure = steering_figure(&rows, "title");
    assert_eq!((figure.panels.len(), figure.columns), (6, 2));
    assert_eq!(figure.panels[0].title, "one");
    assert_eq!(figure.panels[2].title, "");
    assert!(
        figure
            .panels
            .iter()
            .all(|panel| panel.zero_line && panel.series().len() == 2)
    );
    let last = &figure.panels[5].series()[1]; // S of `two`, layer 5
    assert_eq!(last.label, "L5");
    assert_eq!(last.points[0].y, Some(40.0));
    assert_eq!((last.points[1].x, last.points[1].y), (24.0, None));
    let svg = render_svg(&figure).unwrap();
    assert_eq!(svg, render_svg(&steering_figure(&rows, "title")).unwrap());
    assert_eq!(svg.lines().filter(|l| *l == "L5").count(), 1, "one legend");
}
