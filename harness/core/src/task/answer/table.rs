//! What is read from many texts, and laws of any text.

use proptest::prelude::*;

use super::{Extraction, Number, extract, gold};

/// Text, strict answer, flexible answer; `""` is no answer.
const TEXTS: &[(&str, &str, &str)] = &[
    // The dataset's form.
    ("She has 3 + 4 = 7 apples.\n#### 7", "7", "7"),
    ("#### 7", "7", "7"),
    ("####7", "7", "7"),
    ("####    7   ", "7", "7"),
    ("##### 7", "7", "7"),
    ("### 7", "", "7"),
    ("#### 7.", "7", "7"),
    ("#### 7 apples", "7", "7"),
    ("#### 7apples", "7", "7"),
    ("#### 7 apples in 2 boxes", "7", "7"),
    ("#### 7\n\nThat took 3 steps.", "7", "7"),
    ("#### 7\n#### 8", "8", "8"),
    ("#### 7 #### 8", "8", "8"),
    ("#### **7**", "7", "7"),
    ("**#### 7**", "7", "7"),
    ("#### 18 18 18", "18", "18"),
    ("#### 18</s>", "18", "18"),
    ("#### 018", "18", "18"),
    ("#### 18.0", "18", "18"),
    ("#### 18.00", "18", "18"),
    // Money, separators, percent, decimals.
    ("#### $18", "18", "18"),
    ("#### $ 18", "18", "18"),
    ("#### $5.00", "5", "5"),
    ("#### \\$5", "5", "5"),
    ("#### €5.25", "5.25", "5.25"),
    ("#### 1,000", "1000", "1000"),
    ("#### $80,000.50", "80000.5", "80000.5"),
    ("#### 1,450,000", "1450000", "1450000"),
    ("#### 25%", "25", "25"),
    ("#### .5", "0.5", "0.5"),
    ("#### 0.125", "0.125", "0.125"),
    ("#### 1e3", "1000", "1000"),
    // Signs.
    ("#### -7", "-7", "-7"),
    ("####-7", "-7", "-7"),
    ("#### \u{2212}7", "-7", "-7"),
    ("#### -$7", "-7", "-7"),
    ("#### $-7.50", "-7.5", "-7.5"),
    ("#### - 7", "", "7"),
    ("2-1=1", "", "1"),
    ("It fell to -3", "", "-3"),
    ("It fell from 5 to\u{2212}3", "", "3"),
    ("Pages 10-15", "", ""),
    // A marker without a plain number.
    ("####", "", ""),
    ("She has 12 apples. ####", "", "12"),
    ("She has 12 apples. ####\n13", "", "13"),
    ("#### 7\n####", "", "7"),
    ("#### N", "", ""),
    ("#### the answer is 7", "", "7"),
    ("#### x = 7", "", "7"),
    ("#### 3 + 4 = 7", "", "7"),
    ("#### 3+4=7. That leaves 9", "", "7"),
    ("#### 3, 4", "", ""),
    ("#### 3,4", "", ""),
    ("#### 10:30", "", ""),
    ("#### 1.2.3", "", ""),
    ("#### 5-6", "", ""),
    ("#### 5\u{2013}6", "", ""),
    ("#### 5 or 6", "", ""),
    ("#### 18 (5 left)", "18", "18"),
    ("#### 25% (5 of 20)", "25", "25"),
    ("#### (3) + (4) = (7)", "", "7"),
    ("#### 118 000", "118000", "118000"),
    // Fractions and what cannot be read.
    ("#### 3/4", "0.75", "0.75"),
    ("#### 1 3/4", "1.75", "1.75"),
    ("#### 1/3", "", ""),
    ("The answer is 4. #### 1/3", "", ""),
    ("So 4 eat 1/3", "", ""),
    ("Born on 12/25/2023", "", ""),
    ("#### 5\u{b2}", "", ""),
    ("#### 1234567890123456789012345678901234567", "", ""),
    ("5 and 1234567890123456789012345678901234567", "", ""),
    // Words with digits, other digits.
    ("#### B12", "", ""),
    ("Take 5 of vitamin B12", "", "5"),
    ("He took 4 turns and came 3rd", "", "4"),
    ("0x1f and 3x4", "", ""),
    ("#### \u{667}", "", ""),
    ("\u{667} \u{ff17}", "", ""),
    ("答案是18个", "", "18"),
    // Statements.
    ("The answer is 18. It took 3 steps.", "", "18"),
    ("The answer is: $1,800. Check: 5", "", "1800"),
    ("THE ANSWER IS **18**! 5", "", "18"),
    ("So the answer is\n\n18\n\n(5 left)", "", "18"),
    ("Final answer: 18 (after 3 days)", "", "18"),
    ("The final answer is 18, not 5", "", "18"),
    ("The answer is 16 - 3 - 4 = 9 eggs, of 16", "", "9"),
    ("The answer is 5. No, the answer is 6. 7", "", "6"),
    ("The answer is 5. The answer is below 9", "", "5"),
    ("The answer is not known, 3 or 4", "", ""),
    ("Answer: 16 - 3 = 13. 13 * 2 = 26", "", "26"),
    ("The answer is $\\boxed{18}$ of 20", "", "18"),
    ("\\boxed{18} after 3 steps", "", "18"),
    ("\\boxed{\\$1,800.50} of 5", "", "1800.5"),
    ("\\boxed{18\\text{ dollars}} of 5", "", "18"),
    ("\\boxed{x = -18} of 5", "", "-18"),
    ("\\boxed{\\frac{3}{4}} of 5", "", "0.75"),
    ("\\boxed{} of 5", "", "5"),
    ("\\boxed{none} \\boxed{4} 5", "", "4"),
    ("\\boxed{4} and then the answer is 6", "", "6"),
    ("\\boxed{4} but #### 6", "6", "6"),
    // Calculator marks.
    ("16 - 3 = <<16-3=13>>13 eggs", "", "13"),
    ("makes $<<9*2=18>>18 daily", "", "18"),
    ("makes <<9*2=18>> dollars", "", "18"),
    ("13 eggs at 2 are <<13*2", "", "2"),
    ("The answer is <<9*2=18>>18 of 20", "", "18"),
    ("#### <<9*2=18>>18", "18", "18"),
    ("8-<<1+2=3>>3", "", ""),
    // LaTeX.
    ("\\boxed{1{,}234} of 5", "", "1234"),
    ("\\boxed{1,\\!234} of 5", "", "1234"),
    ("\\boxed{1\\,234} of 5", "", "1234"),
    ("\\boxed{\\$1\\,234\\,567} of 5", "", "1234567"),
    ("#### 1{,}234", "1234", "1234"),
    ("\\boxed{\\text{18 dollars}} of 5", "", "18"),
    ("\\boxed{\\mathbf{18}} of 5", "", "18"),
    ("\\boxed{18\\ \\mathrm{cm}^{2}} of 5", "", "18"),
    ("\\boxed{18\\%} of 5", "", "18"),
    ("\\boxed{\\dfrac{1}{2}} of 5", "", "0.5"),
    ("\\boxed{-\\tfrac12} of 5", "", "-0.5"),
    ("\\boxed{3\\frac{1}{2}} of 5", "", "3.5"),
    ("\\boxed{\\frac{1}{3}} of 5", "", ""),
    ("\\boxed{\\frac{x}{4}} of 5", "", ""),
    ("\\boxed{2\\sqrt{3}} of 5", "", ""),
    ("\\boxed{2\\pi} of 5", "", ""),
    ("\\boxed{1.5 \\times 10^{3}} of 5", "", "1500"),
    ("\\boxed{16 - 3 = 13} of 5", "", "13"),
    ("\\boxed{3 \\text{ or } 4} of 5", "", ""),
    ("\\boxed{3, 4} of 5", "", ""),
    ("\\boxed{7 \\text{ in } 2} of 5", "", ""),
    ("\\boxed{18 \\text{ (that is 18.0)}} of 5", "", "18"),
    ("\\[ 9 \\times 2 = \\boxed{18} \\] dollars for 5", "", "18"),
    ("So \\(x = 18\\).", "", "18"),
    // The sentence goes on after the number.
    ("The answer is 18, 2 more than 16.", "", "18"),
    ("#### 18, 2 more than 16", "", "18"),
    ("The answer is 18; 2 are left.", "", "18"),
    ("The answer is 18 eggs, 2 more than 16.", "", "18"),
    ("The answer is 18 \u{2014} 2 more than 16.", "", "18"),
    ("The answer is 18 \u{2013} 2 more than 16.", "", "18"),
    ("The answer is 18 eggs - 2 more than 16.", "", "18"),
    ("The answer is **18**, 2 more than **16**.", "", "18"),
    ("The answer is $18, 2 dollars more than $16.", "", "18"),
    ("The answer is 18 (16 + 2).", "", "18"),
    ("The answer is 18 because 20 - 2 = 18, not 5", "", "18"),
    ("The answer is 18. 5 are left.", "", "18"),
    ("The answer is about 18, 2 fewer than 20", "", "18"),
    ("The answer is equal to 18 of 20", "", "18"),
    ("The answer is x = 18 of 20", "", "18"),
    ("Answer: 18. It took 3 steps.", "", "18"),
    ("**Answer:** $18 dollars\n\nOf 20, 2 are left.", "", "18"),
    ("Answer: 5 apples cost 10 dollars, so one costs 2", "", "2"),
    // Chains of equals signs.
    ("The answer is 18 = 16 + 2.", "", "18"),
    ("The answer is 16 eggs - 3 eggs = 13 eggs of 20", "", "13"),
    ("The answer is 9 * 2 dollars = 18 dollars of 20", "", "18"),
    ("#### 16 - 3\n= 13", "", "13"),
    ("Total: 3 x 6 = 18", "", "18"),
    ("Total: 18 = 3 \u{d7} 6", "", "18"),
    ("16 eggs - 3 eggs = 13 eggs", "", "13"),
    ("= 18 cm^2", "", "18"),
    ("The answer is 3 + 4", "", ""),
    ("The answer is 3 times 4, which is 12", "", ""),
    // Several numbers.
    ("3 or 4", "", ""),
    ("The answer is 3 or 4.", "", ""),
    ("The answer is 3 apples or 4 apples.", "", ""),
    ("It is either $3 or $4", "", ""),
    ("The answer is 18, or 18.0", "", "18"),
    ("#### 18 or 18.0", "", "18"),
    ("The answer is 3 and 4.", "", ""),
    ("The answer is 3 to 4 of 5", "", ""),
    ("The answer is between 3 and 4", "", "4"),
    ("The answer is 3-4 of 5", "", ""),
    ("The answer is 10:30 of 5 mornings", "", ""),
    ("#### 18 5", "", ""),
    ("The answer is 5 or 6. No, the answer is 7, of 9", "", "7"),
    ("The answer is 7. No, the answer is 5 or 6", "", ""),
    // Units, mixed numbers, blanks in numbers, other notations.
    ("The answer is 18 cm^2, of 20", "", "18"),
    ("#### 18 cm^2", "18", "18"),
    ("#### 18 m\u{b2}", "18", "18"),
    ("It moves 18 m/s^2", "", "18"),
    ("#### 5^2", "", ""),
    ("#### 3 1/2", "3.5", "3.5"),
    ("#### -3 1/2 hours", "-3.5", "-3.5"),
    ("#### 3\u{bd}", "3.5", "3.5"),
    ("He ate 3 and 1/2 cakes", "", "3.5"),
    ("#### 1 1/3", "", ""),
    ("#### 10 000", "10000", "10000"),
    ("#### $1 234.50", "1234.5", "1234.5"),
    ("#### 1\u{202f}234\u{202f}567", "1234567", "1234567"),
    ("#### 1'234", "1234", "1234"),
    ("#### 180 180 180", "180", "180"),
    ("#### 1 000 00", "", ""),
    ("#### 1.234,5", "", ""),
    ("#### 3,50", "", ""),
    ("The answer is 1.5 \u{d7} 10^3 of 5", "", "1500"),
    ("#### 2.5e-1", "0.25", "0.25"),
    ("#### negative 7", "-7", "-7"),
    ("The answer is \u{2212}7, 2 less than \u{2212}5.", "", "-7"),
    ("The answer is \u{b1}7", "", ""),
    ("#### US dollars 18", "", "18"),
    ("#### 18 \u{20ac}", "18", "18"),
    ("#### \u{20a9}1,000", "1000", "1000"),
    // The last number, or none.
    ("First 3, then 12 apples", "", "12"),
    ("He pays 3.50.", "", "3.5"),
    ("He ran 5km", "", "5"),
    ("", "", ""),
    ("none", "", ""),
    ("twelve", "", ""),
    ("$-. ,%", "", ""),
];

fn read(text: &str, how: Extraction) -> String {
    extract(text, how).map_or_else(String::new, |n| n.to_string())
}

#[test]
fn texts_give_their_answers() {
    assert!(TEXTS.len() >= 200);
    let wrong: Vec<String> = TEXTS
        .iter()
        .map(|&(text, strict, flexible)| {
            let got = (
                read(text, Extraction::Strict),
                read(text, Extraction::Flexible),
            );
            (text, (strict.to_owned(), flexible.to_owned()), got)
        })
        .filter(|(_, want, got)| want != got)
        .map(|(text, want, got)| format!("{text:?}: {got:?}, not {want:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn long_texts_are_read_in_a_moment() {
    for piece in [
        "1,",
        "1/",
        "<<1",
        "<<1=",
        "9",
        "\\boxed{",
        "answer is ",
        "#### 1-",
        "a1_",
        "-$",
        "..1",
        "1 ",
        "1 222 ",
        "1 1/2 ",
        "\\frac{",
        "\\frac{1}{",
        "{",
        "1 or ",
        "1 and ",
        "answer: 1 ",
        "answer is \\boxed{1",
        "\u{bd}",
        "1^",
        "negative ",
    ] {
        let text = piece.repeat(200_000 / piece.len());
        let begin = std::time::Instant::now();
        // The second does not end with what is repeated, so that no place ends the reading early.
        for text in [&text, &format!("{text} b c")] {
            for how in Extraction::ALL {
                extract(text, how);
            }
        }
        // Reading is linear and takes milliseconds; in a time that grows with the square it would
        // take minutes.
        assert!(begin.elapsed().as_secs() < 10, "{piece}");
    }
}

#[test]
fn names() {
    for how in Extraction::ALL {
        assert_eq!(how.name().parse(), Ok(how));
        assert_eq!(serde_json::to_string(&how).unwrap(), format!("\"{how}\""));
    }
    let error = "loose".parse::<Extraction>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown way to read answers `loose`: strict or flexible"
    );
}

/// The digits of a whole number in groups of three.
fn with_commas(mut value: u64) -> String {
    let mut groups = Vec::new();
    while value >= 1000 {
        groups.push(format!("{:03}", value % 1000));
        value /= 1000;
    }
    groups.push(value.to_string());
    groups.reverse();
    groups.join(",")
}

proptest! {
    #[test]
    fn any_text_is_read(text in any::<String>()) {
        extract(&text, Extraction::Strict);
        extract(&text, Extraction::Flexible);
    }

    #[test]
    fn texts_of_what_matters_are_read(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "####", "<<", ">>", "answer is ", "\\boxed{", "}", "1", "27", "000", ",", ".", "-", "\u{2212}", "/", "$", "\\",
            "%", "=", " ", "\n", "e", "E+", "st", "_", "x", "\u{b2}", "\u{663}", "é", "个", "\\frac", "{", "*", ":", "^", " or ", " and ",
            "answer: ", "\u{bd}", "\u{2009}", "\\text{", "\\,", " \u{d7} 10^", "negative ", "\u{2014}", "\u{b1}", "to",
            "99999999999999999999",
        ]), 0..24)
    ) {
        let text = pieces.concat();
        let strict = extract(&text, Extraction::Strict);
        let flexible = extract(&text, Extraction::Flexible);
        // A strict answer is also the flexible one.
        prop_assert!(strict.is_none() || strict == flexible, "{:?}: {:?}, {:?}", text, strict, flexible);
    }

    #[test]
    fn what_is_written_is_read(text in "-?[0-9]{1,18}(\\.[0-9]{1,18})?", unit in "( [a-z]{1,8})?\\.?") {
        let number: Number = text.parse().unwrap();
        prop_assert_eq!(gold(&format!("so 5\n#### {number}{unit}")), Some(number));
        prop_assert_eq!(extract(&format!("so 5, {number}{unit}"), Extraction::Flexible), Some(number));
        prop_assert_eq!(gold(&format!("#### {text}")), Some(number));
    }

    #[test]
    fn commas_change_nothing(value in prop_oneof![0u64..20_000, any::<u64>()], fraction in "(\\.[0-9]{1,6})?", sign in "-?") {
        let plain = gold(&format!("#### {sign}{value}{fraction}"));
        prop_assert!(plain.is_some());
        let separated = format!("{sign}{}{fraction}", with_commas(value));
        prop_assert_eq!(gold(&format!("#### {separated}")), plain);
        prop_assert_eq!(extract(&format!("it is {separated}."), Extraction::Flexible), plain);
    }
}

/// A gold answer is one number, or its row is refused.
#[test]
fn gold_answers_are_single_numbers() {
    let read = |text: &str| gold(text).map(|number| number.to_string());
    for (text, want) in [
        ("So 5\n#### 18", Some("18")),
        ("So 5\n#### $1,234.50\n", Some("1234.5")),
        ("#### 10 000 dollars", Some("10000")),
        ("#### 18 cm^2", Some("18")),
        ("#### 3 1/2", Some("3.5")),
        ("#### 18 18", Some("18")),
        ("#### 18\nThat took 3 steps.", Some("18")),
        ("#### 3 or 4", None),
        ("#### 3 and 4", None),
        ("#### 3, 4", None),
        ("#### 3-4", None),
        ("#### 3 to 4", None),
        ("#### 10:30", None),
        ("#### 3 apples or 4", None),
        ("#### 7 apples in 2 boxes", None),
        ("#### 18 (5 left)", None),
        ("#### 5 dollars and 50 cents", None),
        ("#### 1.234,5", None),
        ("#### 1/3", None),
        ("#### eighteen", None),
        ("18", None),
    ] {
        assert_eq!(read(text).as_deref(), want, "{text}");
    }
}
