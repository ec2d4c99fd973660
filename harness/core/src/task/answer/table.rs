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
    ("Pages 10-15", "", "15"),
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
    ("#### 3, 4", "", "4"),
    ("#### 3,4", "", "4"),
    ("#### 10:30", "", "30"),
    ("#### 1.2.3", "", "3"),
    ("#### 5-6", "", "6"),
    ("#### 5\u{2013}6", "", "6"),
    ("#### 5 or 6", "5", "5"),
    ("#### 18 (5 left)", "18", "18"),
    ("#### 25% (5 of 20)", "25", "25"),
    ("#### (3) + (4) = (7)", "", "7"),
    ("#### 118 000", "118", "118"),
    // Fractions and what cannot be read.
    ("#### 3/4", "0.75", "0.75"),
    ("#### 1 3/4", "", "0.75"),
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
    ("The answer is not known, 3 or 4", "", "4"),
    ("Answer: 16 - 3 = 13. 13 * 2 = 26", "", "26"),
    ("The answer is $\\boxed{18}$ of 20", "", "18"),
    ("\\boxed{18} after 3 steps", "", "18"),
    ("\\boxed{\\$1,800.50} of 5", "", "1800.5"),
    ("\\boxed{18\\text{ dollars}} of 5", "", "18"),
    ("\\boxed{x = -18} of 5", "", "-18"),
    ("\\boxed{\\frac{3}{4}} of 5", "", ""),
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
    ("8-<<1+2=3>>3", "", "3"),
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
    assert!(TEXTS.len() >= 60);
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
    ] {
        let text = piece.repeat(200_000 / piece.len());
        let begin = std::time::Instant::now();
        for how in Extraction::ALL {
            extract(&text, how);
        }
        // Reading is linear and takes milliseconds; in a time that grows with the square it would take minutes.
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
            "%", "=", " ", "\n", "e", "E+", "st", "_", "x", "\u{b2}", "\u{663}", "é", "个", "frac", "*", ":",
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
