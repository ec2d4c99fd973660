use serde::{Deserialize, Serialize};

use harness_contract::protocol::Counters;

/// What asking online judges took in a run, from its counters.
///
/// The harness's own share is the part of the time of asking that is not waiting for the server:
/// the processor time of the thread that asks while requests are under way (the judge's plugin
/// included), and all time in which none is, which is keys, kept replies, the ledger and the disk.
/// Time in which other programs had the processor counts as waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgingSummary {
    /// Questions sent.
    pub calls: u64,
    /// Seconds in each cell from the first key to the last reply on the disk, the wait for another
    /// worker left out: one asks at a time.
    pub seconds: f64,
    /// Questions a second.
    pub calls_per_second: f64,
    /// The harness's own share of `seconds`, 0 to 1; `None` where processor time cannot be
    /// measured.
    pub own_share: Option<f64>,
}

impl JudgingSummary {
    /// The summary of counters; `None` when nothing was asked for live.
    pub fn of(counters: &Counters) -> Option<JudgingSummary> {
        let seconds = counters.judge_seconds;
        let own = counters.judge_own_seconds;
        (seconds > 0.0).then(|| JudgingSummary {
            calls: counters.judge_calls,
            seconds,
            calls_per_second: counters.judge_calls as f64 / seconds,
            own_share: (own > 0.0).then_some(own / seconds),
        })
    }

    /// In words: `in 6.1 s (328/s, own share 12 %)`.
    pub fn words(&self) -> String {
        let share = match self.own_share {
            Some(share) => format!(", own share {:.0} %", 100.0 * share),
            None => String::new(),
        };
        format!(
            "in {:.1} s ({:.0}/s{share})",
            self.seconds, self.calls_per_second
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_and_a_share_follow_from_the_counters() {
        assert_eq!(JudgingSummary::of(&Counters::default()), None);
        let mut counters = Counters {
            judge_calls: 2000,
            judge_seconds: 8.0,
            judge_own_seconds: 1.0,
            ..Counters::default()
        };
        let words = |counters: &Counters| JudgingSummary::of(counters).unwrap().words();
        assert_eq!(words(&counters), "in 8.0 s (250/s, own share 12 %)");
        counters.judge_own_seconds = 0.0;
        assert_eq!(words(&counters), "in 8.0 s (250/s)");
    }
}
