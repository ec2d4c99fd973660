//! "Did you mean": the candidate nearest to what was typed.

/// The candidates near enough to `typed` to be what was meant, nearest first, at most three. Case and `-` against `_` do not
/// count as differences.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = fold(typed);
    // One slip in three letters still reads as the same word; a short word allows one.
    let allowed = (wanted.len() / 3).max(1);
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .map(|c| (distance(&wanted, &fold(c)), c))
        .filter(|(d, c)| *d <= allowed || (wanted.len() >= 3 && fold(c).starts_with(&wanted)))
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().take(3).map(|(_, c)| c).collect()
}

/// `did you mean \`a\` or \`b\`?`, or the list of what there is when nothing is near (empty when there is nothing).
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

fn fold(name: &str) -> Vec<char> {
    name.chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c == '-' { '_' } else { c })
        .collect()
}

/// Edits between two words: insert, delete, replace, or swap neighbours (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = [
        vec![0; b.len() + 1],
        (0..=b.len()).collect(),
        vec![0; b.len() + 1],
    ];
    for i in 1..=a.len() {
        let [before, last, now] = &mut rows;
        now[0] = i;
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            now[j] = replace.min(last[j] + 1).min(now[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                now[j] = now[j].min(before[j - 2] + 1);
            }
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slips_are_found() {
        let keys = ["layers", "lambda", "amp_factor", "token_scope", "k"];
        assert_eq!(nearest("layres", keys), ["layers"]);
        assert_eq!(nearest("amp-facto", keys), ["amp_factor"]);
        assert_eq!(nearest("Token_Scope", keys), ["token_scope"]);
        assert!(nearest("temperature", keys).is_empty());
        assert_eq!(hint("layres", keys), "did you mean `layers`?");
        assert_eq!(hint("zzz", ["a", "b"]), "there is `a`, `b`");
        assert_eq!(hint("zzz", []), "");
    }

    proptest! {
        #[test]
        fn distance_is_a_metric_of_edits(a in "[a-d]{0,6}", b in "[a-d]{0,6}") {
            let (ca, cb): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            let d = distance(&ca, &cb);
            prop_assert_eq!(d, distance(&cb, &ca));
            prop_assert_eq!(d == 0, a == b);
            prop_assert!(d <= ca.len().max(cb.len()) && d >= ca.len().abs_diff(cb.len()));
        }
    }
}
