//! Where the judge's settings come from: its configuration, then the environment, then the
//! defaults.

use std::time::Duration;

use harness_sdk::{Error, ErrorCode, Result, Value};
use serde::Deserialize;

/// Variable of the model's name.
pub const MODEL: &str = "HARNESS_JUDGE_MODEL";
/// Variable of the server's address.
pub const BASE_URL: &str = "OPENAI_BASE_URL";
/// Variable of the longest time of one attempt, in seconds.
pub const TIMEOUT: &str = "HARNESS_JUDGE_TIMEOUT";
/// Variable of the most attempts of one request.
pub const ATTEMPTS: &str = "HARNESS_JUDGE_ATTEMPTS";
/// Variable of the longest first wait between attempts, in seconds.
pub const BACKOFF: &str = "HARNESS_JUDGE_BACKOFF";
/// Variable of the key.
pub const API_KEY: &str = "OPENAI_API_KEY";

/// Seconds an attempt may take where nobody says otherwise.
const TIMEOUT_S: f64 = 60.0;
/// Attempts of one request where nobody says otherwise.
const USUAL_ATTEMPTS: u32 = 6;
/// Longest first wait between attempts, in seconds, where nobody says otherwise.
const BACKOFF_S: f64 = 0.8;
const PAPERS_MODEL: &str = "gpt-4o-mini";
const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";

/// The configuration as given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    model: Option<String>,
    base_url: Option<String>,
    timeout_s: Option<f64>,
    total_s: f64,
    attempts: Option<u32>,
    backoff_s: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: None,
            base_url: None,
            timeout_s: None,
            total_s: 600.0,
            attempts: None,
            backoff_s: None,
        }
    }
}

/// The settings in force. Not `Debug`: they hold the key.
#[derive(Clone)]
pub struct Settings {
    /// Name of the model.
    pub model: String,
    /// Address of the server, without a slash at its end.
    pub base_url: String,
    /// The key, where there is one.
    pub api_key: Option<String>,
    /// Longest time of one attempt.
    pub timeout: Duration,
    /// Longest time of one request, attempts and waits together.
    pub total: Duration,
    /// Most attempts of one request.
    pub attempts: u32,
    /// Longest first wait between attempts.
    pub backoff: Duration,
}

impl Settings {
    /// Settings from a configuration and a look-up of environment variables.
    ///
    /// # Errors
    /// An unknown key, a value out of range.
    pub fn resolve(config: &Value, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        if !config.is_object() {
            return Err(Error::config(format!(
                "judge `openai`: {config} is not an object of settings"
            )));
        }
        let config: Config = serde_json::from_value(config.clone())
            .map_err(|error| Error::config(format!("judge `openai`: {error}")))?;
        let wrong = |what: String| Error::config(format!("judge `openai`: {what}"));
        let env = |name: &str| {
            env(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let above_0 = |name: &str, seconds: f64| {
            Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|time| !time.is_zero())
                .ok_or_else(|| wrong(format!("{name} {seconds} is no time above 0")))
        };
        let seconds = |given: Option<f64>, variable: &str, usual: f64| match (given, env(variable))
        {
            (Some(seconds), _) => Ok(seconds),
            (None, Some(text)) => text
                .parse()
                .map_err(|_| wrong(format!("{variable} `{text}` is no number of seconds"))),
            (None, None) => Ok(usual),
        };
        let timeout = above_0("timeout_s", seconds(config.timeout_s, TIMEOUT, TIMEOUT_S)?)?;
        let total = above_0("total_s", config.total_s)?;
        let backoff_s = seconds(config.backoff_s, BACKOFF, BACKOFF_S)?;
        let backoff = Duration::try_from_secs_f64(backoff_s)
            .map_err(|_| wrong(format!("backoff_s {backoff_s} is no time")))?;
        let attempts = match (config.attempts, env(ATTEMPTS)) {
            (Some(attempts), _) => attempts,
            (None, Some(text)) => text
                .parse()
                .map_err(|_| wrong(format!("{ATTEMPTS} `{text}` is no whole number")))?,
            (None, None) => USUAL_ATTEMPTS,
        };
        if !(1..=20).contains(&attempts) {
            return Err(wrong(format!("attempts {attempts} is not in 1 to 20")));
        }
        let base_url = config
            .base_url
            .or_else(|| env(BASE_URL))
            .unwrap_or_else(|| DEFAULT_BASE_URL.to_owned());
        let base_url = base_url.trim_end_matches('/').to_owned();
        let rest = base_url
            .strip_prefix("https://")
            .or_else(|| base_url.strip_prefix("http://"))
            .unwrap_or_default();
        if rest.is_empty() || rest.contains('@') {
            // The address itself is left out: it may hold a password.
            return Err(wrong(format!(
                "the base URL ({BASE_URL}) is not a plain http or https address"
            ))
            .hint("write it as https://host/v1, without a name or password"));
        }
        Ok(Self {
            model: config
                .model
                .or_else(|| env(MODEL))
                .unwrap_or_else(|| PAPERS_MODEL.to_owned()),
            base_url,
            api_key: env(API_KEY),
            timeout,
            total,
            attempts,
            backoff,
        })
    }

    /// The key.
    ///
    /// # Errors
    /// `AUTH` naming the variable when there is none.
    pub fn key(&self) -> Result<&str> {
        self.api_key.as_deref().ok_or_else(|| {
            Error::new(
                ErrorCode::AUTH,
                format!("the judge `openai` has no key: {API_KEY} is not set"),
            )
            .hint(format!(
                "set {API_KEY}, or go without it: --judge lexical works offline, --judge replay answers from kept replies"
            ))
        })
    }

    /// Whether the server is OpenAI's own.
    pub fn is_default_server(&self) -> bool {
        self.base_url == DEFAULT_BASE_URL
    }

    /// Host and port of the server.
    pub fn host(&self) -> &str {
        let rest = self.base_url.split_once("//").map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }

    /// Whether the server runs on this machine.
    pub fn is_local(&self) -> bool {
        let host = self.host();
        ["localhost", "127.", "[::1]"]
            .iter()
            .any(|local| host.starts_with(local))
    }

    /// The model as part of cached replies' keys: another server's model of the same name is
    /// another judge.
    pub fn identity(&self) -> String {
        if self.is_default_server() {
            self.model.clone()
        } else {
            format!("{}@{}", self.model, self.host())
        }
    }

    /// Whether answers may be compared with those of the paper's judge.
    pub fn is_papers_judge(&self) -> bool {
        let dated = self
            .model
            .strip_prefix(PAPERS_MODEL)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        self.is_default_server() && dated
    }

    /// A text with every occurrence of the key taken out.
    pub fn redact(&self, text: &str) -> String {
        match &self.api_key {
            Some(key) => text.replace(key.as_str(), "[key]"),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn configuration_wins_over_the_environment() {
        let env = |name: &str| match name {
            MODEL => Some("from-env".to_owned()),
            BASE_URL => Some("http://localhost:8000/v1/".to_owned()),
            TIMEOUT => Some("2.5".to_owned()),
            ATTEMPTS => Some("3".to_owned()),
            BACKOFF => Some("0.25".to_owned()),
            API_KEY => Some(" secret ".to_owned()),
            _ => None,
        };
        let settings = Settings::resolve(&json!({}), env).unwrap();
        assert_eq!(settings.identity(), "from-env@localhost:8000");
        assert_eq!(settings.base_url, "http://localhost:8000/v1");
        assert_eq!(settings.key().unwrap(), "secret");
        assert_eq!(settings.timeout, Duration::from_millis(2500));
        assert_eq!(settings.attempts, 3);
        assert_eq!(settings.backoff, Duration::from_millis(250));
        assert!(settings.is_local() && !settings.is_papers_judge());
        let settings = Settings::resolve(&json!({"model": "mine"}), env).unwrap();
        assert_eq!(settings.model, "mine");
    }

    #[test]
    fn the_papers_judge_is_recognised() {
        let is = |config| Settings::resolve(&config, none).unwrap().is_papers_judge();
        assert!(is(json!({})));
        assert!(is(json!({"model": "gpt-4o-mini-2024-07-18"})));
        assert!(!is(json!({"model": "gpt-4o"})));
        assert!(!is(json!({"base_url": "https://example.org/v1"})));
    }

    #[test]
    fn a_missing_key_names_its_variable() {
        let settings = Settings::resolve(&json!({}), none).unwrap();
        let error = settings.key().unwrap_err();
        assert_eq!(error.code(), ErrorCode::AUTH);
        assert!(error.message().contains("OPENAI_API_KEY"));
    }

    #[test]
    fn wrong_settings_are_refused() {
        for config in [
            json!({"modell": "x"}),
            json!(["x"]),
            json!({"timeout_s": 0}),
            json!({"timeout_s": -1}),
            json!({"total_s": 0}),
            json!({"backoff_s": -1}),
            json!({"attempts": 0}),
            json!({"base_url": "ftp://x"}),
            json!({"base_url": "https://me:pw@host/v1"}),
        ] {
            let error = Settings::resolve(&config, none).err().unwrap();
            assert_eq!(error.code(), ErrorCode::CONFIG, "{config}");
            assert!(!error.message().contains("pw"));
        }
    }
}
