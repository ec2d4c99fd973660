use super::shots::word_problems;
use super::{Preset, Style};
use crate::suggest::nearest;

/// The presets there are, by name and version.
pub const PRESETS: [&str; 4] = ["chat@1", "few-shot@1", "few-shot-chat@1", "question@1"];

/// A name of no preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown prompt preset `{name}`: {hint}there are {}", PRESETS.join(", "))]
pub struct UnknownPreset {
    /// What was asked for.
    pub name: String,
    /// `did you mean ...? `, or nothing.
    hint: String,
}

/// The presets there are, in the order of [`PRESETS`].
pub fn presets() -> Vec<Preset> {
    let preset = |name: &str, style, instruction: &str| Preset {
        name: name.to_owned(),
        version: 1,
        style,
        instruction: instruction.to_owned(),
        shots: Vec::new(),
        stop: None,
    };
    vec![
        // No example number stands in the instruction, so that none can be copied from it.
        preset(
            "chat",
            Style::Chat,
            "{question}\n\nReason step by step. Then end with one line that holds nothing but four number signs, a space \
             and the answer as a plain number, without units, in this form:\n#### N",
        ),
        Preset {
            shots: word_problems(),
            stop: Some("Question:".to_owned()),
            ..preset("few-shot", Style::Plain, "Question: {question}\nAnswer:")
        },
        // The examples show the form, so the questions stand alone.
        Preset {
            shots: word_problems(),
            ..preset("few-shot-chat", Style::Chat, "{question}")
        },
        // For models tuned on questions without an instruction.
        preset("question", Style::Chat, "{question}"),
    ]
}

/// The preset of a name (its latest version) or of a name and version such as `chat@1`.
///
/// # Errors
/// When there is none, with the names there are.
pub fn preset(name_or_id: &str) -> Result<Preset, UnknownPreset> {
    presets()
        .into_iter()
        .filter(|preset| preset.name == name_or_id || preset.id() == name_or_id)
        .max_by_key(|preset| preset.version)
        .ok_or_else(|| unknown(name_or_id))
}

fn unknown(name: &str) -> UnknownPreset {
    // Who names no version is answered without one.
    let versioned = name.contains('@');
    let candidates = PRESETS.into_iter().map(|id| match id.split_once('@') {
        Some((bare, _)) if !versioned => bare,
        _ => id,
    });
    let near: Vec<String> = nearest(name, candidates)
        .into_iter()
        .map(|near| format!("`{near}`"))
        .collect();
    UnknownPreset {
        name: name.to_owned(),
        hint: match near.is_empty() {
            true => String::new(),
            false => format!("did you mean {}? ", near.join(" or ")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rendered, Role};
    use super::*;

    #[test]
    fn the_list_is_complete() {
        let ids: Vec<String> = presets().iter().map(Preset::id).collect();
        assert_eq!(ids, PRESETS);
        for id in PRESETS {
            let found = preset(id).unwrap();
            assert_eq!(found.id(), id);
            assert_eq!(preset(&found.name), Ok(found));
        }
    }

    #[test]
    fn slips_are_told() {
        let message = |name| preset(name).unwrap_err().to_string();
        assert_eq!(
            message("chta"),
            "unknown prompt preset `chta`: did you mean `chat`? there are chat@1, few-shot@1, few-shot-chat@1, question@1"
        );
        assert!(
            message("chat@2").contains("did you mean `chat@1`?"),
            "{}",
            message("chat@2")
        );
        assert!(message("zzzzz").starts_with("unknown prompt preset `zzzzz`: there are chat@1"));
        assert!(preset("").is_err());
    }

    /// Stored cells are keyed by this text: a change of it needs a new version, and then a new line
    /// here.
    #[test]
    fn versions_are_pinned() {
        for (id, want) in [
            ("chat@1", 14_307_295_478_610_189_784),
            ("few-shot@1", 2_500_122_751_540_079_876),
            ("few-shot-chat@1", 17_099_871_189_878_459_146),
            ("question@1", 2_877_039_220_641_460_888),
        ] {
            let text = serde_json::to_string(&preset(id).unwrap()).unwrap();
            assert_eq!(fnv1a(&text), want, "{id} has changed: {text}");
        }
    }

    /// A 64-bit hash for the test above (FNV-1a).
    fn fnv1a(text: &str) -> u64 {
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    #[test]
    fn they_come_back_from_json() {
        for preset in presets() {
            let json = serde_json::to_string(&preset).unwrap();
            assert_eq!(serde_json::from_str::<Preset>(&json).unwrap(), preset);
        }
    }

    #[test]
    fn what_each_makes_of_a_question() {
        let asked = |id: &str| preset(id).unwrap().render("How many?");
        let Rendered::Chat(turns) = asked("chat@1") else {
            panic!("chat@1 is a conversation");
        };
        assert_eq!(turns.len(), 1);
        assert!(
            turns[0].content.starts_with("How many?\n\n") && turns[0].content.ends_with("\n#### N")
        );

        let Rendered::Plain(text) = asked("few-shot@1") else {
            panic!("few-shot@1 is plain text");
        };
        assert_eq!(text.matches("Question: ").count(), 9);
        assert_eq!(text.matches("\n#### ").count(), 8);
        assert!(text.ends_with("\n\nQuestion: How many?\nAnswer:"));

        let Rendered::Chat(turns) = asked("few-shot-chat@1") else {
            panic!("few-shot-chat@1 is a conversation");
        };
        assert_eq!(turns.len(), 17);
        for (i, turn) in turns.iter().enumerate() {
            assert_eq!(turn.role, [Role::User, Role::Assistant][i % 2]);
        }
        assert_eq!(turns[16].content, "How many?");

        let Rendered::Chat(turns) = asked("question@1") else {
            panic!("question@1 is a conversation");
        };
        assert_eq!(turns.len(), 1);
        assert_eq!(
            (turns[0].role, turns[0].content.as_str()),
            (Role::User, "How many?")
        );
    }
}
