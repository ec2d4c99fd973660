//! Words that belong to no topic: names, connectives, everyday verbs and adjectives, and the
//! neutral openings.

/// Women's and men's names; pronouns follow them.
pub const NAMES_SHE: &[&str] = &[
    "Mara", "Anna", "Lena", "Clara", "Emma", "Rosa", "Nina", "Julia", "Ruth", "Sara", "Alma",
    "Irene",
];
/// See [`NAMES_SHE`].
pub const NAMES_HE: &[&str] = &[
    "Tom", "Leo", "Max", "Paul", "Hugo", "Peter", "Oscar", "Ivan", "Karl", "Felix", "Victor",
    "Simon",
];

/// Adverbs of manner.
pub const ADVERBS: &[&str] = &[
    "quickly",
    "slowly",
    "quietly",
    "carefully",
    "happily",
    "suddenly",
    "gently",
    "proudly",
    "eagerly",
    "calmly",
    "again",
    "together",
    "alone",
    "outside",
];

/// Adjectives that fit anything.
pub const ADJECTIVES: &[&str] = &[
    "old",
    "new",
    "small",
    "big",
    "little",
    "strange",
    "beautiful",
    "famous",
    "broken",
    "heavy",
    "bright",
    "dark",
    "quiet",
    "wonderful",
    "tiny",
    "huge",
];

/// What people feel.
pub const FEELINGS: &[&str] = &[
    "happy",
    "tired",
    "proud",
    "sad",
    "afraid",
    "angry",
    "excited",
    "surprised",
    "worried",
    "curious",
    "calm",
];

/// Everyday verbs with an object: base form and past.
pub const VERBS: &[(&str, &str)] = &[
    ("find", "found"),
    ("see", "saw"),
    ("love", "loved"),
    ("want", "wanted"),
    ("need", "needed"),
    ("lose", "lost"),
    ("buy", "bought"),
    ("carry", "carried"),
    ("remember", "remembered"),
    ("bring", "brought"),
    ("hold", "held"),
    ("watch", "watched"),
    ("clean", "cleaned"),
    ("fix", "fixed"),
    ("hide", "hid"),
    ("share", "shared"),
];

/// Small counts in words.
pub const COUNTS: &[&str] = &[
    "two", "three", "four", "five", "six", "seven", "many", "some",
];

const PREFIXES: &str = include_str!("../prefixes.txt");

/// The fifty neutral openings that generations start from: 3 to 7 words, without any topic's words.
#[must_use]
pub fn prefixes() -> Vec<&'static str> {
    PREFIXES.lines().filter(|line| !line.is_empty()).collect()
}

/// What may follow an opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Ends in `that` or a comma: a clause follows.
    Clause,
    /// Ends in `about`: a noun phrase follows.
    NounPhrase,
    /// Ends in `the`: a noun follows.
    Noun,
}

impl Opening {
    /// The kind of an opening, by its last word.
    #[must_use]
    pub fn of(prefix: &str) -> Self {
        match prefix.rsplit(' ').next() {
            Some("about") => Self::NounPhrase,
            Some("the") => Self::Noun,
            _ => Self::Clause,
        }
    }
}
