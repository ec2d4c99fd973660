use super::Shot;

/// Eight word problems with their workings, each ending in `#### N`.
const PROBLEMS: [(&str, &str); 8] = [
    (
        "Lena's bookcase has 4 shelves with 12 books on each. She gives 9 books to her cousin and then buys 5 new ones. How many books does she have now?",
        "The shelves hold 4 * 12 = 48 books.\n\
         Without the gift she has 48 - 9 = 39 books.\n\
         With the new ones she has 39 + 5 = 44 books.\n\
         #### 44",
    ),
    (
        "A ferry carries 35 cars a trip and makes 6 trips a day. On Monday one trip is cancelled because of fog. How many cars can it carry on Monday?",
        "On Monday it makes 6 - 1 = 5 trips.\n\
         It can carry 5 * 35 = 175 cars.\n\
         #### 175",
    ),
    (
        "A baker makes 60 rolls. He sells a quarter of them before noon and 28 more after noon, at $2 a roll. How many dollars does he take in?",
        "Before noon he sells 60 / 4 = 15 rolls.\n\
         Over the day he sells 15 + 28 = 43 rolls.\n\
         He takes in 43 * 2 = $86.\n\
         #### 86",
    ),
    (
        "Omar cycles for 3 hours at 18 kilometres an hour and then for 2 hours at 14 kilometres an hour. How many kilometres does he cycle?",
        "The first part is 3 * 18 = 54 kilometres.\n\
         The second part is 2 * 14 = 28 kilometres.\n\
         Together that is 54 + 28 = 82 kilometres.\n\
         #### 82",
    ),
    (
        "A box holds 250 nails. A carpenter uses 40% of the box for a fence and 35 nails for a gate. How many nails are left in the box?",
        "The fence takes 250 * 40 / 100 = 100 nails.\n\
         After the fence 250 - 100 = 150 nails are left.\n\
         After the gate 150 - 35 = 115 nails are left.\n\
         #### 115",
    ),
    (
        "A theatre has 45 rows of 30 seats, and a ticket costs $12. One evening 150 seats stay empty. How many dollars were paid for the others?",
        "There are 45 * 30 = 1350 seats.\n\
         Of these 1350 - 150 = 1200 are sold.\n\
         The tickets cost 1200 * 12 = $14400.\n\
         #### 14400",
    ),
    (
        "Nadia is three times as old as her brother Ilya. In 6 years their ages will add up to 48. How old is Ilya now?",
        "In 6 years they gain 2 * 6 = 12 years together.\n\
         Now their ages add up to 48 - 12 = 36.\n\
         That is Ilya's age 3 + 1 = 4 times.\n\
         So Ilya is 36 / 4 = 9 years old.\n\
         #### 9",
    ),
    (
        "A tank for 600 litres already holds 120 litres. One pump adds 25 litres a minute and another adds 15 litres a minute. After how many minutes is the tank full?",
        "Together the pumps add 25 + 15 = 40 litres a minute.\n\
         The tank lacks 600 - 120 = 480 litres.\n\
         It is full after 480 / 40 = 12 minutes.\n\
         #### 12",
    ),
];

/// The worked examples of the presets that have some.
pub(super) fn word_problems() -> Vec<Shot> {
    let shot = |(question, answer): (&str, &str)| Shot {
        question: question.to_owned(),
        answer: answer.to_owned(),
    };
    PROBLEMS.into_iter().map(shot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::answer::{Extraction, Number, extract, gold};

    /// The answers, worked out again from the questions.
    const ANSWERS: [i64; 8] = [
        4 * 12 - 9 + 5,
        (6 - 1) * 35,
        (60 / 4 + 28) * 2,
        3 * 18 + 2 * 14,
        250 - 250 * 40 / 100 - 35,
        (45 * 30 - 150) * 12,
        (48 - 2 * 6) / (3 + 1),
        (600 - 120) / (25 + 15),
    ];

    #[test]
    fn answers_are_right() {
        for (shot, want) in word_problems().iter().zip(ANSWERS) {
            let want = Some(Number::from(want));
            assert_eq!(gold(&shot.answer), want, "{}", shot.question);
            assert_eq!(
                extract(&shot.answer, Extraction::Flexible),
                want,
                "{}",
                shot.question
            );
        }
    }

    /// The value of `a op b op c`, from left to right, and how many operations it has.
    fn value(sum: &str) -> (f64, usize) {
        let mut words = sum.split_whitespace();
        let number = |word: Option<&str>| word.unwrap().parse::<f64>().unwrap();
        let (mut value, mut operations) = (number(words.next()), 0);
        while let Some(operator) = words.next() {
            let next = number(words.next());
            operations += 1;
            value = match operator {
                "+" => value + next,
                "-" => value - next,
                "*" => value * next,
                "/" => value / next,
                _ => panic!("`{operator}` in `{sum}`"),
            };
        }
        (value, operations)
    }

    #[test]
    fn workings_are_right() {
        for shot in word_problems() {
            let mut last = None;
            let (working, answer) = shot.answer.split_once("\n#### ").unwrap();
            for line in working.lines() {
                let (left, right) = line.split_once(" = ").unwrap();
                let sum = &left[left.rfind(|c: char| c.is_alphabetic()).unwrap() + 1..];
                let result = right.trim_start_matches('$');
                let end = result
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(result.len());
                let result: f64 = result[..end].parse().unwrap();
                let (value, operations) = value(sum);
                assert!(operations > 0, "{line}");
                assert_eq!(value, result, "{line}");
                last = Some(result);
            }
            assert_eq!(last, answer.parse().ok(), "{}", shot.question);
        }
    }
}
