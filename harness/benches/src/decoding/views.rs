//! The list of the figures that show a part of the bench.

use harness_core::dynamics::Metric;
use harness_plan::bench::TableDeclaration;

/// A figure: the rows of some metrics, as tables, heat maps and curves.
pub struct View {
    /// What bench files call it.
    pub table: &'static str,
    /// The bench that is this figure.
    pub bench: &'static str,
    pub metrics: &'static [Metric],
}

/// All figures.
pub const VIEWS: [View; 3] = [
    // Stability before decoding.
    View {
        table: "stability",
        bench: "fig4",
        metrics: &[Metric::JaccardPre],
    },
    // Drift after decoding.
    View {
        table: "drift",
        bench: "fig5",
        metrics: &[Metric::DriftPost],
    },
    // The most active latent.
    View {
        table: "top1",
        bench: "fig11",
        metrics: &[Metric::LockRate, Metric::FlipCount],
    },
];

/// The table of the bench itself, and its figures.
pub const fn declared(own: &'static str) -> [TableDeclaration; 1 + VIEWS.len()] {
    let mut tables = [TableDeclaration::table(own); 1 + VIEWS.len()];
    let mut at = 0;
    while at < VIEWS.len() {
        tables[at + 1] = TableDeclaration::figure(VIEWS[at].table);
        at += 1;
    }
    tables
}
