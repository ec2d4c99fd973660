use serde::{Deserialize, Serialize};

/// When the prices below were those of OpenAI's public list. They change: `--price-in` and
/// `--price-out` say others.
pub const PRICES_DATED: &str = "2025-06-01";

/// Model on OpenAI's own server, USD for a million tokens sent, USD for a million tokens received.
const PRICES: [(&str, f64, f64); 7] = [
    ("gpt-4o-mini", 0.15, 0.60),
    ("gpt-4o-mini-2024-07-18", 0.15, 0.60),
    ("gpt-4o", 2.50, 10.00),
    ("gpt-4o-2024-08-06", 2.50, 10.00),
    ("gpt-4.1", 2.00, 8.00),
    ("gpt-4.1-mini", 0.40, 1.60),
    ("gpt-4.1-nano", 0.10, 0.40),
];

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// USD for a million tokens sent.
    pub usd_per_million_in: f64,
    /// USD for a million tokens received.
    pub usd_per_million_out: f64,
}

impl Price {
    /// The price of a judge by its identity; `None` for one that is not on the list, such as a
    /// model behind another server.
    pub fn known(judge: &str) -> Option<Price> {
        let (_, sent, received) = PRICES.iter().find(|(name, ..)| *name == judge)?;
        Some(Price {
            usd_per_million_in: *sent,
            usd_per_million_out: *received,
        })
    }

    /// The price of the same tokens in a batch that is answered later: half of it.
    pub fn in_batch(self) -> Price {
        Price {
            usd_per_million_in: self.usd_per_million_in / 2.0,
            usd_per_million_out: self.usd_per_million_out / 2.0,
        }
    }

    /// What so many tokens cost, in USD.
    pub fn usd(&self, tokens_in: u64, tokens_out: u64) -> f64 {
        (tokens_in as f64 * self.usd_per_million_in + tokens_out as f64 * self.usd_per_million_out)
            / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_that_of_the_named_model_on_its_own_server() {
        let price = Price::known("gpt-4o-mini").unwrap();
        assert!((price.usd(2_000_000, 1_000_000) - 0.9).abs() < 1e-12);
        assert_eq!(Price::known("gpt-4o-mini@localhost:8000"), None);
        assert_eq!(Price::known("gpt-5"), None);
        assert!((price.in_batch().usd(2_000_000, 1_000_000) - 0.45).abs() < 1e-12);
    }
}
