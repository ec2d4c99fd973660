//! A kind of bench is named in its own rooms, so that a new one touches no file of the others.
//!
//! A kind's rooms are the folders and files that bear its name. Tests may name it as well.

use super::finding::Finding;
use crate::source::Sources;

/// A kind of bench.
struct Kind {
    /// The words that name it, in small letters; the first begins the names of its rooms.
    words: &'static [&'static str],
    /// How many files outside its rooms name it. The number only shrinks.
    elsewhere: usize,
}

const fn kind(words: &'static [&'static str], elsewhere: usize) -> Kind {
    Kind { words, elsewhere }
}

const KINDS: [Kind; 5] = [
    kind(&["steering"], 49),
    // Rollouts are what grids may be measured on, so that both have one room.
    kind(&["fidelity", "rollout", "rollouts"], 22),
    kind(&["decoding"], 28),
    kind(&["autointerp"], 19),
    kind(&["catalogue"], 16),
];

/// The kinds are named in as many files as the list says.
pub fn check(sources: &Sources) -> Vec<Finding> {
    KINDS
        .iter()
        .filter_map(|kind| of_kind(kind, sources))
        .collect()
}

fn of_kind(kind: &Kind, sources: &Sources) -> Option<Finding> {
    let room = format!("/{}", kind.words[0]);
    let files: Vec<&str> = (sources.rust_files())
        .filter(|(path, _)| path.starts_with("harness/"))
        .filter(|(path, _)| !path.contains("test") && !path.contains(&room))
        .filter(|(_, text)| kind.words.iter().any(|word| holds(text, word)))
        .map(|(path, _)| path)
        .collect();
    let (found, allowed) = (files.len(), kind.elsewhere);
    let cure = match found.cmp(&allowed) {
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Less => {
            format!(
                "lower the number of {} in harness/xtask/src/tidy/kinds.rs",
                kind.words[0]
            )
        }
        std::cmp::Ordering::Greater => format!(
            "say it in the kind's own folder, or ask the kind through its trait; the files are {}",
            files.join(", ")
        ),
    };
    Some(Finding {
        place: "harness".to_owned(),
        what: format!(
            "{found} files outside the rooms of `{}` name it, and the list says {allowed}",
            kind.words[0]
        ),
        cure,
    })
}

/// Whether a text holds a word whole, in small or capital letters.
fn holds(text: &str, word: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: &[(&str, &str)] = &[
        ("harness/benches/src/rollouts/mod.rs", "Rollout"),
        ("harness/benches/src/rollouts.rs", "rollouts"),
        ("harness/benches/tests/it.rs", "rollouts"),
        ("harness/plan/src/a.rs", "match kind { Rollouts => 1 }"),
        ("harness/plan/src/b.rs", "n_rollouts, RolloutsBench"),
        ("harness/plan/src/c.rs", "// every rollout"),
        ("plugins/x/src/lib.rs", "rollout"),
    ];

    fn found(elsewhere: usize) -> Option<Finding> {
        of_kind(
            &kind(&["rollout", "rollouts"], elsewhere),
            &Sources::of(SOURCES),
        )
    }

    #[test]
    fn a_kind_named_outside_its_rooms_is_found() {
        let finding = found(1).unwrap();
        assert!(finding.what.starts_with("2 files outside"), "{finding}");
        let files = "harness/plan/src/a.rs, harness/plan/src/c.rs";
        assert!(finding.cure.ends_with(files), "{finding}");
    }

    #[test]
    fn the_list_only_shrinks() {
        assert_eq!(found(2), None);
        assert!(found(3).unwrap().cure.starts_with("lower the number"));
    }
}
