use std::collections::BTreeMap;

use crate::paper::printed_rows;

const TABLE2: &str = include_str!("../../../../results/paper/table2.csv");
const TABLE4: &str = include_str!("../../../../results/paper/table4.csv");

/// Numbers the paper prints for a layer of an SAE set, with two decimals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaperScores {
    /// C.
    pub concept_improvement: f64,
    /// P.
    pub perplexity_reduction: f64,
    /// S.
    pub steering_score: f64,
    /// Whether the paper stars it.
    pub starred: bool,
}

/// The paper's Table 2 by SAE set and layer, in the paper's names.
pub fn paper_table2() -> BTreeMap<(String, u32), PaperScores> {
    let row = |get: &dyn Fn(&str) -> String| {
        let scores = PaperScores {
            concept_improvement: get("concept_improvement").parse().ok()?,
            perplexity_reduction: get("perplexity_reduction").parse().ok()?,
            steering_score: get("steering_score").parse().ok()?,
            starred: get("starred") == "true",
        };
        Some(((get("sae"), get("layer").parse().ok()?), scores))
    };
    printed_rows(TABLE2, row).into_iter().collect()
}

/// Minutes for one SAE of the paper's Table 4, by group, strength, steps and steered positions
/// (`all`, `top-5`; empty for the autoregressive model).
pub fn paper_table4_minutes(
    group: &str,
    amp_factor: f64,
    dlm_steps: Option<u32>,
    scope: &str,
) -> Option<f64> {
    let row = |get: &dyn Fn(&str) -> String| {
        let key = (
            get("group"),
            get("amp_factor").parse::<f64>().ok()?,
            get("dlm_steps").parse::<u32>().ok(),
            get("token_scope"),
        );
        Some((key, get("time_per_sae_min").parse::<f64>().ok()?))
    };
    let found = printed_rows(TABLE4, row).into_iter().find(|(key, _)| {
        (key.0.as_str(), key.1, key.2) == (group, amp_factor, dlm_steps)
            && (key.3.is_empty() || key.3 == scope)
    });
    found.map(|(_, minutes)| minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_numbers_are_all_there() {
        let table = paper_table2();
        assert_eq!(table.len(), 36);
        let row = table[&("Dream-Unmask".to_owned(), 27)];
        assert_eq!(
            (row.concept_improvement, row.steering_score, row.starred),
            (0.33, 0.38, true)
        );
        assert_eq!(table.values().filter(|r| r.starred).count(), 13);
        // lambda = 0.3 within the rounding of three printed numbers (PROTOCOL §8).
        for ((sae, layer), r) in &table {
            let gap = r.steering_score - r.concept_improvement - 0.3 * r.perplexity_reduction;
            assert!(gap.abs() <= 0.0115, "{sae} {layer}: {gap}");
        }
    }

    #[test]
    fn the_papers_times() {
        assert_eq!(
            paper_table4_minutes("baseline_ar", 2.0, None, "all"),
            Some(13.0)
        );
        assert_eq!(
            paper_table4_minutes("ablation_dlm_steps", 3.0, Some(50), "all"),
            Some(22.0)
        );
        assert_eq!(
            paper_table4_minutes("ablation_token_scope", 3.0, Some(30), "top-10"),
            Some(13.0)
        );
        assert_eq!(
            paper_table4_minutes("ablation_token_scope", 3.0, Some(30), "top-7"),
            None
        );
    }
}
