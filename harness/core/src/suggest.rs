//! "Did you mean": the candidate nearest to what was typed.

use strsim::osa_distance;

/// The candidates near enough to `typed` to be what was meant, nearest first, at most three. Case
/// and `-` against `_` do not count as differences; two neighbouring letters swapped are one.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = fold(typed);
    // One slip in three letters still reads as the same word; a short word allows one.
    let length = wanted.chars().count();
    let allowed = (length / 3).max(1);
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|c| (osa_distance(&wanted, &fold(c)), c))
        .filter(|(d, c)| *d <= allowed || (length >= 3 && fold(c).starts_with(&wanted)))
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().take(3).map(|(_, c)| c).collect()
}

/// `did you mean \`a\` or \`b\`?`, or the list of what there is when nothing is near (empty when
/// there is nothing).
pub fn hint<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = candidates.into_iter().collect();
    let near = nearest(typed, all.iter().copied());
    let quote = |names: &[&str]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>();
    match (near.is_empty(), all.is_empty()) {
        (false, _) => format!("did you mean {}?", quote(&near).join(" or ")),
        (true, false) => format!("there is {}", quote(&all).join(", ")),
        (true, true) => String::new(),
    }
}

fn fold(name: &str) -> String {
    name.chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c == '-' { '_' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found() {
        let keys = ["layers", "lambda", "amp_factor", "token_scope", "k"];
        assert_eq!(nearest("layres", keys), ["layers"]);
        assert_eq!(nearest("ozo", ["zoo"]), ["zoo"]);
        assert!(nearest("ayler", ["layer"]).is_empty());
        assert_eq!(nearest("amp-facto", keys), ["amp_factor"]);
        assert_eq!(nearest("Token_Scope", keys), ["token_scope"]);
        assert!(nearest("temperature", keys).is_empty());
        assert_eq!(hint("layres", keys), "did you mean `layers`?");
        assert_eq!(hint("zzz", ["a", "b"]), "there is `a`, `b`");
        assert_eq!(hint("zzz", []), "");
    }
}
