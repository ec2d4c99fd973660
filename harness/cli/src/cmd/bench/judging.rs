//! Judges that cost money: where replies are kept, what may be spent, whose replies are replayed,
//! what was spent.

use std::{
    env,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use harness_contract::{
    config::{ConfigError, Problem},
    exit,
    judging::{Budget, JudgeMode, PRICES_DATED, Price, REPLAY, Spent},
    plugin::Discovery,
    protocol::{Counters, DEFAULT_CONCURRENCY, Judging, MOST_CONCURRENCY},
};
use harness_plan::{
    bench::Settings,
    expand::{Cost, ResolvedBench},
};
use harness_store::replies::{FOLDER, JudgingSummary, Replies};

use super::describe::count;
use crate::failure::Failure;

/// Options about judges that cost money.
#[derive(Args, Debug)]
pub struct JudgingArgs {
    /// Folder of kept replies; benches that share it pay once [default: OUT/replies]
    #[arg(long, value_name = "DIR")]
    replies: Option<PathBuf>,
    /// Questions this run may send to an online judge; then it ends with code 31 and can go on
    #[arg(long, value_name = "N")]
    max_calls: Option<u64>,
    /// USD this run may spend on an online judge, reserved at the worst case; then it ends with
    /// code 31 and can go on
    #[arg(long, value_name = "USD", value_parser = usd, allow_hyphen_values = true)]
    max_cost: Option<f64>,
    /// USD for a million tokens sent, for a judge whose price is not known
    #[arg(long, value_name = "USD", value_parser = usd, requires = "price_out", allow_hyphen_values = true)]
    price_in: Option<f64>,
    /// USD for a million tokens received
    #[arg(long, value_name = "USD", value_parser = usd, requires = "price_in", allow_hyphen_values = true)]
    price_out: Option<f64>,
    /// Questions under way at once, 1 to 1024; fewer while the server asks for fewer [default: 16]
    #[arg(long, value_name = "N", value_parser = concurrency, allow_hyphen_values = true)]
    judge_concurrency: Option<u32>,
    /// live asks question by question; batch hands questions over in batches, which take up to a
    /// day and half the money
    #[arg(long, value_name = "MODE")]
    judge_mode: Option<Mode>,
}

/// How an online judge is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Live,
    Batch,
}

fn concurrency(text: &str) -> Result<u32, String> {
    let number = text.parse::<u32>().ok();
    number
        .filter(|n| (1..=MOST_CONCURRENCY).contains(n))
        .ok_or_else(|| format!("must be a number of questions from 1 to {MOST_CONCURRENCY}"))
}

fn usd(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok();
    value
        .filter(|usd| usd.is_finite() && *usd >= 0.0)
        .ok_or_else(|| "must be an amount of at least 0 USD".to_owned())
}

impl JudgingArgs {
    /// The options that were given, for benches that have no use for them.
    pub fn given(&self) -> Vec<&'static str> {
        [
            ("--replies", self.replies.is_some()),
            ("--max-calls", self.max_calls.is_some()),
            ("--max-cost", self.max_cost.is_some()),
            ("--price-in", self.price_in.is_some()),
            ("--price-out", self.price_out.is_some()),
            ("--judge-concurrency", self.judge_concurrency.is_some()),
            ("--judge-mode", self.judge_mode.is_some()),
        ]
        .into_iter()
        .filter_map(|(option, is_given)| is_given.then_some(option))
        .collect()
    }

    /// Folder of kept replies of a run with results in `out`.
    pub fn replies(&self, out: &Path) -> PathBuf {
        self.replies.clone().unwrap_or_else(|| out.join(FOLDER))
    }

    fn price(&self) -> Option<Price> {
        Some(Price {
            usd_per_million_in: self.price_in?,
            usd_per_million_out: self.price_out?,
        })
    }

    fn mode(&self) -> JudgeMode {
        match self.judge_mode {
            Some(Mode::Batch) => JudgeMode::Batch,
            Some(Mode::Live) | None => JudgeMode::Live,
        }
    }

    /// What workers are told; `replies` is absolute.
    pub fn judging(&self, replies: PathBuf) -> Judging {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |time| time.as_nanos());
        Judging {
            replies,
            run: format!("{now}-{}", process::id()),
            budget: Budget {
                max_calls: self.max_calls,
                max_usd: self.max_cost,
            },
            price: self.price(),
            concurrency: self.judge_concurrency.unwrap_or(DEFAULT_CONCURRENCY),
            mode: self.mode(),
        }
    }

    /// Names the judge whose replies are replayed, where the bench does not: the only one there is.
    ///
    /// # Errors
    /// Replies of no judge or of several; replies that cannot be read.
    pub fn name_replayed(&self, bench: &mut ResolvedBench, out: &Path) -> Result<(), Failure> {
        let is_nameless = |set: &&mut Settings| set.judge() == Some((REPLAY, None));
        let settings = bench.rows.iter_mut().map(|row| &mut row.settings);
        let mut sets: Vec<&mut Settings> = settings.filter(is_nameless).collect();
        if sets.is_empty() {
            return Ok(());
        }
        let dir = self.replies(out);
        let judges = Replies::new(&dir)
            .judges()
            .map_err(|error| Failure::new(exit::BAD_INPUT, error.to_string()))?;
        let names: Vec<String> = judges.into_iter().collect();
        let [only] = names.as_slice() else {
            let (message, hint) = match names.is_empty() {
                true => (
                    format!("there are no replies to replay in {}", dir.display()),
                    "name the folder that has them with --replies, or record them with the judge itself".to_owned(),
                ),
                false => (
                    format!("{} has replies of several judges", dir.display()),
                    format!("name one with --judge-model: {}", names.join(", ")),
                ),
            };
            return Err(Failure::new(exit::JUDGE_AUTH, message).hint(hint));
        };
        for set in &mut sets {
            set.set("judge_model", only.as_str());
        }
        Ok(())
    }

    /// Checks that money can be counted before anything is run.
    ///
    /// # Errors
    /// A limit in USD for a judge without a known price; batches without a judge that could take
    /// them.
    pub fn check(&self, bench: &ResolvedBench, plugins: &Discovery) -> Result<(), Failure> {
        if self.mode() == JudgeMode::Batch && online_judges(bench, plugins).is_empty() {
            let message = "no judge of this bench is asked over the network, so none takes batches";
            let hint = "name an online judge with --judge, or leave this out";
            return Err(ConfigError {
                problems: vec![Problem::new("--judge-mode", message, hint)],
            }
            .into());
        }
        if self.max_cost.is_none() || self.price().is_some() {
            return Ok(());
        }
        for judge in online_judges(bench, plugins) {
            if Price::known(&judge).is_none() {
                let message = format!(
                    "the price of {judge} is not on the list of {PRICES_DATED}, so no cost can be limited"
                );
                let hint = "give it with --price-in and --price-out, USD for a million tokens";
                return Err(ConfigError {
                    problems: vec![Problem::new("--max-cost", message, hint)],
                }
                .into());
            }
        }
        Ok(())
    }

    /// What the tokens of a prediction cost in USD; `None` without an online judge, or where its
    /// price is not known.
    pub fn usd(
        &self,
        bench: &ResolvedBench,
        plugins: &Discovery,
    ) -> Option<impl Fn(&Cost) -> f64 + use<>> {
        let judges = online_judges(bench, plugins);
        let price = match judges.as_slice() {
            [] => None,
            [one] => self.price().or_else(|| Price::known(one)),
            _ => self.price(),
        }?;
        let price = match self.mode() {
            JudgeMode::Batch => price.in_batch(),
            JudgeMode::Live => price,
        };
        Some(move |cost: &Cost| price.usd(cost.judge_tokens_in, cost.judge_tokens_out))
    }

    /// What questions to online judges would take, for a dry run; empty without any.
    pub fn estimate(&self, bench: &ResolvedBench, plugins: &Discovery, cost: &Cost) -> String {
        let judges = online_judges(bench, plugins);
        if judges.is_empty() || cost.judge_calls == 0 {
            return String::new();
        }
        let (tokens_in, tokens_out) = (cost.judge_tokens_in, cost.judge_tokens_out);
        let mut text = format!(
            "judge {}: at most {} calls, about {} tokens sent and at most {} received",
            judges.join(", "),
            count(cost.judge_calls),
            count(tokens_in),
            count(tokens_out)
        );
        let known = match judges.as_slice() {
            [one] => Price::known(one),
            _ => None,
        };
        let is_batch = self.mode() == JudgeMode::Batch;
        let cost = |price: Price| match is_batch {
            true => price.in_batch().usd(tokens_in, tokens_out),
            false => price.usd(tokens_in, tokens_out),
        };
        let half = if is_batch { "half " } else { "" };
        match (self.price(), known) {
            (Some(price), _) => text.push_str(&format!(
                ": about ${:.4} at {half}the price given",
                cost(price)
            )),
            (None, Some(price)) => text.push_str(&format!(
                ": about ${:.4} at {half}the price on the list of {PRICES_DATED}",
                cost(price)
            )),
            (None, None) => text.push_str(&format!(
                "; the price is not on the list of {PRICES_DATED}, --price-in and --price-out give it"
            )),
        }
        text.push_str(match is_batch {
            true => "; less where replies are kept\n",
            false => {
                "; less where replies are kept, at most three times as much where answers have to be asked for again\n"
            }
        });
        text
    }
}

/// Models behind the online judges of a bench, as far as is known without asking them.
fn online_judges(bench: &ResolvedBench, plugins: &Discovery) -> Vec<String> {
    let mut judges = Vec::new();
    for row in &bench.rows {
        let Some((judge, model)) = row.settings.judge() else {
            continue;
        };
        let component = plugins.component("judge", judge).and_then(|plugin| {
            let mut components = plugin.manifest.components.iter();
            components.find(|c| c.kind == "judge" && c.name == judge)
        });
        let Some(component) = component.filter(|component| component.online) else {
            continue;
        };
        let name = match component.name == OPENAI {
            true => openai_identity(model, component.model.as_deref(), |name| {
                env::var(name).ok()
            }),
            false => model
                .or(component.model.as_deref())
                .unwrap_or(judge)
                .to_owned(),
        };
        if !judges.contains(&name) {
            judges.push(name);
        }
    }
    judges
}

/// Our judge of OpenAI-compatible servers.
pub const OPENAI: &str = "openai";
/// Names its model where no setting does.
pub const JUDGE_MODEL_VARIABLE: &str = "HARNESS_JUDGE_MODEL";
/// The server whose models go by their bare names.
const OPENAI_URL: &str = "https://api.openai.com/v1";

/// Who answers for the judge `openai`, from the variables that it reads itself: another server's
/// model of the same name is another judge.
fn openai_identity(
    named: Option<&str>,
    usual: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> String {
    let set = |name: &str| {
        variable(name)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    };
    let model = named.map(str::to_owned);
    let model = model.or_else(|| set(JUDGE_MODEL_VARIABLE));
    let model = model.unwrap_or_else(|| usual.unwrap_or(OPENAI).to_owned());
    let url = set("OPENAI_BASE_URL").unwrap_or_else(|| OPENAI_URL.to_owned());
    match url.trim_end_matches('/') {
        OPENAI_URL => model,
        other => {
            let rest = other.split_once("//").map_or("", |(_, rest)| rest);
            let host = rest.split('/').next().unwrap_or_default();
            format!("{model}@{host}")
        }
    }
}

/// What was asked and paid in a run, in one line; `None` where no online judge was asked and no
/// reply was kept.
pub fn line(counters: &Counters, spent: Spent) -> Option<String> {
    // Replies of a batch that an earlier run has submitted are neither sent nor kept from before.
    if spent.calls == 0 && counters.judge_kept == 0 && counters.judge_tokens == 0 {
        return None;
    }
    let mut text = format!("judge: {} calls", count(spent.calls));
    if let Some(summary) = JudgingSummary::of(counters) {
        text.push_str(&format!(" {}", summary.words()));
    }
    text.push_str(&format!(
        ", {} replies were kept from before",
        count(counters.judge_kept)
    ));
    if spent.usd > 0.0 {
        text.push_str(&format!(", ${:.6} spent", spent.usd));
    }
    let failures = [
        (counters.judge_refused, "refused"),
        (counters.judge_unusable, "not usable"),
        (counters.judge_filtered, "turned away by a content filter"),
        (counters.judge_too_long, "too long"),
        (counters.judge_rate_limited, "kept back by a rate limit"),
        (counters.judge_no_answer, "without an answer"),
        (counters.judge_failed, "failed"),
    ];
    for (n, what) in failures.into_iter().filter(|(n, _)| *n > 0) {
        text.push_str(&format!(", {} {what}", count(n)));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_finite_and_not_below_0() {
        assert_eq!(usd("0.5"), Ok(0.5));
        assert_eq!(usd("0"), Ok(0.0));
        assert!(usd("-1").is_err() && usd("inf").is_err() && usd("much").is_err());
    }

    #[test]
    fn a_run_says_what_it_paid_and_what_went_wrong() {
        assert_eq!(line(&Counters::default(), Spent::default()), None);
        let counters = Counters {
            judge_kept: 1200,
            judge_refused: 2,
            ..Counters::default()
        };
        let spent = Spent {
            calls: 3,
            usd: 0.0125,
        };
        assert_eq!(
            line(&counters, spent).unwrap(),
            "judge: 3 calls, 1,200 replies were kept from before, $0.012500 spent, 2 refused"
        );
        let counters = Counters {
            judge_calls: 3,
            judge_seconds: 2.0,
            judge_own_seconds: 0.5,
            ..Counters::default()
        };
        assert_eq!(
            line(&counters, spent).unwrap(),
            "judge: 3 calls in 2.0 s (2/s, own share 25 %), 0 replies were kept from before, $0.012500 spent"
        );
    }

    #[test]
    fn concurrency_has_its_bounds() {
        assert_eq!((concurrency("1"), concurrency("1024")), (Ok(1), Ok(1024)));
        for wrong in ["0", "1025", "-3", "many"] {
            assert!(concurrency(wrong).unwrap_err().contains("1 to 1024"));
        }
    }

    #[test]
    fn the_judge_behind_another_server_is_another_judge() {
        let identity = |named, model: &str, url: &str| {
            openai_identity(named, Some("gpt-4o-mini"), |name| {
                let value = if name == "OPENAI_BASE_URL" {
                    url
                } else {
                    model
                };
                Some(value.to_owned())
            })
        };
        assert_eq!(identity(None, "", ""), "gpt-4o-mini");
        assert_eq!(identity(None, " mine ", ""), "mine");
        assert_eq!(
            identity(Some("named"), "mine", "https://api.openai.com/v1/"),
            "named"
        );
        assert_eq!(
            identity(None, "", "http://localhost:8000/v1/"),
            "gpt-4o-mini@localhost:8000"
        );
    }
}
