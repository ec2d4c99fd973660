use serde::{Deserialize, Serialize};

/// What a preset's instruction holds in place of the question.
const PLACE: &str = "{question}";

/// A way to put questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Name, e.g. `chat`.
    pub name: String,
    /// Version, from 1.
    pub version: u32,
    /// Whether the model's chat template is put around it.
    pub style: Style,
    /// The text around a question. Its first `{question}` is replaced by the question; without one
    /// the question follows it. Nothing else in it, and nothing in a question, is interpreted.
    pub instruction: String,
    /// Worked examples before the question.
    pub shots: Vec<Shot>,
    /// What a reply ends before, for models that go on with a question of their own.
    pub stop: Option<String>,
}

/// Whether a prompt is text to continue or messages to reply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// Messages, which the model's chat template makes a text of.
    Chat,
    /// Text, given to the model as it is.
    Plain,
}

/// A worked example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shot {
    pub question: String,
    /// Its answer, with the working and a last line `#### N`.
    pub answer: String,
}

/// A question as a model gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rendered {
    /// Text to continue.
    Plain(String),
    /// Messages to reply to; the last is the user's.
    Chat(Vec<Turn>),
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// `user` or `assistant`, as chat templates name them.
    pub const fn name(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

impl Preset {
    /// Name and version: `chat@1`.
    pub fn id(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// The prompt for a question. In plain text each worked example is followed by an empty line,
    /// and its answer stands after one space where the model's is wanted.
    pub fn render(&self, question: &str) -> Rendered {
        match self.style {
            Style::Plain => {
                let shots = self
                    .shots
                    .iter()
                    .map(|shot| format!("{} {}\n\n", self.ask(&shot.question), shot.answer));
                Rendered::Plain(shots.chain([self.ask(question)]).collect())
            }
            Style::Chat => {
                let turn = |role, content| Turn { role, content };
                let shots = self.shots.iter().flat_map(|shot| {
                    [
                        turn(Role::User, self.ask(&shot.question)),
                        turn(Role::Assistant, shot.answer.clone()),
                    ]
                });
                let last = turn(Role::User, self.ask(question));
                Rendered::Chat(shots.chain([last]).collect())
            }
        }
    }

    /// The part of a model's text that is its reply: what comes before the preset's
    /// [`stop`](Preset::stop).
    pub fn reply<'t>(&self, text: &'t str) -> &'t str {
        match self.stop.as_deref().and_then(|stop| text.find(stop)) {
            Some(end) => &text[..end],
            None => text,
        }
    }

    fn ask(&self, question: &str) -> String {
        let (before, after) = self
            .instruction
            .split_once(PLACE)
            .unwrap_or((&self.instruction, ""));
        [before, question, after].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn two_shots(style: Style, instruction: &str) -> Preset {
        let shot = |question: &str, answer: &str| Shot {
            question: question.to_owned(),
            answer: answer.to_owned(),
        };
        Preset {
            name: "test".to_owned(),
            version: 3,
            style,
            instruction: instruction.to_owned(),
            shots: vec![shot("1+1?", "#### 2"), shot("2+2?", "#### 4")],
            stop: Some("Q:".to_owned()),
        }
    }

    #[test]
    fn plain_text() {
        let preset = two_shots(Style::Plain, "Q: {question}\nA:");
        assert_eq!(preset.id(), "test@3");
        assert_eq!(
            preset.render("3+3?"),
            Rendered::Plain("Q: 1+1?\nA: #### 2\n\nQ: 2+2?\nA: #### 4\n\nQ: 3+3?\nA:".to_owned())
        );
    }

    #[test]
    fn conversation() {
        let Rendered::Chat(turns) = two_shots(Style::Chat, "Say: {question}").render("3+3?") else {
            panic!("a chat preset gives messages");
        };
        let said: Vec<(&str, &str)> = turns
            .iter()
            .map(|turn| (turn.role.name(), turn.content.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                ("user", "Say: 1+1?"),
                ("assistant", "#### 2"),
                ("user", "Say: 2+2?"),
                ("assistant", "#### 4"),
                ("user", "Say: 3+3?")
            ]
        );
    }

    #[test]
    fn questions_are_data() {
        let preset = Preset {
            shots: Vec::new(),
            ..two_shots(Style::Plain, "<{question}|{question}>")
        };
        for question in ["{question}", "{{ 7 * 7 }} {% raw %}", "{0} %s $1 \\1", ""] {
            let want = format!("<{question}|{{question}}>");
            assert_eq!(preset.render(question), Rendered::Plain(want));
        }
        let nowhere = Preset {
            instruction: "Solve ".to_owned(),
            ..preset
        };
        assert_eq!(nowhere.render("it"), Rendered::Plain("Solve it".to_owned()));
    }

    #[test]
    fn replies_end_before_the_next_question() {
        let preset = two_shots(Style::Plain, "Q: {question}\nA:");
        assert_eq!(preset.reply(" #### 6\n\nQ: 4+4?\nA: #### 8"), " #### 6\n\n");
        assert_eq!(preset.reply("#### 6"), "#### 6");
        assert_eq!(preset.reply("Q: 4+4?"), "");
        let endless = Preset {
            stop: None,
            ..preset
        };
        assert_eq!(endless.reply("#### 6 Q: 1"), "#### 6 Q: 1");
    }

    #[test]
    fn unknown_fields_are_refused() {
        let json = serde_json::to_value(two_shots(Style::Chat, "{question}")).unwrap();
        let mut more = json.clone();
        more["temperature"] = 0.into();
        assert!(serde_json::from_value::<Preset>(json).is_ok());
        let error = serde_json::from_value::<Preset>(more).unwrap_err();
        assert!(error.to_string().contains("temperature"), "{error}");
    }

    proptest! {
        #[test]
        fn every_question_stands_in_its_prompt(question in any::<String>()) {
            let plain = Rendered::Plain(format!("<{question}>"));
            let bare = Preset { shots: Vec::new(), ..two_shots(Style::Plain, "<{question}>") };
            prop_assert_eq!(bare.render(&question), plain);
            let Rendered::Chat(turns) = two_shots(Style::Chat, "{question}").render(&question) else {
                return Err(TestCaseError::fail("a chat preset gives messages"));
            };
            prop_assert_eq!(turns.last().map(|turn| &turn.content), Some(&question));
        }
    }
}
