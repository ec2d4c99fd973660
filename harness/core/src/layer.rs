//! Layers by depth, and the star of Table 2.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Third of the layers of a bench a layer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// First third.
    Shallow,
    /// Second third.
    Middle,
    /// Last third.
    Deep,
}

impl Depth {
    pub const fn name(self) -> &'static str {
        match self {
            Depth::Shallow => "shallow",
            Depth::Middle => "middle",
            Depth::Deep => "deep",
        }
    }
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Depth {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Depth::Shallow, Depth::Middle, Depth::Deep]
            .into_iter()
            .find(|d| d.name() == name)
            .ok_or_else(|| format!("unknown depth `{name}`: shallow, middle or deep"))
    }
}

/// Depth of a layer among the layers of its bench (six layers: the first two are shallow, the next
/// two middle, the last two deep). `None` when the layer is not among them.
pub fn depth_of(layer: u32, layers: &[u32]) -> Option<Depth> {
    let mut sorted = layers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let at = sorted.iter().position(|&l| l == layer)?;
    Some(match at * 3 / sorted.len() {
        0 => Depth::Shallow,
        1 => Depth::Middle,
        _ => Depth::Deep,
    })
}

/// The star rule of Table 2: within each group (a family and a layer) every entry whose score,
/// printed with two decimals, is the largest printed score of the group. Ties are all starred; a
/// missing score never is.
pub fn starred<G: Ord>(entries: &[(G, Option<f64>)]) -> Vec<bool> {
    let mut best: BTreeMap<&G, i64> = BTreeMap::new();
    for (group, score) in entries {
        if let Some(printed) = score.and_then(hundredths) {
            best.entry(group)
                .and_modify(|b| *b = printed.max(*b))
                .or_insert(printed);
        }
    }
    entries
        .iter()
        .map(|(group, score)| {
            score
                .and_then(hundredths)
                .is_some_and(|p| best.get(group) == Some(&p))
        })
        .collect()
}

/// The number printed with two decimals, in hundredths: the same rounding as `{:.2}`, and -0.00 is
/// 0.00.
fn hundredths(score: f64) -> Option<i64> {
    format!("{score:.2}").replace('.', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The 36 cells of the paper's Table 2: family, layer, depth, S, starred.
    fn paper() -> Vec<(String, u32, String, f64, bool)> {
        let text = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../results/paper/table2.csv"
        ))
        .unwrap();
        text.lines()
            .skip(1)
            .map(|line| {
                let c: Vec<&str> = line.split(',').collect();
                (
                    c[0].to_owned(),
                    c[3].parse().unwrap(),
                    c[4].to_owned(),
                    c[7].parse().unwrap(),
                    c[8] == "true",
                )
            })
            .collect()
    }

    #[test]
    fn the_papers_stars() {
        let rows = paper();
        assert_eq!(rows.len(), 36);
        let entries: Vec<_> = rows
            .iter()
            .map(|r| ((r.0.clone(), r.1), Some(r.3)))
            .collect();
        let got = starred(&entries);
        assert_eq!(got, rows.iter().map(|r| r.4).collect::<Vec<_>>());
        assert_eq!(got.iter().filter(|s| **s).count(), 13);
    }

    #[test]
    fn the_papers_depths() {
        let rows = paper();
        for family in ["qwen-dream", "llama-llada"] {
            let layers: Vec<u32> = rows.iter().filter(|r| r.0 == family).map(|r| r.1).collect();
            for row in rows.iter().filter(|r| r.0 == family) {
                assert_eq!(depth_of(row.1, &layers).unwrap().name(), row.2);
            }
        }
        assert_eq!(depth_of(3, &[1, 2]), None);
        assert_eq!(depth_of(7, &[7]), Some(Depth::Shallow));
    }

    #[test]
    fn ties_are_decided_by_what_is_printed() {
        let got = starred(&[
            (1, Some(0.1349)),
            (1, Some(0.1251)),
            (1, None),
            (2, Some(-0.001)),
            (2, Some(0.002)),
        ]);
        assert_eq!(got, [true, true, false, true, true]);
        assert_eq!(starred(&[(1, Some(f64::NAN)), (1, None)]), [false, false]);
        assert_eq!(
            starred(&[(1, Some(-2.29)), (1, Some(-0.46))]),
            [false, true]
        );
    }

    proptest! {
        #[test]
        fn every_group_with_a_score_has_a_star(scores in prop::collection::vec((0u8..4, prop::option::of(-3f64..3.0)), 0..30)) {
            let stars = starred(&scores);
            for group in 0..4 {
                let any_score = scores.iter().any(|s| s.0 == group && s.1.is_some());
                let any_star = scores.iter().zip(&stars).any(|(s, star)| s.0 == group && *star);
                prop_assert_eq!(any_score, any_star);
            }
        }
    }
}
