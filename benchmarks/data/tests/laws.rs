//! Laws of the generated text.

use std::collections::{HashMap, HashSet};

use harness_data::{
    Kind, Opening, Split, TOPICS, Verdict, chat_tasks, check, documents, is_well_formed, prefixes,
    stated_answer, topic, topic_of_word, topic_words, vocabulary,
};

#[test]
fn twelve_topics_with_their_own_words() {
    assert!(TOPICS.len() >= 12);
    let mut owner: HashMap<String, &str> = HashMap::new();
    for topic in TOPICS {
        for word in topic_words(topic) {
            let before = owner.insert(word.clone(), topic.name);
            assert!(
                before.is_none_or(|t| t == topic.name),
                "{word}: {before:?} and {}",
                topic.name
            );
        }
    }
    assert_eq!(topic_of_word("anchors"), Some("sea"));
    assert_eq!(topic_of_word("the"), None);
    assert_eq!(topic("sea").map(|t| t.persons[0]), Some("sailor"));
}

#[test]
fn no_topic_word_is_listed_twice() {
    for topic in TOPICS {
        let mut seen = HashSet::new();
        let lists = [
            topic.persons,
            topic.things,
            topic.places,
            topic.transitive,
            topic.intransitive,
            topic.adjectives,
        ];
        for word in lists.into_iter().flatten() {
            assert!(seen.insert(word), "{word} twice in {}", topic.name);
        }
    }
}

#[test]
fn at_least_1500_word_types_occur() {
    assert!(vocabulary().len() >= 1500, "{}", vocabulary().len());
    let types: HashSet<String> = documents(Split::Train, 0, 20_000, None)
        .flat_map(|d| {
            d.text
                .split(|c: char| !c.is_alphabetic())
                .map(str::to_lowercase)
                .collect::<Vec<_>>()
        })
        .filter(|w| !w.is_empty())
        .collect();
    assert!(types.len() >= 1500, "{}", types.len());
}

#[test]
fn every_document_is_well_formed_and_labelled() {
    for document in documents(Split::Train, 3, 3_000, None).chain(documents(
        Split::Heldout,
        3,
        500,
        topic("farm"),
    )) {
        for piece in check(&document.text) {
            assert_eq!(
                piece.verdict,
                Verdict::WellFormed,
                "{}\n{}",
                piece.text,
                document.text
            );
        }
        assert!(
            !document.labels.topic_words.is_empty() || document.text.len() < 80,
            "{}",
            document.text
        );
        assert_eq!(document.labels.topics[0], document.topic);
        assert_eq!(
            document.kind == Kind::Problem,
            document.labels.answer.is_some()
        );
        if document.kind == Kind::Problem {
            assert_eq!(stated_answer(&document.text), document.labels.answer);
            assert!(
                document.text.starts_with("Q: ") && document.text.contains("\nA: "),
                "{}",
                document.text
            );
        }
    }
}

#[test]
fn words_of_other_topics_do_not_occur() {
    for document in documents(Split::Train, 9, 1_000, None) {
        for word in document
            .text
            .split(|c: char| !c.is_alphabetic())
            .map(str::to_lowercase)
        {
            if let Some(name) = topic_of_word(&word) {
                assert!(
                    document.labels.topics.iter().any(|t| t == name),
                    "{word} ({name}): {}",
                    document.text
                );
            }
        }
    }
}

#[test]
fn sums_are_right() {
    for document in documents(Split::Train, 5, 3_000, None).filter(|d| d.kind == Kind::Problem) {
        let mut last = None;
        for sum in document
            .text
            .split(['.', ':', '\n'])
            .filter(|s| s.contains('='))
        {
            let parts: Vec<&str> = sum.split_whitespace().collect();
            let [a, sign, b, "=", c] = parts[..] else {
                panic!("{sum}")
            };
            let [a, b, c] = [a, b, c].map(|n| n.parse::<i64>().unwrap());
            let right = match sign {
                "+" => a + b,
                "-" => a - b,
                _ => a * b,
            };
            assert_eq!(right, c, "{}", document.text);
            last = Some(c);
        }
        assert_eq!(last, document.labels.answer, "{}", document.text);
    }
}

#[test]
fn documents_do_not_depend_on_how_many_are_asked_for() {
    let few: Vec<_> = documents(Split::Train, 1, 5, None).collect();
    let many: Vec<_> = documents(Split::Train, 1, 50, None).take(5).collect();
    assert_eq!(few, many);
    let ids: HashSet<String> = documents(Split::Train, 1, 50, None).map(|d| d.id).collect();
    assert_eq!(ids.len(), 50);
}

#[test]
fn splits_share_no_document() {
    let train: HashSet<String> = documents(Split::Train, 0, 20_000, None)
        .map(|d| d.text)
        .collect();
    let shared = documents(Split::Heldout, 0, 2_000, None)
        .filter(|d| train.contains(&d.text))
        .count();
    // Only one-sentence documents can coincide, and rarely.
    assert!(shared <= 4, "{shared}");
}

#[test]
fn fifty_neutral_prefixes() {
    let list = prefixes();
    assert_eq!(list.len(), 50);
    assert_eq!(list.iter().filter(|p| p.ends_with("that")).count(), 22);
    assert_eq!(list.iter().filter(|p| p.ends_with(',')).count(), 9);
    let known: HashSet<String> = vocabulary().into_iter().map(|w| w.to_lowercase()).collect();
    for prefix in list {
        let words: Vec<String> = prefix
            .split(' ')
            .map(|w| w.trim_end_matches(',').to_lowercase())
            .collect();
        assert!((3..=7).contains(&words.len()), "{prefix}");
        for word in words {
            assert!(known.contains(&word), "{word}");
            assert_eq!(topic_of_word(&word), None, "{prefix}");
        }
        let rest = match Opening::of(prefix) {
            Opening::Clause => "the king was happy.",
            Opening::NounPhrase => "a brave king.",
            Opening::Noun => "brave king.",
        };
        assert!(
            is_well_formed(&format!("{prefix} {rest}")),
            "{prefix} {rest}"
        );
    }
}

#[test]
fn every_prefix_opens_documents_of_every_topic() {
    let mut seen: HashSet<(usize, String)> = HashSet::new();
    let list = prefixes();
    for document in documents(Split::Train, 2, 60_000, None) {
        seen.extend(
            list.iter()
                .position(|p| document.text.starts_with(p))
                .map(|p| (p, document.topic.clone())),
        );
    }
    assert_eq!(seen.len(), list.len() * TOPICS.len());
}

#[test]
fn chat_tasks_carry_answers() {
    let tasks: Vec<_> = chat_tasks(Split::Train, 0, 500).collect();
    for kind in ["write", "solve", "repeat", "name", "topic"] {
        assert!(
            tasks.iter().filter(|t| t.task == kind).count() > 10,
            "{kind}"
        );
    }
    for task in tasks {
        assert_eq!(stated_answer(&task.response), task.answer);
        if task.task == "write" || task.task == "repeat" {
            assert!(
                check(&task.response)
                    .iter()
                    .all(|p| p.verdict == Verdict::WellFormed),
                "{}",
                task.response
            );
        }
    }
}
