//! A kind of bench is named in its own rooms, so that a new one touches no file of the others.
//!
//! Each folder of `harness/benches/src` that declares settings is a kind. Its rooms are the folders
//! and files anywhere that bear its name. Elsewhere only the lists of all kinds may name it, tests,
//! and the files of `kinds.txt`, which says why.
//!
//! A file names a kind by the word that its folder is called by. Some of these words mean something
//! else as well ([`ORDINARY`]); they count as a module (`mod word;`, `word::`) and in phrases such
//! as `word benches`. Where a kind declares a name that is not its folder's, the phrases count.

use super::finding::Finding;
use crate::source::Sources;

/// The kinds that a file may name, with why; those that it does not name are findings.
const ELSEWHERE: &str = include_str!("kinds.txt");

/// The lists that name all kinds, a line or a few for each, and this rule itself.
const LISTS: [&str; 5] = [
    "harness/benches/src/lib.rs",
    "harness/contract/src/stages/mod.rs",
    "harness/core/src/lib.rs",
    "harness/stages/src/lib.rs",
    "harness/xtask/src/tidy/kinds.rs",
];

/// Words that do not always name a kind: a steering policy is a plugin, texts are decoded, and
/// bench files form a catalogue.
const ORDINARY: [&str; 3] = ["steering", "decoding", "catalogue"];

/// A kind, or several that share a room.
struct Kind<'a> {
    folder: &'a str,
    /// The names it has in bench files and messages.
    names: Vec<&'a str>,
}

/// No file names a kind that is not its own, but for those that may.
pub fn check(sources: &Sources) -> Vec<Finding> {
    found(sources, ELSEWHERE)
}

fn found(sources: &Sources, elsewhere: &str) -> Vec<Finding> {
    let lines = elsewhere.lines().filter(|line| !line.starts_with('#'));
    let mut allowed: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(' ')).collect();
    let mut findings = Vec::new();
    for kind in kinds(sources) {
        for (path, text) in sources.rust_files() {
            let is_own = path.contains("test") || path.contains(&format!("/{}", kind.folder));
            let is_elsewhere = path.starts_with("harness/") && !is_own && !LISTS.contains(&path);
            if !is_elsewhere || !kind.is_named(text) {
                continue;
            }
            match allowed.iter().position(|one| *one == (kind.folder, path)) {
                Some(at) => drop(allowed.remove(at)),
                None => findings.push(Finding {
                    place: path.to_owned(),
                    what: format!(
                        "it names the kind `{}`, and is none of its rooms",
                        kind.folder
                    ),
                    cure: "say it in the kind's own folder, or ask the kind through its trait"
                        .to_owned(),
                }),
            }
        }
    }
    findings.extend(allowed.into_iter().map(|(kind, path)| Finding {
        place: "harness/xtask/src/tidy/kinds.txt".to_owned(),
        what: format!("{path} does not name the kind `{kind}` any more"),
        cure: "take its line out".to_owned(),
    }));
    findings
}

/// The kinds, as their folders declare them.
fn kinds(sources: &Sources) -> Vec<Kind<'_>> {
    let product = (sources.rust_files()).filter(|(path, _)| !path.contains("test"));
    product.filter_map(kind).collect()
}

/// The kind that declares its settings in a file.
fn kind<'a>((path, text): (&'a str, &'a str)) -> Option<Kind<'a>> {
    let folder = path.strip_prefix("harness/benches/src/")?;
    let declared = text.lines().map(str::trim);
    let names = declared.filter_map(|line| line.strip_prefix("name: \"")?.strip_suffix("\","));
    Some(Kind {
        folder: folder.strip_suffix("/settings.rs")?,
        names: names.collect(),
    })
}

impl Kind<'_> {
    fn is_named(&self, text: &str) -> bool {
        let lower = text.to_ascii_lowercase();
        let is_module = |before: &str, after: &str| {
            before.ends_with("mod ") && after.starts_with(';') || after.starts_with("::")
        };
        let is_phrase = |_: &str, after: &str| {
            let phrases = [" bench", " run", " row"];
            let after = phrases.iter().find_map(|phrase| after.strip_prefix(phrase));
            let after = after.map(|after| after.trim_start_matches("es").trim_start_matches('s'));
            after.is_some_and(|after| !after.starts_with(is_part))
        };
        let by_word = match ORDINARY.contains(&self.folder) {
            true => stands(text, self.folder, is_module) || stands(&lower, self.folder, is_phrase),
            false => stands(&lower, self.folder, |_, _| true),
        };
        by_word
            || self
                .names
                .iter()
                .any(|name| stands(&lower, name, is_phrase))
    }
}

/// Whether a word stands in a text whole, between such texts.
fn stands(text: &str, word: &str, is_such: impl Fn(&str, &str) -> bool) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !before.ends_with(is_part) && !after.starts_with(is_part) && is_such(before, after)
    })
}

/// Whether a letter is part of a word of code.
fn is_part(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: &[(&str, &str)] = &[
        (
            "harness/benches/src/mazes/settings.rs",
            "    name: \"maze\",\n",
        ),
        (
            "harness/benches/src/steering/settings.rs",
            "name: \"steering\",\n",
        ),
        ("harness/benches/src/lib.rs", "mod mazes; mod steering;"),
        ("harness/benches/src/tests/settings.rs", "name: \"x\","),
        ("harness/benches/tests/it.rs", "mazes"),
        ("harness/engine/src/mazes.rs", "mazes"),
        ("harness/plan/src/a.rs", "match kind { Mazes => 1 }"),
        ("harness/plan/src/b.rs", "n_mazes, MazesBench, every maze"),
        ("harness/plan/src/c.rs", "// Of maze benches."),
        (
            "harness/plan/src/d.rs",
            "a steering policy, `steering`, Steering::of, mod_steering; x_steering::y",
        ),
        ("harness/plan/src/e.rs", "crate::steering::KIND"),
        ("harness/plan/src/f.rs", "/// Of a steering run."),
        ("plugins/x/src/lib.rs", "mazes"),
    ];

    fn places(elsewhere: &str) -> Vec<String> {
        let findings = found(&Sources::of(SOURCES), elsewhere);
        findings.into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn a_kind_named_outside_its_rooms_is_found() {
        let files = ["a", "c", "e", "f"].map(|file| format!("harness/plan/src/{file}.rs"));
        assert_eq!(places(""), files);
    }

    #[test]
    fn the_list_of_exceptions_only_shrinks() {
        let allowed = "# Why.\nmazes harness/plan/src/a.rs\nsteering harness/plan/src/e.rs\n";
        assert_eq!(places(allowed).len(), 2);
        let stale = places(&format!("{allowed}mazes harness/plan/src/b.rs\n"));
        assert_eq!(stale.last().unwrap(), "harness/xtask/src/tidy/kinds.txt");
        assert_eq!(stale.len(), 3);
    }
}
