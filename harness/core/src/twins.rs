//! SAEs of one set, layer and k, and how they are told apart.

use std::collections::{BTreeMap, BTreeSet};

/// What the names of SAEs differ in that share a place with another one, such as `trainer_1`. An
/// SAE that is alone in its place has nothing here, so that no label is longer than it must be.
///
/// A place is what else a reader is told of an SAE: its set, layer and k.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Twins<P> {
    by_place: BTreeMap<P, BTreeMap<String, String>>,
}

impl<P: Ord> Twins<P> {
    /// Those among some SAEs, each given by its place and its name within its set. An SAE may be
    /// given several times.
    pub fn among<'a>(saes: impl Iterator<Item = (P, &'a str)>) -> Twins<P> {
        let mut by_place: BTreeMap<P, BTreeSet<&str>> = BTreeMap::new();
        for (place, id) in saes {
            by_place.entry(place).or_default().insert(id);
        }
        let several = by_place.into_iter().filter(|(_, ids)| ids.len() > 1);
        let named = several.map(|(place, ids)| {
            let common = common_folders(&ids);
            let own = |id: &str| id.split('/').skip(common).collect::<Vec<_>>().join("/");
            let names = ids.iter().map(|id| ((*id).to_owned(), own(id)));
            (place, names.collect())
        });
        Twins {
            by_place: named.collect(),
        }
    }

    /// What tells an SAE from the others of its place; `None` where there are no others.
    pub fn name(&self, place: &P, id: &str) -> Option<&str> {
        self.by_place.get(place)?.get(id).map(String::as_str)
    }

    /// Whether no two SAEs share a place.
    pub fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }
}

/// Folders that all names begin with; the last part of a name is no folder.
fn common_folders(ids: &BTreeSet<&str>) -> usize {
    let parts: Vec<Vec<&str>> = ids.iter().map(|id| id.split('/').collect()).collect();
    let shortest = parts.iter().map(Vec::len).min().unwrap_or(0);
    (0..shortest.saturating_sub(1))
        .take_while(|&i| parts.iter().all(|names| names[i] == parts[0][i]))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_share_a_place_get_a_name() {
        let saes = [
            ((1, 8), "layer_1/trainer_0"),
            ((1, 8), "layer_1/trainer_1"),
            ((1, 24), "layer_1/trainer_2"),
            ((2, 8), "a/b"),
            ((2, 8), "a/c/b"),
            // The same one twice, as the values of one SAE are.
            ((3, 8), "layer_3/trainer_0"),
            ((3, 8), "layer_3/trainer_0"),
        ];
        let found = Twins::among(saes.into_iter());
        let name = |place, id| found.name(&place, id);
        assert_eq!(name((1, 8), "layer_1/trainer_0"), Some("trainer_0"));
        assert_eq!(name((2, 8), "a/b"), Some("b"));
        assert_eq!(name((2, 8), "a/c/b"), Some("c/b"));
        assert_eq!(name((1, 24), "layer_1/trainer_2"), None);
        assert_eq!(name((3, 8), "layer_3/trainer_0"), None);
    }
}
