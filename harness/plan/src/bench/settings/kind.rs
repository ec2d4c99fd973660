//! The settings of a kind of bench as one list.

use super::Setting;

/// A kind of bench with the settings it has.
#[derive(Debug)]
pub struct KindSettings {
    /// Its name in messages.
    pub name: &'static str,
    /// The article before it.
    pub article: &'static str,
    /// Its settings in the order in which they are shown and kept.
    pub lists: &'static [&'static [Setting]],
}

impl KindSettings {
    pub fn iter(&self) -> impl Iterator<Item = &'static Setting> + use<> {
        self.lists.iter().copied().flatten()
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.iter().map(|setting| setting.name)
    }

    pub fn has(&self, setting: &str) -> bool {
        self.names().any(|name| name == setting)
    }

    /// Its name with an article: `a grid`.
    pub fn with_article(&self) -> String {
        format!("{} {}", self.article, self.name)
    }
}
