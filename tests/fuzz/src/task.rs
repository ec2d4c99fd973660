//! Answers to word problems.

use harness_core::task::answer::{Extraction, Number, extract, gold};

/// Numbers are printed as they are read; what is read strictly is read flexibly; plain answers are
/// what a reader of three lines finds.
pub fn gsm8k(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let strict = extract(text, Extraction::Strict);
    let flexible = extract(text, Extraction::Flexible);
    // A gold answer is a strict one whose line holds no other number.
    if let Some(number) = gold(text) {
        assert_eq!(strict, Some(number));
    }
    for number in [strict, flexible].into_iter().flatten() {
        let printed = number.to_string();
        assert_eq!(printed.parse::<Number>(), Ok(number), "{printed}");
        let asked = format!("#### {printed}");
        assert_eq!(extract(&asked, Extraction::Strict), Some(number), "{asked}");
    }
    if strict.is_some() {
        assert_eq!(strict, flexible);
    }
    if let Some(plain) = plain(text) {
        assert_eq!(strict, Some(Number::from(plain)), "{text:?}");
    }
}

/// The answer of a text that ends as the dataset's do: `#### `, a whole number, nothing else.
fn plain(text: &str) -> Option<i64> {
    let (_, answer) = text.rsplit_once("\n#### ")?;
    let is_plain = !answer.is_empty() && answer.bytes().all(|byte| byte.is_ascii_digit());
    (is_plain && answer.len() <= 18).then(|| answer.parse().ok())?
}

/// Inputs to begin with.
pub mod seeds {
    use crate::texts;

    pub fn gsm8k() -> Vec<Vec<u8>> {
        texts(&[
            "16 - 3 - 4 = <<16-3-4=9>>9 eggs.\n9 * 2 = $<<9*2=18>>18\n#### 18",
            "#### 1,234.50",
            "#### -3/4",
            "#### 3+4=7",
            "The answer is $5.00.",
            "final answer: \\boxed{\\frac{1}{2}} and \\boxed{12}",
            "1e3 or 2.5E-2 or 12/25/2023 or 5_000 or 3rd",
            "#### 10:30",
            "#### \u{2212}7 %",
            "123456789012345678901234567890123456789",
        ])
    }
}
