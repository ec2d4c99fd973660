//! Regular English inflection for the generator's own words.

const VOWELS: &str = "aeiou";

fn is_vowel(c: char) -> bool {
    VOWELS.contains(c)
}

/// Verbs whose last consonant doubles before `-ed` and `-ing`. Spelling alone does not decide it
/// (stress does), so they are listed.
const DOUBLING: &[&str] = &[
    "stir", "chop", "trim", "strum", "hum", "jog", "trot", "rebel", "propel", "chug", "plan",
    "stop", "pat",
];

/// `cloud` → `clouds`, `ferry` → `ferries`, `torch` → `torches`, `potato` → `potatoes`.
#[must_use]
pub fn plural(noun: &str) -> String {
    let sibilant = ["s", "x", "z", "ch", "sh"]
        .iter()
        .any(|e| noun.ends_with(e));
    let oes = matches!(noun, "potato" | "tornado");
    if sibilant || oes {
        return format!("{noun}es");
    }
    match consonant_y(noun) {
        Some(stem) => format!("{stem}ies"),
        None => format!("{noun}s"),
    }
}

/// `haul` → `hauled`, `serve` → `served`, `fry` → `fried`, `trim` → `trimmed`.
#[must_use]
pub fn past(verb: &str) -> String {
    if let Some(stem) = consonant_y(verb) {
        return format!("{stem}ied");
    }
    if verb.ends_with('e') {
        return format!("{verb}d");
    }
    format!("{}ed", doubled(verb))
}

/// `haul` → `hauling`, `serve` → `serving`, `trim` → `trimming`.
#[must_use]
pub fn gerund(verb: &str) -> String {
    if let Some(stem) = verb.strip_suffix('e').filter(|s| !s.ends_with('e')) {
        return format!("{stem}ing");
    }
    format!("{}ing", doubled(verb))
}

fn doubled(verb: &str) -> String {
    match verb.chars().last() {
        Some(last) if DOUBLING.contains(&verb) => format!("{verb}{last}"),
        _ => verb.to_owned(),
    }
}

fn consonant_y(word: &str) -> Option<&str> {
    word.strip_suffix('y')
        .filter(|stem| stem.chars().last().is_some_and(|c| !is_vowel(c)))
}

/// Whether the indefinite article before `word` is `an`.
#[must_use]
pub fn takes_an(word: &str) -> bool {
    // By sound: `hourly` begins with a vowel, `universe` with a consonant.
    match word {
        "hourly" => true,
        "universe" => false,
        _ => word
            .chars()
            .next()
            .is_some_and(|c| is_vowel(c.to_ascii_lowercase())),
    }
}

/// The word with its first letter in upper case.
#[must_use]
pub fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map(|c| c.to_ascii_uppercase().to_string() + chars.as_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflections() {
        for (noun, many) in [
            ("cloud", "clouds"),
            ("ferry", "ferries"),
            ("torch", "torches"),
            ("potato", "potatoes"),
            ("bay", "bays"),
            ("piano", "pianos"),
            ("chorus", "choruses"),
        ] {
            assert_eq!(plural(noun), many);
        }
        for (verb, ed, ing) in [
            ("haul", "hauled", "hauling"),
            ("serve", "served", "serving"),
            ("fry", "fried", "frying"),
            ("trim", "trimmed", "trimming"),
            ("delay", "delayed", "delaying"),
            ("shoo", "shooed", "shooing"),
            ("rebel", "rebelled", "rebelling"),
            ("board", "boarded", "boarding"),
        ] {
            assert_eq!((past(verb), gerund(verb)), (ed.to_owned(), ing.to_owned()));
        }
        assert!(takes_an("hourly") && takes_an("egg") && !takes_an("universe") && !takes_an("cow"));
        assert_eq!(capitalised("the"), "The");
    }
}
