//! Paths in messages to a worker. Messages are JSON and plugins are given paths as text, so a path
//! that is not UTF-8 cannot be sent: saying so when the message is made lets the command end at
//! once, with the path named.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Serialize, Serializer, ser::Error};

/// A field of a message that holds paths.
pub trait Paths {
    /// The first of them that is not UTF-8.
    fn unsendable(&self) -> Option<&Path>;
}

impl Paths for PathBuf {
    fn unsendable(&self) -> Option<&Path> {
        self.to_str().is_none().then_some(self)
    }
}

impl<T: Paths> Paths for Option<T> {
    fn unsendable(&self) -> Option<&Path> {
        self.as_ref()?.unsendable()
    }
}

impl<T: Paths> Paths for Vec<T> {
    fn unsendable(&self) -> Option<&Path> {
        self.iter().find_map(Paths::unsendable)
    }
}

impl<T: Paths> Paths for BTreeMap<String, T> {
    fn unsendable(&self) -> Option<&Path> {
        self.values().find_map(Paths::unsendable)
    }
}

/// Serialises paths as they are, for `#[serde(serialize_with = …)]`.
///
/// # Errors
/// A path that is not UTF-8, with its bytes and what to do.
pub fn paths<T: Paths + Serialize, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value.unsendable() {
        None => value.serialize(serializer),
        // In this form bytes that are no text stand as \xFF.
        Some(path) => Err(S::Error::custom(format!(
            "{path:?}: this is not UTF-8, so no plugin can be given this path"
        ))),
    }
}

/// Serialises a path that is only shown: bytes that are not UTF-8 become U+FFFD.
///
/// # Errors
/// The serializer's own.
pub fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    #[derive(Serialize, Default)]
    struct Message {
        #[serde(serialize_with = "paths")]
        one: PathBuf,
        #[serde(serialize_with = "paths")]
        perhaps: Option<PathBuf>,
        #[serde(serialize_with = "paths")]
        many: Vec<PathBuf>,
        #[serde(serialize_with = "paths")]
        named: BTreeMap<String, PathBuf>,
        #[serde(serialize_with = "shown")]
        told: PathBuf,
    }

    #[test]
    fn paths_that_cannot_be_sent_are_named_wherever_they_stand() {
        let odd = || PathBuf::from(OsStr::from_bytes(b"/m\xff/x"));
        let place = || PathBuf::from("/m/größe");
        let plain = Message {
            one: place(),
            perhaps: Some(place()),
            many: vec![place()],
            named: [("a".to_owned(), place())].into(),
            told: odd(),
        };
        let text = serde_json::to_string(&plain).unwrap();
        assert_eq!(text.matches("/m/größe").count(), 4, "{text}");
        assert!(text.contains("/m\u{fffd}/x"), "{text}");
        for odd in [
            Message {
                one: odd(),
                ..Message::default()
            },
            Message {
                perhaps: Some(odd()),
                ..Message::default()
            },
            Message {
                many: vec![place(), odd()],
                ..Message::default()
            },
            Message {
                named: [("a".to_owned(), odd())].into(),
                ..Message::default()
            },
        ] {
            let error = serde_json::to_string(&odd).unwrap_err().to_string();
            assert!(
                error.starts_with(r#""/m\xFF/x": this is not UTF-8"#),
                "{error}"
            );
        }
    }
}
