use std::collections::BTreeMap;

use crate::paper::printed_rows;

const AUTOINTERP: &str = include_str!("../../../../results/paper/official_repo_autointerp.csv");

/// The authors' mean score of each SAE by SAE set, layer and k, in the paper's names.
pub fn paper_autointerp() -> BTreeMap<(String, u32, u32), f64> {
    let row = |get: &dyn Fn(&str) -> String| {
        let key = (
            get("sae"),
            get("layer").parse().ok()?,
            get("k").parse().ok()?,
        );
        Some((key, get("autointerp_score_mean").parse::<f64>().ok()?))
    };
    printed_rows(AUTOINTERP, row).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Means over 36 SAEs that the authors' notebook reports (PROTOCOL §5).
    #[test]
    fn the_authors_scores_are_there_for_every_sae() {
        let scores = paper_autointerp();
        assert_eq!(scores.len(), 108);
        for (sae, reported) in [
            ("Qwen-SAE", 0.756),
            ("Dream-Mask", 0.733),
            ("Dream-Unmask", 0.760),
        ] {
            let of: Vec<f64> = (scores.iter())
                .filter(|((name, ..), _)| name == sae)
                .map(|(_, score)| *score)
                .collect();
            assert_eq!(of.len(), 36);
            let mean = of.iter().sum::<f64>() / 36.0;
            assert!((mean - reported).abs() < 0.0006, "{sae}: {mean}");
        }
    }
}
