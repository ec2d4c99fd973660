//! Words, and when two of them count as the same.

/// A word in lower case with the byte range it takes up in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// In lower case.
    pub text: String,
    /// First byte.
    pub start: usize,
    /// Past the last byte.
    pub end: usize,
}

/// The words of a text: runs of letters and digits, apostrophes inside them included.
pub fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut start = None;
    let is_part = |at: usize, c: char| {
        c.is_alphanumeric()
            || (matches!(c, '\'' | '\u{2019}')
                && text[..at]
                    .chars()
                    .next_back()
                    .is_some_and(char::is_alphanumeric)
                && text[at + c.len_utf8()..]
                    .chars()
                    .next()
                    .is_some_and(char::is_alphanumeric))
    };
    for (at, c) in text.char_indices() {
        match (is_part(at, c), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                found.push(word(text, from, at));
                start = None;
            }
            _ => {}
        }
    }
    if let Some(from) = start {
        found.push(word(text, from, text.len()));
    }
    found
}

fn word(text: &str, start: usize, end: usize) -> Word {
    Word {
        text: text[start..end].to_lowercase(),
        start,
        end,
    }
}

/// Endings that do not make another word.
const ENDINGS: &[&str] = &[
    "", "s", "es", "e", "d", "ed", "er", "ers", "ing", "ings", "y", "ies", "ied", "ly", "'s",
];

/// Whether two words in lower case are forms of one: a common beginning of at least three letters,
/// and common endings after it, a doubled consonant aside (`sail`, `sailing`; `berry`, `berries`;
/// `run`, `running`).
pub fn same(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let common: usize = a
        .chars()
        .zip(b.chars())
        .take_while(|(x, y)| x == y)
        .map(|(x, _)| x.len_utf8())
        .sum();
    let stem = &a[..common];
    if stem.chars().count() < 3 || !stem.chars().all(char::is_alphabetic) {
        return false;
    }
    let doubled = stem.chars().next_back();
    let plain = |rest: &str| {
        let undoubled = doubled.and_then(|c| rest.strip_prefix(c)).unwrap_or(rest);
        ENDINGS.contains(&rest) || (undoubled.len() > 1 && ENDINGS.contains(&undoubled))
    };
    plain(&a[common..]) && plain(&b[common..])
}

/// Words that carry grammar and no topic.
pub fn is_function_word(word: &str) -> bool {
    FUNCTION_WORDS.binary_search(&word).is_ok()
}

/// Sorted, in lower case.
const FUNCTION_WORDS: &[&str] = &[
    "a", "about", "above", "after", "again", "all", "almost", "along", "already", "also",
    "although", "always", "am", "among", "an", "and", "another", "any", "are", "around", "as",
    "at", "away", "back", "be", "because", "been", "before", "behind", "being", "below", "between",
    "both", "but", "by", "can", "could", "did", "do", "does", "doing", "don't", "done", "down",
    "during", "each", "either", "else", "enough", "even", "ever", "every", "few", "for", "from",
    "get", "gets", "go", "goes", "got", "had", "has", "have", "having", "he", "her", "here",
    "hers", "him", "himself", "his", "how", "i", "if", "in", "into", "is", "it", "it's", "its",
    "itself", "just", "least", "less", "let", "like", "many", "may", "me", "might", "more", "most",
    "much", "must", "my", "near", "neither", "never", "no", "nor", "not", "now", "of", "off",
    "often", "on", "once", "one", "only", "or", "other", "others", "our", "out", "over", "own",
    "per", "quite", "rather", "said", "same", "says", "she", "should", "since", "so", "some",
    "soon", "still", "such", "than", "that", "the", "their", "them", "then", "there", "these",
    "they", "this", "those", "though", "through", "to", "too", "under", "until", "up", "upon",
    "us", "very", "was", "we", "well", "were", "what", "when", "where", "which", "while", "who",
    "whom", "whose", "why", "will", "with", "within", "without", "would", "yet", "you", "your",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        assert_eq!(
            texts("The Sailor's 12 knots—don't! 'quoted' été"),
            ["the", "sailor's", "12", "knots", "don't", "quoted", "été"]
        );
        assert_eq!(texts(" .,; "), Vec::<String>::new());
        let word = &words("an été")[1];
        assert_eq!((word.start, word.end), (3, 8));
    }

    #[test]
    fn forms_of_a_word_are_the_same() {
        for (a, b) in [
            ("sail", "sailing"),
            ("sails", "sailed"),
            ("bake", "baking"),
            ("berry", "berries"),
            ("run", "running"),
            ("quick", "quickly"),
            ("sailor", "sailor's"),
        ] {
            assert!(same(a, b) && same(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("planet", "plants"),
            ("sea", "season"),
            ("as", "ass"),
            ("12", "123"),
            ("boat", "ship"),
            ("cat", "cattle"),
        ] {
            assert!(!same(a, b) && !same(b, a), "{a} {b}");
        }
    }

    #[test]
    fn function_words_are_sorted() {
        assert!(FUNCTION_WORDS.is_sorted());
        assert!(is_function_word("the") && !is_function_word("harbour"));
    }
}
